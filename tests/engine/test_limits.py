"""Lab 09 on a live engine: limits hold as the kernel has them, and every flag takes what the lab says."""

from __future__ import annotations

import pytest

from labkit import images
from labkit.errors import BadInput, NotPossibleHere
from labkit.labs.limits_and_security import checks, cpu, crowd, disk, flags
from labkit.units import MIB


def test_a_quota_stops_a_container(module_context):
    run = cpu.throttle(module_context, 0.3)
    assert run.facts() == "the kernel's quota: 30000 µs of every 100000 µs · throttled: yes"
    assert run.round.quota.stopped > 0 and len(run.round.seconds) == 15
    assert sum(run.round.seconds) >= 15 * cpu.COST
    assert run.plot().png.startswith(b"\x89PNG")


def test_without_a_quota_nothing_is_stopped(module_context):
    run = cpu.throttle(module_context, None)
    assert "quota: none · throttled: no" in run.facts()


def test_latency_against_the_quota(module_context):
    curve = cpu.latency(module_context, [None, 0.5, 0.1])
    assert curve.facts() == "throttled without a quota: no · with --cpus 0.1: yes"
    assert [row.quota.quota for row in curve.rounds] == [None, 50_000, 10_000]
    assert curve.plot().png.startswith(b"\x89PNG")


@pytest.mark.parametrize("cpus", [0, -1, 10_000])
def test_a_quota_that_can_not_be(module_context, cpus):
    with pytest.raises(BadInput, match="can't be"):
        cpu.throttle(module_context, cpus)


@pytest.mark.alone
def test_weights_divide_and_limit_nobody(module_context):
    run = cpu.shares(module_context)
    assert run.facts().count("yes") == 3 and run.throttled == 0
    assert run.plot().png.startswith(b"\x89PNG")


def test_a_bomb_harms_nobody(module_context):
    run = crowd.bomb(module_context, 24)
    assert run.facts() == (
        "the kernel's limit, read before it went off: 24 processes\n"
        "never more than that: yes · forks were refused: yes\n"
        "a neighbour could start a process meanwhile: yes · processes left of it: 0"
    )
    assert run.plot().png.startswith(b"\x89PNG")


@pytest.mark.parametrize("limit", [0, 7, 65, 100_000])
def test_no_bomb_without_a_small_limit(module_context, limit):
    with pytest.raises(BadInput, match="not this lab's"):
        crowd.bomb(module_context, limit)


def test_no_bomb_where_the_kernel_has_another_limit(module_context, monkeypatch):
    """What keeps it harmless is looked at, not believed."""
    monkeypatch.setattr(crowd, "BOUNDS", {"network_mode": "none"})
    real = crowd._files
    monkeypatch.setattr(crowd, "_files", lambda on, container: {**real(on, container), "pids.max": "max"})
    with pytest.raises(NotPossibleHere, match="stays unlit"):
        crowd.bomb(module_context)


def test_the_disk_keeps_to_its_limit(module_context):
    run = disk.write(module_context, ["1m", None])
    if run.disk.why:
        assert run.facts() == f"a limit on writing can be tried here: no ({run.disk.why})"
        return
    assert run.facts() == (
        "each limit is in the kernel's file (blkio.throttle.write_bps_device or io.max): yes\n"
        "no run was faster than its limit: yes"
    )
    assert run.runs[MIB][-1][1] == 2 * MIB
    assert run.plot().png.startswith(b"\x89PNG")


def test_each_capability_alone(module_context):
    run = flags.capabilities(module_context, ["CHOWN", "SYS_NICE"])
    assert [run.may(place) for place in range(3)] == [["write"], ["chown", "write"], ["write", "nice", "policy"]]
    assert run.facts().splitlines()[1] == "--cap-drop ALL --cap-add CHOWN     + give a file away"
    assert run.plot().png.startswith(b"\x89PNG")


