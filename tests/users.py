"""Ordinary users of this machine: made for a test, and removed with all that they started and left."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.waiting import wait_until

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users")


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that everybody may read, on a disk that keeps large files; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def ordinary(folder: Path, *names: str) -> Iterator[list[pwd.struct_passwd]]:
    """Fresh users with these names and homes below a folder."""
    made: list[pwd.struct_passwd] = []
    try:
        for name in names:
            command = ["useradd", "--create-home", "--home-dir", str(folder / name), "--shell", "/bin/bash", name]
            subprocess.run(command, check=True, timeout=60, capture_output=True)
            made.append(pwd.getpwnam(name))
            folder.joinpath(name).chmod(0o700)
        yield made
    finally:
        for user in made:
            wait_until(lambda user=user: not _end(user.pw_uid), 20, f"{user.pw_name}'s processes end")
            subprocess.run(["userdel", "--remove", user.pw_name], check=True, timeout=60, capture_output=True)
            for left in (Path("/tmp"), Path("/var/tmp")):
                for path in left.glob(f"*labkit*-{user.pw_uid}"):
                    shutil.rmtree(path)


def processes(uid: int) -> list[psutil.Process]:
    """What a user's processes are."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.uids().real == uid and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def _end(uid: int) -> list[psutil.Process]:
    left = processes(uid)
    for each in left:
        with contextlib.suppress(psutil.Error):
            each.kill()
    return left


def python() -> str:
    """A Python that every user may start: this one, or the system's."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        # Through a shell: setpriv itself keeps its capabilities up to here, and would reach into root's home.
        shell = ["sh", "-c", 'exec "$@"', "sh"]
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *shell, path, "-c", code]
        if subprocess.run(nobody, capture_output=True, timeout=60).returncode == 0:
            return path
    pytest.skip("no Python 3.11 here that an ordinary user may start")


def installed(folder: Path, *wanted: str) -> Path:
    """A virtual environment for everybody, with these packages in it; gives its ``bin``. LABKIT_TEST_VENV is one that
    was made before.
    """
    if ready := os.environ.get("LABKIT_TEST_VENV"):
        return Path(ready, "bin")
    subprocess.run([python(), "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    line = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "pip"]
    subprocess.run([*line, *wanted], check=True, timeout=1200)
    return folder / "bin"
