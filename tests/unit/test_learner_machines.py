"""Kind 2, machines without apt or dpkg: Fedora, Arch, Alpine, macOS. Sentences, not tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import debian, images
from labkit.engine import clients, native
from labkit.engine.embedded import builder, host
from labkit.errors import LabError, NotPossibleHere
from labkit.paths import COURSE


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine that has a shell and nothing else, an empty cache and no engine."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "env"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(clients, "_failed", None)
    return tmp_path


COMMANDS = {
    "doctor": 1, "doctor --fix": 1, "doctor --json": 1, "clean": 0, "bench": 1, "run 00": 1, "lab 00 --no-browser": 1,
    "engine build": 1, "engine build --force --suite trixie": 1, "engine up": 1, "engine down": 0, "engine status": 0,
    "engine export out.labkit": 1, "engine import none.labkit": 1, "progress": 0,
}  # fmt: skip


ON_HOST = ("doctor", "clean", "run 00")


@pytest.mark.parametrize(
    "command, engine", [*((command, "embedded") for command in COMMANDS), *((command, "host") for command in ON_HOST)]
)
def test_bare_machine_commands(bare, command, engine):
    words = [sys.executable, "-m", "labkit", *command.split()]
    environment = {
        **os.environ, "PYTHONPATH": str(COURSE), "LABKIT_ENGINE": engine, "HOME": str(bare),
        "DOCKER_HOST": f"unix://{bare}/none.sock",
    }  # fmt: skip
    done = subprocess.run(words, env=environment, cwd=bare, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert done.returncode == (1 if command == "clean" and engine == "host" else COMMANDS[command]), said
    assert done.returncode == 0 or "apt-get" in said or "none" in said, "and why"


CALLS = {
    "packages": lambda tmp: debian.fetch(["busybox-static"]),
    "the lab's images": lambda tmp: images.make(images.BUSYBOX, "amd64"),
    "QEMU": lambda tmp: host.find_qemu(),
    "mke2fs": lambda tmp: host.find_mke2fs(),
    "a machine": lambda tmp: builder.build(images=None),
    "the client programs": lambda tmp: clients.ensure(),
    "another engine": lambda tmp: native.root("trixie"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_bare_machine_calls(bare, monkeypatch, call):
    if call is CALLS["mke2fs"]:  # looked for in the system's own folders, too
        monkeypatch.setattr(host.shutil, "which", lambda *_, **__: None)
    with pytest.raises(NotPossibleHere) as caught:
        call(bare)
    assert caught.value.next_step and "apt-get" in str(caught.value)


DPKGS = {
    "of Homebrew": "echo darwin-arm64",
    "without its data": "echo 'dpkg: error: no database' >&2; exit 2",
    "that says nothing": "true",
}


@pytest.mark.parametrize("text", DPKGS.values(), ids=DPKGS)
def test_bare_machine_a_dpkg_of_another_system(bare, text):
    (bare / "bin/dpkg").write_text(f"#!/bin/sh\n{text}\n")
    (bare / "bin/dpkg").chmod(0o755)
    assert debian.architecture() in ("amd64", "arm64", "armhf", "i386", "riscv64")


def test_bare_machine_an_apt_get_that_lacks_its_other_half(bare):
    """Fedora has apt-get as a package, without Debian's own tools."""
    (bare / "bin/apt-get").symlink_to("/bin/true")
    assert not debian.available()
    (bare / "bin/dpkg-deb").symlink_to("/bin/true")
    with pytest.raises(LabError) as caught:
        debian.fetch(["busybox-static"], optional=["apt-cache-is-missing"])
    assert "apt-cache" in str(caught.value) and caught.value.next_step


def test_bare_machine_other_languages_of_apt_are_understood(tmp_path, monkeypatch):
    """A refusal is known by its words: they are asked for in English."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    status, said, _ = debian._watched(["sh", "-c", "echo $LC_ALL"], Path(tmp_path))
    assert (status, said.strip()) == (0, "C")
