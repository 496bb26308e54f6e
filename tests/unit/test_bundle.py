"""`labkit bundle` and the program that installs: for which machine, and whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile

import pytest

from labkit.cli import main
from labkit.commands import bundle
from labkit.errors import LabError


@pytest.fixture
def room(tmp_path):
    """A bundle's folder as it is sealed, with little in it."""
    folder = tmp_path / "room"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "pip-1-none.whl").write_text("no wheel")
    (folder / "engine.labkit").write_text("no engine")
    bundle._seal(folder)
    return folder


def installed(room, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, room / "install", *words], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/nonexistent", "HOME": str(room.parent)},
    )  # fmt: skip


@pytest.mark.parametrize(
    "fact, other, says",
    [
        ("processor", "riscv64", "this bundle is for Linux on riscv64; this machine is"),
        ("system", "Darwin", "this bundle is for Darwin on"),
        ("python", "3.99.0", "this bundle is for Python 3.99, 3.99.0 or later; here is 3."),
        ("python", f"3.{sys.version_info[1]}.99", ".99 or later; here is 3."),
    ],
)
def test_for_another_machine_it_is_refused(room, fact, other, says):
    found = json.loads((room / "room.json").read_text())
    (room / "room.json").write_text(json.dumps({**found, fact: other}))
    done = installed(room)
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
    assert not (room.parent / "container-labs").exists()


@pytest.mark.parametrize("name", ["engine.labkit", "wheels/pip-1-none.whl", "room.json"])
def test_half_a_bundle_is_refused(room, name):
    text = (room / name).read_text()
    for change in (lambda: (room / name).write_text(text[:-1]), lambda: (room / name).unlink()):
        change()
        done = installed(room)
        assert done.returncode == 1 and "copied as a whole" in done.stderr and done.stderr.count("\n") == 1
    assert not (room.parent / "container-labs").exists()


def test_too_little_space_is_said_first(room):
    found = json.loads((room / "room.json").read_text())
    (room / "room.json").write_text(json.dumps(found))
    program = (room / "install").read_text().replace("4 * sum", "10**18 + sum")
    assert "10**18" in program
    (room / "install").write_text(program)
    done = installed(room)
    assert done.returncode == 1 and "GB free; 1000000000.0 GB are needed" in done.stderr


def test_a_step_that_fails_is_named(room):
    done = installed(room, str(room.parent / "elsewhere"))
    assert done.returncode == 1 and "install: a step failed (why stands above)" in done.stderr
    assert "pip-1-none.whl" in done.stderr


def test_a_file_that_can_not_be_written_and_one_that_is_interrupted(tmp_path, monkeypatch, capsys):
    assert main(["bundle", str(tmp_path / "no" / "room.tar")]) == 1
    assert main(["bundle", str(tmp_path)]) == 1
    assert main(["bundle", str(tmp_path / "room.tar"), "--exported", "none"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 3
    (tmp_path / "room.tar").write_text("the old one")

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_wheels", lambda folder: folder.mkdir(parents=True))
    monkeypatch.setattr(bundle, "_engine", ended)
    assert main(["bundle", str(tmp_path / "room.tar")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["room.tar"]
    assert (tmp_path / "room.tar").read_text() == "the old one"


def test_what_is_unpacked_belongs_to_who_unpacks_it(tmp_path, monkeypatch, make):
    monkeypatch.setattr(bundle, "_wheels", lambda folder: folder.mkdir(parents=True))
    assert main(["bundle", str(tmp_path / "room.tar"), "--exported", str(make())]) == 0
    with tarfile.open(tmp_path / "room.tar") as tar:
        found = {entry.name: (entry.uid, entry.uname, oct(entry.mode)) for entry in tar}
    assert found["room/install"] == (0, "", "0o755") and found["room/engine.labkit"] == (0, "", "0o644")


def test_an_engine_that_the_room_could_not_use_is_not_bundled(tmp_path, make, capsys):
    (tmp_path / "text").write_text("no engine")
    for exported, says in (
        (make("1", architecture="riscv64"), "is for another processor: riscv64; this machine's is"),
        (make("2", labkit="99.0"), "was made by a newer labkit (99.0"),
        (tmp_path / "text", "text is not an engine that labkit has exported"),
    ):
        assert main(["bundle", str(tmp_path / "room.tar"), "--exported", str(exported)]) == 1
        assert says in capsys.readouterr().err and not (tmp_path / "room.tar").exists()


def test_without_packages_pip_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(LabError, match="pip can't collect the Python packages: "):
        bundle._wheels(tmp_path / "wheels")
    shutil.rmtree(tmp_path / "wheels", ignore_errors=True)
