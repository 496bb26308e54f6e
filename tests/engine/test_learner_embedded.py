"""Kinds 4, 5, 6 and 8 on labkit's own engine: its clock can be set, and it has no way out."""

from __future__ import annotations

import time

import docker.errors
import pytest

from labkit import images
from labkit.course.state import events_of
from labkit.engine import dockercli
from labkit.engine.client import engine_time
from labkit.engine.faults import explain

from ..conftest import open_context
from .test_learner_proxies import VARIABLES


@pytest.fixture
def on(owned):
    with open_context(owned) as context:
        yield context


@pytest.mark.parametrize("name", ["ubuntu", "registry.invalid:5000/team/app:1", "quay.io/x/y"])
def test_registries_say_no_on_the_labs_own_engine(on, name):
    with pytest.raises(docker.errors.APIError) as caught:
        on.docker.images.pull(name)
    told = explain(caught.value, on.facts.endpoint)
    assert "on purpose" in told.cause and "labkit/busybox:1" in told.next_step, told
    assert "on purpose" in dockercli.run_cli(on.session, f"docker pull {name}", check=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", [-60, -3600, 3600])
def test_clocks_the_machines_own_is_wrong(on, owned, seconds):
    owned.shell(f"date -s @$(($(date +%s) + ({seconds})))")
    try:
        with on.container(images.BUSYBOX, ["true"], network_mode="none") as container:
            container.wait()
            began = time.monotonic()
            found = [action for action, _ in events_of(on, on.docker.api.inspect_container(container.id))]
            assert {"start", "die"} <= set(found) and time.monotonic() - began < 20
    finally:
        owned.shell(f"date -s @{time.time():.0f}")


def test_clocks_after_a_nights_sleep_the_machine_is_told_the_time(on, owned, monkeypatch):
    """A computer that sleeps stops its own monotonic clock and the machine's: what is left is that the day went on."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 8 * 3600)
    assert abs(engine_time(on.docker.api) - real()) < 10
    with on.container(images.BUSYBOX, ["date", "+%s"], network_mode="none") as container:
        container.wait()
        assert abs(int(container.logs()) - time.time()) < 10
    monkeypatch.undo()
    owned.tell_time()
    assert abs(engine_time(on.docker.api) - time.time()) < 10


def test_proxies_do_not_come_between(on, owned, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login learner password secret\n")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value.format(ca="/nowhere.pem", netrc=tmp_path / "netrc"))
    with open_context(owned) as fresh:
        assert fresh.docker.ping()
        assert "Server" in dockercli.run_cli(fresh.session, "docker version")