#: What each flag takes away, as the lab's text says.
TAKEN = {
    "--cap-drop ALL": {"chown", "override", "setuid", "raw", "mknod", "chroot", "setuid_program"},
    "--user 1000": {"chown", "override", "setuid", "raw", "mknod", "chroot", "write", "setuid_program"},
    "--read-only": {"write", "setuid_program"},
    "--security-opt no-new-privileges": {"setuid_program"},
    "--security-opt seccomp=unconfined": set(),
}


def test_what_each_flag_takes_away(module_context):
    run = flags.flags(module_context)
    plain = set(run.may())
    assert len(plain) == 8
    for place, flag in enumerate(run.flags[1:], 1):
        assert plain - set(run.may(place)) == TAKEN[flag.text], flag.text
        given = {"keyring", "policy"} if "unconfined" in flag.text else set()
        assert set(run.may(place)) - plain == given, flag.text
    rows = dict(zip([flag.text for flag in run.flags], run.standing))
    assert [flag for flag, row in rows.items() if row["Seccomp"] != "2"] == ["--security-opt seccomp=unconfined"]
    assert [flag for flag, row in rows.items() if row["NoNewPrivs"] == "1"] == ["--security-opt no-new-privileges"]
    assert rows["--cap-drop ALL"]["CapEff"] == "0" * 16
    assert int(rows[""]["CapEff"], 16).bit_count() == len(checks.DEFAULT_CAPABILITIES)
    assert run.plot().png.startswith(b"\x89PNG")


def test_a_profile_of_ones_own(module_context):
    assert flags.filtered(module_context).facts() == (
        "Seccomp: 2 in /proc · user 0: yes · mkdir says: Operation not permitted\n"
        "and yet a file can be made in the same place: yes"
    )
    other = flags.filtered(module_context, ["chroot"])
    assert (other.mode, other.said, other.wrote) == ("2", "", True)


@pytest.mark.parametrize("flag", [flag for flag in (*flags.FLAGS, flags.PRIVILEGED) if flag.text], ids=lambda f: f.text)
def test_the_command_beside_the_call(lab_context, flag):
    """A flag as one types it and as docker-py calls it make the same container."""
    from labkit.engine.dockercli import run_cli

    on = lab_context
    image = on.image(images.BUSYBOX)
    typed = run_cli(on.session, f"docker create --network none {flag.text} {image} true").strip().splitlines()[-1]
    called = on.docker.containers.create(image, ["true"], network_mode="none", **flag.options)
    keys = ("CapAdd", "CapDrop", "Privileged", "ReadonlyRootfs", "SecurityOpt")
    rows = [on.docker.api.inspect_container(name) for name in (typed, called.id)]
    assert len({str([row["HostConfig"][key] or [] for key in keys]) for row in rows}) == 1
    assert len({row["Config"]["User"] for row in rows}) == 1


@pytest.mark.parametrize(
    "typed, called",
    [
        ("--cpus 0.3", {"cpu_period": cpu.PERIOD, "cpu_quota": 30_000}),
        ("--cpu-shares 128", {"cpu_shares": 128}),
        ("--pids-limit 32", {"pids_limit": 32}),
    ],
)
def test_a_limit_typed_or_called_ends_in_the_same_files(lab_context, typed, called):
    from labkit.engine.dockercli import run_cli

    on = lab_context
    image = on.image(images.BUSYBOX)
    first = run_cli(on.session, f"docker run -d --network none {typed} {image} sleep 60").strip().splitlines()[-1]
    second = on.docker.containers.run(image, ["sleep", "60"], network_mode="none", detach=True, **called)
    names = ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares", "cpu.weight", "pids.max"]
    files = [
        {k: v for part in ("cpu", "pids") for k, v in on.observer.cgroup_files(c, names, controller=part)["files"].items()}
        for c in (first, second.id)
    ]  # fmt: skip
    assert files[0] == files[1] and files[0]
