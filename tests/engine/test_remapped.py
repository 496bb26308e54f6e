"""Docker with userns-remap: what labs see and lack there, as the engine card says."""

from __future__ import annotations

import dataclasses
import os

import pytest

from labkit import course
from labkit.engine import native
from labkit.engine.embedded import packages
from labkit.errors import LabError
from labkit.labs.engine_architecture import parts, xray
from labkit.labs.out_of_memory import oom
from labkit.labs.start_here.preflight import preflight

from ..conftest import open_context

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it")]

FIRST = 100000
REMAPPED = dataclasses.replace(
    native.DOCKER,
    command=f"{native.DOCKER.command} --userns-remap=default",
    settings=(
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndockremap:x:998:998::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\ndocker:x:999:\ndockremap:x:998:\n"),
        ("etc/subuid", f"dockremap:{FIRST}:65536\n"),
        ("etc/subgid", f"dockremap:{FIRST}:65536\n"),
    ),
)


@pytest.fixture(scope="module")
def on():
    with native.start(packages.Variant(packages.CURRENT, "overlay2"), REMAPPED) as engine, open_context(engine) as made:
        yield made


def test_it_is_one_and_says_so(on):
    assert on.facts.remapped and on.facts.limited == "Docker with userns-remap"
    assert on.ran(on.image(), ["cat", "/proc/self/uid_map"]).text.split() == ["0", str(FIRST), "65536"]


def test_all_that_labs_need_of_its_machine_is_there(on):
    """The helpers are not remapped, but the files of their containers are another user's."""
    found = preflight(on)
    assert found.ok and [check.name for check in found.checks if not check.ok] == []
    seen = xray.run(on, "--network none")
    assert seen.complete, seen.facts()
    tree = parts.processes(on)
    assert tree.daemons == ["dockerd", "containerd"]
    assert oom.grow(on, "32m").facts().startswith("killed by the kernel: yes · exit code 137")


@pytest.mark.parametrize("shared", ["pid_mode", "network_mode"])
def test_what_the_card_says_is_refused(on, shared):
    with pytest.raises(LabError, match="user namespaces are enabled"):
        on.ran(on.image(), ["true"], **{shared: "host"})
    limits = course.resolve("02").limits["Docker with userns-remap"]
    assert "may not share the machine's processes or network" in limits
