"""Docker in rootless mode: an ordinary user's daemon, as labs meet it, and as the engine card says before."""

from __future__ import annotations

import dataclasses
import os
import re

import pytest
from docker.errors import APIError

from labkit import course
from labkit.engine import native
from labkit.engine.embedded import packages
from labkit.errors import NotPossibleHere
from labkit.labs.isolation_models import visibility
from labkit.labs.out_of_memory import oom
from labkit.labs.start_here.preflight import preflight

from ..conftest import open_context

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it")]

LEARNER = 1000
ROOTLESS = dataclasses.replace(
    native.DOCKER,
    packages=(*native.DOCKER.packages, *"rootlesskit uidmap slirp4netns coreutils util-linux dash iproute2".split()),
    stores=(*native.DOCKER.stores, "home"),
    settings=(
        ("etc/passwd", f"root:x:0:0:root:/root:/bin/sh\nlearner:x:{LEARNER}:{LEARNER}::/home:/bin/sh\n"),
        ("etc/group", f"root:x:0:\ndocker:x:999:\nlearner:x:{LEARNER}:\n"),
        ("etc/subuid", "learner:100000:65536\n"),
        ("etc/subgid", "learner:100000:65536\n"),
    ),
    command=(
        f"sh -c 'chown {LEARNER}:{LEARNER} /home /run; chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap; "
        "mkdir -p /tmp/net; mknod -m 666 /tmp/net/tun c 10 200; mount --bind /tmp/net /dev/net; "
        f"export HOME=/home XDG_RUNTIME_DIR=/run; exec setpriv --reuid {LEARNER} --regid {LEARNER} --clear-groups "
        "rootlesskit --net=slirp4netns --mtu=65520 --disable-host-loopback --state-dir=/run/rootlesskit --copy-up=/etc --propagation=rslave "
        "dockerd --rootless -H unix:///run/docker.sock'"
    ),
)


@pytest.fixture(scope="module")
def on():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_UNUSED", re.compile(f"(?!uidmap){native._UNUSED.pattern}"))
        with native.start(packages.Variant(packages.CURRENT, "overlay2"), ROOTLESS) as engine:
            with open_context(engine) as made:
                yield made


def test_it_is_one_and_says_so(on):
    assert on.facts.rootless and on.facts.limited == "Docker in rootless mode"
    assert on.ran(on.image(), ["cat", "/proc/self/uid_map"]).text.split()[:3] == ["0", str(LEARNER), "1"]


def test_what_labs_need_that_have_no_limits_there(on):
    found = preflight(on)
    assert found.ok and [check.name for check in found.checks if not check.ok] == [
        "the kernel's tracepoints can be read"
    ]


def test_a_plain_process_is_refused_in_the_kernels_words(on):
    with pytest.raises(NotPossibleHere, match="A plain process can't be started") as caught:
        visibility.matrix(on)
    assert "PermissionError" in caught.value.cause and "Traceback" not in caught.value.cause
    assert "plain processes there" in course.resolve("02").limits[on.facts.limited]


def test_nothing_is_weighed_or_paused_and_the_card_says_so(on):
    """Run whole, labs 04 and 07 differed there, and no card had said why."""
    if on.facts.limits_memory:
        pytest.skip("control groups are handed on here")
    with on.container(on.image(), ["sleep", "600"], network_mode="none") as container:
        stats = on.docker.api.stats(container.id, stream=False, one_shot=True)
        assert stats["memory_stats"]["usage"] > 2**26, "the machine's, where a container has no group of its own"
        with pytest.raises(APIError, match="cgroups not configured"):
            container.pause()
    for lab in ("04", "07"):
        assert "only where systemd hands control groups on" in course.resolve(lab).limits[on.facts.limited]


def test_limits_that_would_hold_nothing_are_refused_at_once(on):
    """Without control groups the engine takes a limit with a warning, and the program grows on."""
    if on.facts.limits_memory:
        pytest.skip("control groups are handed on here")
    with pytest.raises(NotPossibleHere, match="can't limit memory"):
        oom.grow(on, "32m")
    assert "limits hold only where" in course.resolve("08").limits[on.facts.limited]
