"""The command line, the names of snapshots and builds, and the remembered accelerator."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from labkit.engine.embedded import accel, builder, host, packages, qemu, snapshot

MIB = 1024**2
FOUND = host.Qemu("/usr/bin/qemu-system-x86_64", "QEMU emulator version 7.2.22", "/usr/bin/qemu-img")
SHAPE = qemu.Shape(512 * MIB, 2, "tcg")


def line(**changes):
    options = {"disk": "disk.raw,format=raw", "ram": "ram", "private": True, "port": 4321, **changes}
    shape = options.pop("shape", SHAPE)
    return qemu.command("qemu", shape, Path("/b"), Path("/o"), **options)


def test_guest_reaches_no_network_and_is_reached_over_loopback_only():
    (net,) = [part for part in line() if part.startswith("user,")]
    assert "restrict=on" in net
    assert net.count("hostfwd=") == 1
    assert "hostfwd=tcp:127.0.0.1:4321-:2376" in net


def test_a_resumed_machine_leaves_its_files_alone():
    text = " ".join(line(private=True))
    assert "share=off" in text and "snapshot=on" in text
    text = " ".join(line(private=False))
    assert "share=on" in text and "snapshot=off" in text


def test_commas_in_paths_are_written_twice():
    folder = Path("/tmp/a,b")
    text = qemu.command("q", SHAPE, Path("/b"), folder, disk="d", ram="r", private=True, port=1)
    assert not [part for part in text if "/tmp/a,b" in part.replace(",,", "")]


def test_emulated_machine_keeps_addresses_fixed():
    # Without it each program is translated anew at each start, which more than doubles `docker run`.
    assert "norandmaps" in qemu.KERNEL_ARGUMENTS.split()


def test_hardware_accelerated_machine_has_the_real_processor(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    shape = dataclasses.replace(SHAPE, accelerator="kvm")
    arguments = qemu.command("q", shape, Path("/b"), Path("/o"), disk="d", ram="r", private=True, port=1)
    assert arguments[arguments.index("-accel") + 1] == "kvm"
    assert arguments[arguments.index("-cpu") + 1] == "host"


def test_arm_machine(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "aarch64")
    assert_arm(line())
    assert "-cpu host" in " ".join(line(shape=dataclasses.replace(SHAPE, accelerator="kvm")))
    assert "-machine q35" in " ".join(line(shape=dataclasses.replace(SHAPE, arch="amd64")))


def test_arm_machine_on_another_processor(monkeypatch, tmp_path):
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    foreign = dataclasses.replace(SHAPE, arch="arm64")
    assert_arm(line(shape=foreign))
    assert snapshot.folder_of(Path("/b"), FOUND, foreign) != snapshot.folder_of(Path("/b"), FOUND, SHAPE)
    # It can't be accelerated, whatever is said or was found out for this processor's machines.
    monkeypatch.setenv("LABKIT_ACCELERATOR", "kvm")
    assert accel.choose(FOUND, tmp_path, tmp_path, arch="arm64") == "tcg"
    assert accel.choose(FOUND, tmp_path, tmp_path, arch="amd64") == "kvm"


def assert_arm(arguments):
    assert arguments[arguments.index("-machine") + 1].startswith("virt")
    assert arguments[arguments.index("-append") + 1].startswith("console=ttyAMA0 ")
    assert not [word for word in arguments if "acpi_pm" in word]  # x86's own clock


def test_this_processors_machine_is_the_same_whether_named_or_not(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(packages.debian, "architecture", lambda: "arm64")
    plain, named = packages.Variant(), packages.Variant(arch="arm64")
    assert builder.recipe(plain) == builder.recipe(named) != builder.recipe(packages.Variant(arch="amd64"))
    assert line() == line(shape=dataclasses.replace(SHAPE, arch="arm64"))


def test_snapshot_is_stale_after_any_change():
    first = snapshot.folder_of(Path("/b"), FOUND, SHAPE)
    assert first == snapshot.folder_of(Path("/b"), FOUND, SHAPE)
    others = {
        snapshot.folder_of(Path("/b"), dataclasses.replace(FOUND, version="QEMU emulator version 10.0.0"), SHAPE),
        snapshot.folder_of(Path("/b"), FOUND, dataclasses.replace(SHAPE, memory=384 * MIB)),
        snapshot.folder_of(Path("/b"), FOUND, dataclasses.replace(SHAPE, cpus=1)),
        snapshot.folder_of(Path("/b"), FOUND, dataclasses.replace(SHAPE, accelerator="kvm")),
    }
    assert first not in others and len(others) == 4


def test_snapshot_is_stale_after_another_command_line(monkeypatch):
    first = snapshot.folder_of(Path("/b"), FOUND, SHAPE)
    monkeypatch.setattr(qemu, "KERNEL_ARGUMENTS", "root=/dev/vda quiet")
    assert snapshot.folder_of(Path("/b"), FOUND, SHAPE) != first


def test_snapshot_name_does_not_depend_on_port_or_folder():
    # Otherwise no snapshot would ever be found again.
    assert snapshot.folder_of(Path("/b"), FOUND, SHAPE).name == snapshot.folder_of(Path("/b"), FOUND, SHAPE).name


def test_build_is_stale_after_another_recipe(monkeypatch):
    every = [packages.Variant(suite, store) for suite in packages.SUITES for store in packages.STORES]
    first = [builder.recipe(each) for each in every]
    assert first == [builder.recipe(each) for each in every] and len(set(first)) == len(every)
    monkeypatch.setattr(builder, "FILES", ("another",))
    assert not set(first) & {builder.recipe(each) for each in every}


@pytest.fixture
def device(monkeypatch, tmp_path):
    """A cache of its own, and an accelerator that can be tried."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.delenv("LABKIT_ACCELERATOR", raising=False)
    monkeypatch.setattr(accel, "candidates", lambda: ["kvm"])
    monkeypatch.setattr(accel, "_circumstances", lambda name, found: f"{name} {found.version}")
    tried = []
    monkeypatch.setattr(accel, "works", lambda name, *_: tried.append(name) or False)
    return tried


