"""Lab 05 on an engine of labkit's own: LXC, a group by hand as root, containerd alone."""

from __future__ import annotations

import pytest

from labkit import engine as engines
from labkit.errors import LabError
from labkit.labs.container_history import history, lxc, runtimes

from ..conftest import open_context


@pytest.fixture(scope="module")
def own():
    with engines.owned() as engine, open_context(engine) as on:
        yield on


def left(own) -> str:
    """What LXC and a group by hand would leave on the machine."""
    return own.session.engine.shell(
        "ls /var/lib/lxc; ls -d /sys/fs/cgroup/labkit-lab /sys/class/net/labkit-* 2>/dev/null", check=False
    )


def test_a_system_container_beside_an_application(own):
    both = lxc.lxc_against_docker(own, own)
    assert both.lxc[0].command.endswith("init") and len(both.services()) >= 2
    assert both.lxc_answers and both.docker_answers
    assert [row.command for row in both.docker] == ["httpd -f -p 80 -h /etc"]
    assert "labkit-" not in left(own)


def test_a_start_that_fails_gives_the_logs_reason(own, monkeypatch):
    broken = tuple((step.replace("link = labkit-lxc0", "link = nowhere0"), why) for step, why in lxc.STEPS)
    monkeypatch.setattr(lxc, "STEPS", broken)
    with pytest.raises(LabError) as caught, lxc.system_container(own.session.engine):
        pass
    assert "lxc-start" in caught.value.what and 'bridge "nowhere0"' in caught.value.cause
    assert "labkit-" not in left(own)


def test_a_step_before_there_is_a_log_gives_its_own_reason(own, monkeypatch):
    monkeypatch.setattr(lxc, "STEPS", (("echo no template; exit 3", "a root filesystem"), *lxc.STEPS))
    with pytest.raises(LabError) as caught, lxc.system_container(own.session.engine):
        pass
    assert "no template" in caught.value.cause and "No such file" not in caught.value.cause


def test_a_group_by_hand_as_root(own):
    run = history.group_by_hand(own, own=own)
    assert run.version == 2 and run.killed and run.forks_refused and run.throttled > 0
    assert "labkit-" not in left(own)


def test_containerd_without_dockerd(own):
    below = runtimes.ctr_without_dockerd(own, own)
    assert "hello from process 1" in below.output and below.ping != "OK" and below.listed == []
    assert own.docker.ping()
