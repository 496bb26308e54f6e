"""Lab 09 without an engine: what is worked out from the kernel's figures, and what the program tries."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import pytest

from labkit.errors import NotPossibleHere
from labkit.labs.limits_and_security import checks, cpu, disk, flags, given
from labkit.paths import data_file
from labkit.units import MIB


def test_the_lab_has_words_for_each_attempt():
    tree = ast.parse(data_file("apps", "limits", "attempts.py").read_text())
    [listed] = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "ATTEMPTS"]
    assert [name.id for name in listed.elts] == list(flags.ATTEMPTS)


class Files:
    """An observer of one container's files."""

    def __init__(self, version: int, **files: str):
        self.facts, self.observer, self._files = SimpleNamespace(cgroup_version=version), self, files

    def cgroup_files(self, container, names, controller):
        return {"files": {name: text for name, text in self._files.items() if name in names}}


@pytest.mark.parametrize(
    "on, quota",
    [
        (
            Files(2, **{"cpu.max": "30000 100000", "cpu.stat": "usage_usec 9\nnr_periods 8\nnr_throttled 7\nthrottled_usec 500000"}),
            cpu.Quota(30_000, 100_000, 8, 7, 0.5),
        ),
        (Files(2, **{"cpu.max": "max 100000", "cpu.stat": "usage_usec 9"}), cpu.Quota(None, 100_000, 0, 0, 0.0)),
        (
            Files(1, **{"cpu.cfs_quota_us": "30000", "cpu.cfs_period_us": "100000",
                        "cpu.stat": "nr_periods 8\nnr_throttled 7\nthrottled_time 500000000"}),
            cpu.Quota(30_000, 100_000, 8, 7, 0.5),
        ),
        (
            Files(1, **{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cpu.stat": "nr_periods 0"}),
            cpu.Quota(None, 100_000, 0, 0, 0.0),
        ),
    ],
)  # fmt: skip
def test_a_quota_is_read_from_both_versions(on, quota):
    assert cpu.read_quota(on, "container") == quota


def test_a_share_is_of_what_both_had():
    parts = [(0.0, 1.0), (1.5, 2.0), (2.0, 3.0)]
    rows = [(0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.5, 1.0, 0.1), (2.0, 1.1, 1.0), (3.0, 1.6, 1.5)]
    run = cpu.Quarrel(None, (128, 1024), rows, parts, ("", ""), 0)
    assert [run.share(part) for part in range(3)] == pytest.approx([1, 0.1, 0.5])
    assert run.facts().count("yes") == 3
    even = cpu.Quarrel(None, (128, 1024), [(t, t / 2, t / 2) for t in (0.0, 1.0, 1.5, 2.0, 3.0)], parts, ("", ""), 0)
    assert even.facts().count("no") == 2, "a weight that divides nothing is told"


def test_a_run_faster_than_its_limit_is_told():
    found = disk.Disk(None, "8:0", "/dev/sda", "")
    for seconds, says in ((2.0, "yes"), (1.0, "no")):
        run = disk.Written(None, found, {MIB: [(0.0, 0), (seconds, 2 * MIB)]}, {MIB: f"8:0 {MIB}"})
        assert run.facts().splitlines() == [
            "each limit is in the kernel's file (blkio.throttle.write_bps_device or io.max): yes",
            f"no run was faster than its limit: {says}",
        ]
    lost = disk.Written(None, found, {MIB: [(0.0, 0), (2.0, 2 * MIB)]}, {MIB: "8:0 rbps=max wbps=max"})
    assert "io.max): no" in lost.facts()


@pytest.mark.parametrize(
    "host, names",
    [
        ({}, checks.DEFAULT_CAPABILITIES),
        ({"CapDrop": ["ALL"]}, set()),
        ({"CapDrop": ["all"], "CapAdd": ["cap_chown"]}, {"CHOWN"}),
        ({"CapDrop": ["KILL"], "CapAdd": ["NET_ADMIN"]}, checks.DEFAULT_CAPABILITIES - {"KILL"} | {"NET_ADMIN"}),
        ({"CapAdd": ["ALL"]}, {"ALL"}),
        ({"Privileged": True, "CapDrop": ["ALL"]}, {"ALL"}),
    ],
)
def test_capabilities_of_a_container(host, names):
    row = {"HostConfig": {"Privileged": False, "CapDrop": None, "CapAdd": None, **host}}
    assert checks.capabilities_of(row) == names


@pytest.mark.parametrize("experiment", [given.given_away, given.remapped])
def test_what_gives_a_machine_away_needs_an_owned_engine(experiment):
    somebodys = SimpleNamespace(endpoint="unix:///var/run/docker.sock")
    with pytest.raises(NotPossibleHere, match="not the lab's own"):
        experiment(SimpleNamespace(session=SimpleNamespace(engine=somebodys)))