def test_accelerator_is_tried_once(device):
    for _ in range(3):
        assert accel.choose(FOUND, Path("k"), Path("i")) == "tcg"
    assert device == ["kvm"]
    assert accel.recall("kvm", FOUND) is False


def test_accelerator_is_tried_again_under_another_qemu(device):
    accel.choose(FOUND, Path("k"), Path("i"))
    accel.choose(dataclasses.replace(FOUND, version="newer"), Path("k"), Path("i"))
    assert device == ["kvm", "kvm"]


def test_working_accelerator_is_used_and_remembered(device, monkeypatch):
    monkeypatch.setattr(accel, "works", lambda name, *_: device.append(name) or True)
    assert [accel.choose(FOUND, Path("k"), Path("i")) for _ in range(2)] == ["kvm", "kvm"]
    assert device == ["kvm"]


def test_damaged_memory_costs_one_more_try(device):
    accel.choose(FOUND, Path("k"), Path("i"))
    accel._memory().write_text("not json")
    accel.choose(FOUND, Path("k"), Path("i"))
    assert device == ["kvm", "kvm"]


def test_accelerator_can_be_forced(device, monkeypatch):
    monkeypatch.setenv("LABKIT_ACCELERATOR", "kvm")
    assert accel.choose(FOUND, Path("k"), Path("i")) == "kvm"
    assert device == []


def fake_qemu(tmp_path, body):
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return host.Qemu(str(program), "fake", "qemu-img")


def test_a_hanging_accelerator_is_given_up_and_ended(tmp_path):
    found = fake_qemu(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 600")
    assert accel.works("kvm", found, Path("k"), Path("i"), limit=0.5) is False
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_accelerator_that_shows_the_sign_works(tmp_path):
    assert accel.works("kvm", fake_qemu(tmp_path, "echo labkit: initramfs"), Path("k"), Path("i")) is True


def test_an_accelerator_that_fails_at_once_does_not_work(tmp_path):
    assert accel.works("kvm", fake_qemu(tmp_path, "echo failed >&2; exit 1"), Path("k"), Path("i")) is False


def test_emulated_machine_keeps_time_by_qemus_clock(monkeypatch):
    # Its time-stamp counter runs at the host's rate, which differs where a snapshot is resumed.
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    arguments = line()
    # And a busy machine lets the kernel learn a wrong one at boot.
    assert {"clocksource=acpi_pm", "tsc=unstable"} <= set(arguments[arguments.index("-append") + 1].split())


def test_a_small_container_gets_less_room_for_translated_code():
    assert qemu.room_for_code(1024 * qemu.MIB) < qemu.room_for_code(2048 * qemu.MIB)
