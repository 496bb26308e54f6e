"""One engine for many users of a machine: it has no keys, each user makes their own, and starts wait for a turn."""

import fcntl
import os
import threading
import time
from contextlib import ExitStack

import pytest

from labkit.engine.embedded import builder, carry, host, keys, qemu, sharing, snapshot, store
from labkit.errors import NotPossibleHere
from labkit.saying import listening

MACHINE = host.Qemu("qemu-system-x86_64", "QEMU", "qemu-img")


@pytest.fixture
def shared(cache, make, monkeypatch, tmp_path):
    """An engine that was imported for many, and a runtime folder of this test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    shape = qemu.Shape(1, 1, "tcg")
    facts = {"shape": vars(shape), "qemu": "QEMU", "command": snapshot._command_key(MACHINE, shape)}
    return carry.bring(str(make(snapshot=facts)), shared=True)


def test_it_has_no_keys_and_everybody_may_read_it(shared, cache):
    assert builder.current() == shared and sharing.shared(shared)
    assert not [path for path in cache.rglob("*") if "keys" in path.name or path.suffix == ".pem"]
    for path in shared.rglob("*"):
        assert path.stat().st_mode & 0o555 == 0o555 if path.is_dir() else path.stat().st_mode & 0o444 == 0o444, path
    assert shared.stat().st_mode & 0o777 == 0o755


def test_each_user_makes_keys_that_last_as_long_as_their_session(shared, monkeypatch, tmp_path):
    mine = sharing.keys_of(shared)
    assert sharing.keys_of(shared) == mine and keys._whole(mine) and mine.folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "other"))
    assert sharing.keys_of(shared).key.read_bytes() != mine.key.read_bytes()
    assert sharing.shared(shared)


def test_it_is_started_as_it_came_by_its_owner_too(shared):
    shape = snapshot.imported_shape(shared)
    before = sorted(shared.rglob("*"))
    assert snapshot.ensure(shared, MACHINE, shape) == snapshot.keyless_folder(shared)
    assert sorted(shared.rglob("*")) == before
    other = host.Qemu(MACHINE.path, "QEMU of another day", MACHINE.img)
    with pytest.raises(NotPossibleHere, match="is of QEMU, 0 MiB, 1 CPU; here is QEMU of another day, with"):
        snapshot.ensure(shared, other, qemu.Shape(2, 1, "tcg"))
    assert sorted(shared.rglob("*")) == before


def test_one_of_ones_own_and_a_shared_one_take_each_others_place(shared, make):
    path = str(shared.parents[2] / "engine.labkit")
    assert carry.bring(path) == shared and not sharing.shared(shared) and store.intact(shared)
    assert carry.bring(path, shared=True) == shared and sharing.shared(shared) and store.intact(shared)


def test_without_a_snapshot_it_is_not_shared(cache, make):
    found = carry.Archive(make())
    del found.facts["snapshot"]
    for name in snapshot.FILES:
        del found.files[f"snapshot/{name}"]
    with pytest.raises(NotPossibleHere, match="holds no snapshot"):
        carry._import(found, "x", True)
    assert not list(builder.home().glob("*imported*"))


def test_starts_wait_for_a_turn_and_say_so(shared, monkeypatch):
    monkeypatch.setattr(host, "cpu_limit", lambda: 2)
    told: list[str] = []
    with sharing.turn(shared), sharing.turn(shared), ExitStack() as other:
        files = [other.enter_context(open(shared / name, "rb")) for name in ("kernel", "initrd")]
        for file in files:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def third() -> None:
        with listening(told.append), sharing.turn(shared):
            told.append("started")

    with sharing.turn(shared), ExitStack() as first:
        first.enter_context(sharing.turn(shared))
        waits = threading.Thread(target=third)
        waits.start()
        time.sleep(0.6)
        assert told == ["Waiting for a turn: 2 others' engines are starting"]
        first.close()
        waits.join(5)
        assert told[1:] == ["started"]


def test_nobody_waits_for_ever(shared, monkeypatch):
    monkeypatch.setattr(host, "cpu_limit", lambda: 1)
    monkeypatch.setattr(sharing, "PATIENCE", 0.5)
    began = time.monotonic()
    with sharing.turn(shared), sharing.turn(shared):
        assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    "version, words",
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", None),
        ("QEMU emulator version 8.2.0", "ram,readonly=on,rom=off"),
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", "ram,readonly=on,rom=off"),
    ],
)
def test_memory_that_may_only_be_read_is_mapped_or_copied(shared, monkeypatch, version, words):
    saved, real = snapshot.keyless_folder(shared), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(saved / "ram") and real(path, mode))
    with snapshot._memory_of(saved, host.Qemu("q", version, "i")) as memory:
        assert memory == words or (words is None and open(memory, "rb").read() == (saved / "ram").read_bytes())
