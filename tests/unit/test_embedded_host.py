"""What this machine gives: cgroup limits in both versions, QEMU, the shape chosen from them."""

import os

import pytest

from labkit.engine.embedded import host, packages, programs
from labkit.errors import BadInput, NotPossibleHere

MIB = 1024**2


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def machine(tmp_path):
    write(tmp_path / "meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB")
    return tmp_path


def limits(machine, own):
    write(machine / "own", own)
    return host.memory_limit(machine / "cg", machine / "own", machine / "meminfo")


def test_no_limit_is_the_whole_memory(machine):
    write(machine / "cg/memory.max", "max")
    assert limits(machine, "0::/") == 8 * 1024 * MIB


def test_version_2_limit_of_the_container_itself(machine):
    write(machine / "cg/memory.max", 1024 * MIB)
    assert limits(machine, "0::/") == 1024 * MIB


def test_version_2_lowest_limit_on_the_way_up_counts(machine):
    write(machine / "cg/pod/memory.max", 700 * MIB)
    write(machine / "cg/pod/notebook/memory.max", "max")
    assert limits(machine, "0::/pod/notebook") == 700 * MIB


def test_version_1_limit(machine):
    write(machine / "cg/memory/docker/abc/memory.limit_in_bytes", 1024 * MIB)
    write(machine / "cg/memory/memory.limit_in_bytes", 9223372036854771712)
    assert limits(machine, "7:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc") == 1024 * MIB


def test_version_1_seen_from_inside_the_container(machine):
    # The path is the host's, but only the container's own group is mounted.
    write(machine / "cg/memory/memory.limit_in_bytes", 1024 * MIB)
    assert limits(machine, "7:memory:/docker/abc") == 1024 * MIB


def test_no_cgroups_at_all(machine):
    assert host.memory_limit(machine / "cg", machine / "none", machine / "meminfo") == 8 * 1024 * MIB


