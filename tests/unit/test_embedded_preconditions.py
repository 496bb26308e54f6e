"""What doctor says of the embedded engine, and what the package says without one."""

import pytest

from labkit.engine import embedded
from labkit.engine.embedded import accel, host, lifecycle


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def by_name():
    return {found.name: found for found in embedded.preconditions()}


def test_every_line_has_words_and_a_remedy_where_it_fails(nowhere):
    for name, ok, detail, remedy in embedded.preconditions():
        assert name and detail
        assert ok or remedy


def test_no_qemu_is_fetched(nowhere, monkeypatch):
    monkeypatch.setattr(host.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(lifecycle.debian, "available", lambda: True)
    found = by_name()
    assert found["QEMU"].ok and "labkit fetches its own" in found["QEMU"].detail
    assert "Acceleration" not in found
    assert not list((nowhere / "cache").glob("programs/*")), "looking fetches nothing"


def test_no_qemu_and_nothing_to_fetch_it_with(nowhere, monkeypatch):
    monkeypatch.setattr(host.shutil, "which", lambda *_, **__: None)
    found = by_name()["QEMU"]
    assert not found.ok and "qemu-utils" in found.remedy and "sudo" not in found.remedy


def test_too_little_memory(nowhere, monkeypatch):
    monkeypatch.setattr(host, "memory_limit", lambda: 256 * host.MIB)
    assert not by_name()["Memory"].ok


def test_full_disk(nowhere, monkeypatch):
    monkeypatch.setattr(lifecycle.builder, "SPACE", 10**18)
    found = by_name()["Disk"]
    assert not found.ok and "LABKIT_CACHE" in found.remedy


def test_no_package_client(nowhere, monkeypatch):
    monkeypatch.setattr(lifecycle.debian, "available", lambda: False)
    found = by_name()["Packages"]
    assert not found.ok and "apt-get" in found.detail


@pytest.mark.parametrize(
    ("candidates", "known", "words"),
    [([], None, "software emulation"), (["kvm"], None, "will be tried"), (["kvm"], False, "does not work"),
     (["kvm"], True, "kvm works here")],
)  # fmt: skip
def test_acceleration(nowhere, monkeypatch, candidates, known, words):
    monkeypatch.setattr(accel, "candidates", lambda: candidates)
    monkeypatch.setattr(accel, "recall", lambda *_: known)
    found = lifecycle._acceleration(host.Qemu("q", "v", "i"))
    assert found.ok and words in found.detail


def test_nothing_built_nothing_running(nowhere):
    status = embedded.status()
    assert status["build"] == "" and status["endpoint"] == "" and status["snapshots"] == ()
    assert embedded.running() is None
    assert embedded.down() is False