@pytest.mark.parametrize(("text", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("100000 100000", 1)])
def test_processor_quota_version_2(machine, monkeypatch, text, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(machine / "cg/cpu.max", text)
    write(machine / "own", "0::/")
    assert host.cpu_limit(machine / "cg", machine / "own") == expected


def test_processor_quota_version_1(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(machine / "cg/cpu/cpu.cfs_quota_us", 250000)
    write(machine / "cg/cpu/cpu.cfs_period_us", 100000)
    write(machine / "own", "3:cpu,cpuacct:/")
    assert host.cpu_limit(machine / "cg", machine / "own") == 3


def test_no_quota_is_all_processors(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(machine / "cg/cpu.max", "max 100000")
    write(machine / "own", "0::/")
    assert host.cpu_limit(machine / "cg", machine / "own") == 8


def test_memory_that_fits():
    assert host.fitting_memory(64 * 1024 * MIB) == host.DEFAULT_MEMORY
    assert host.fitting_memory(1024 * MIB) == host.DEFAULT_MEMORY
    small = host.fitting_memory(768 * MIB)
    assert host.LEAST_MEMORY <= small < host.DEFAULT_MEMORY
    assert small % MIB == 0


def test_too_little_memory_is_a_sentence():
    with pytest.raises(NotPossibleHere, match="only 512 MiB may be used here"):
        host.fitting_memory(512 * MIB)
    with pytest.raises(BadInput, match="64 MiB are too little"):
        host.refuse_memory(64 * MIB)


def test_a_machine_leaves_room_for_the_notebook():
    assert host.fits(512 * MIB, 1024 * MIB)
    assert not host.fits(512 * MIB, 760 * MIB)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without QEMU, mke2fs and any cache; ``bare(folder, *names)`` puts programs into a folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    def put(folder, *names, says="QEMU emulator version 10.0"):
        for name in names:
            write(folder / name, f"#!/bin/sh\n{says and f'echo {says}' or 'exit 127'}")
            (folder / name).chmod(0o755)
        return folder

    return put


@pytest.fixture
def kit(bare, monkeypatch, tmp_path):
    """labkit's own QEMU and mke2fs, fetched at the first call; returns what was fetched."""
    fetched = []

    def ensure(kit):
        fetched.append(kit.name)
        return bare(tmp_path / kit.name / "bin", "qemu-system-x86_64", "qemu-img", "mke2fs", says="QEMU own").parent

    monkeypatch.setattr(programs, "ensure", ensure)
    monkeypatch.setattr(programs, "existing", lambda kit: tmp_path / kit.name if kit.name in fetched else None)
    return fetched


def test_the_systems_qemu_where_it_is_good(bare, kit, tmp_path):
    folder = bare(tmp_path / "bin", "qemu-system-x86_64", "qemu-img")
    found = host.find_qemu()
    assert found == host.Qemu(f"{folder}/qemu-system-x86_64", "QEMU emulator version 10.0", f"{folder}/qemu-img")
    assert not kit


@pytest.mark.parametrize("here", [(), ("qemu-system-x86_64",), ("qemu-img",)])
def test_labkits_own_where_the_systems_is_not_whole(bare, kit, tmp_path, here):
    bare(tmp_path / "bin", *here)
    assert host.have_qemu() is None and not kit, "asking fetches nothing"
    own = tmp_path / "qemu/bin"
    assert host.find_qemu() == host.Qemu(f"{own}/qemu-system-x86_64", "QEMU own", f"{own}/qemu-img")
    assert kit == ["qemu"]


def test_labkits_own_where_the_systems_does_not_run(bare, kit, tmp_path):
    bare(tmp_path / "bin", "qemu-system-x86_64", "qemu-img", says="")
    assert host.find_qemu().version == "QEMU own"


def test_no_qemu_and_no_packages_either(bare, monkeypatch):
    with pytest.raises(NotPossibleHere, match="no apt-get") as caught:
        host.find_qemu()
    assert "qemu-system-x86 and qemu-utils" in caught.value.next_step and "Homebrew" in caught.value.next_step
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NotPossibleHere) as caught:
        host.find_qemu()
    assert "qemu-system-arm" in caught.value.next_step
    assert "sudo" not in str(caught.value)


def test_mke2fs_of_the_system_or_of_labkit(bare, kit, tmp_path, monkeypatch):
    monkeypatch.setattr(host.shutil, "which", lambda name, path=None: None)
    assert host.find_mke2fs() == f"{tmp_path}/e2fsprogs/bin/mke2fs" and kit == ["e2fsprogs"]
    monkeypatch.setattr(host.shutil, "which", lambda name, path=None: f"/there/{name}" if "/sbin" in path else None)
    assert host.find_mke2fs() == "/there/mke2fs"


def test_packages():
    must, optional = packages.wanted("arm64")
    assert "linux-image-cloud-arm64" in must
    assert "docker-cli" in optional and "docker-cli" not in must
    assert not [name for name in must + optional if name.endswith("?")]


def test_the_machine_is_labkits_own_choice(monkeypatch):
    monkeypatch.delenv("LABKIT_SUITE", raising=False)
    monkeypatch.delenv("LABKIT_STORE", raising=False)
    assert packages.variant() == packages.Variant(packages.CURRENT, "")
    assert packages.variant("26.1", "containerd") == packages.Variant("trixie", "containerd")
    monkeypatch.setenv("LABKIT_SUITE", "bookworm")
    assert packages.variant() == packages.Variant("bookworm")
    with pytest.raises(BadInput, match="woody") as caught:
        packages.variant("woody")
    assert "bookworm (Engine 20.10)" in caught.value.next_step
    with pytest.raises(BadInput, match="zfs"):
        packages.variant(store="zfs")


def test_nothing_needed_is_skipped():
    must, optional = packages.wanted("amd64")
    assert not [name for name in must + optional if packages.UNUSED.search(name)]
    assert not [name for name in ("libc6", "libseccomp2", "libmount1", "libgcc-s1") if packages.UNUSED.search(name)]
