"""Kind 8, lifecycles: what ends with a kernel, whatever was forked off it, and what looking must not start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import engine as engines
from labkit import files
from labkit.commands import clean
from labkit.engine import embedded, host
from labkit.engine.embedded import lifecycle, machine, qemu
from labkit.engine.embedded.keys import Keys
from labkit.errors import NoEngine
from labkit.lab import close_quietly
from labkit.paths import COURSE

from ..helpers import running, wait_until

FORKS = {
    "a worker of multiprocessing": "multiprocessing.get_context('fork').Process(target=time.sleep, args=[600]).start()",
    "a plain fork": "os.fork() or time.sleep(600)",
}

OWNER = """
import multiprocessing, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.unit import test_embedded_machine as t
made = t.started(Path(sys.argv[1]))
{fork}
print(made.pid(), made.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_lifecycles_a_forked_child_keeps_no_machine_alive(tmp_path, fork):
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(COURSE)}
    code = OWNER.format(fork=fork)
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        pid, folder = owner.stdout.readline().split()
        children = Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()
        assert len(children) >= 2 and running(pid), "the keeper, and the child"
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        wait_until(lambda: not running(pid) and not Path(folder).exists(), 20)
        assert any(running(child) for child in children), "the child lives on"
    finally:
        os.killpg(owner.pid, signal.SIGKILL)
        owner.stdout.close()


def test_lifecycles_a_forked_child_leaves_closed_files_alone():
    ours, theirs = socket.socketpair()
    closed = files.kept_from_forks(socket.socket())
    closed.close()
    files.kept_from_forks(ours)
    child = os.fork()
    if not child:
        os._exit(0 if os.fstat(ours.fileno()).st_rdev == os.stat(os.devnull).st_rdev else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    theirs.settimeout(0.2)
    with pytest.raises(TimeoutError):  # still open here
        theirs.recv(1)
    ours.close()
    assert theirs.recv(1) == b""
    theirs.close()


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine on which no engine runs, and on which none may be started."""
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "LABKIT_ENGINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(host, "_is_socket", lambda path: False)

    def started(*_, **__):
        raise AssertionError("an engine was to be started")

    for name in ("start", "build", "prepare", "up"):
        monkeypatch.setattr(embedded, name, started)
    monkeypatch.setattr(engines, "owned", started)


def cleaned(engine: str | None, capsys) -> tuple[int, str]:
    import argparse

    status = clean.main(argparse.Namespace(engine=engine, all=False))
    return status, capsys.readouterr().out


@pytest.mark.parametrize("choice", [None, "embedded", "host"])
def test_lifecycles_clean_starts_no_engine(nothing, capsys, choice):
    assert cleaned(choice, capsys) == (0, "No engine runs here, so there is nothing to remove.\n")


def test_lifecycles_clean_of_an_engine_that_was_named(nothing, capsys):
    with pytest.raises(NoEngine, match="Nothing answers there"):
        cleaned("unix:///nowhere.sock", capsys)


def test_lifecycles_what_a_login_took_along_ends(tmp_path, monkeypatch):
    """The runtime folder is emptied: ``engine down`` can't find the machine any more, so its holder ends it."""

    class Machine:
        folder = tmp_path / "m1"

        def alive(self):
            return True

        def tell_time(self):
            pass

        def shell(self, command):
            return "1"

    monkeypatch.setattr(lifecycle.time, "sleep", lambda seconds: (tmp_path / "shared.json").unlink())
    (tmp_path / "shared.json").touch()
    began = time.monotonic()
    lifecycle._wait_until_idle(Machine(), 3600)
    assert time.monotonic() - began < 5


def test_lifecycles_one_that_is_up_is_found_from_other_shells(tmp_path, monkeypatch):
    """One has XDG_RUNTIME_DIR and the other has not: whichever folder the record is in, it is found."""
    places = [tmp_path / "missing", tmp_path / "other"]
    monkeypatch.setattr(lifecycle, "runtime_places", lambda: places)
    known = {
        "folder": str(tmp_path / "m1"),
        "build": str(tmp_path),
        "shape": vars(qemu.Shape(1, 1, "tcg")),
        "holder": 1,
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other/shared.json").write_text(json.dumps(known))
    there = machine.Machine(Keys(tmp_path), 4711)
    monkeypatch.setattr(machine.Machine, "attached", lambda folder, keys: there)
    assert embedded.running().endpoint == "tcp://127.0.0.1:4711"
    assert lifecycle._held()[1] == known
    monkeypatch.setattr(machine.Machine, "attached", lambda folder, keys: None)
    assert embedded.running() is None and not (tmp_path / "other/shared.json").exists()


def test_lifecycles_without_a_loopback_that_is_said(tmp_path):
    code = "from labkit.engine.embedded import machine; machine.free_port()"
    new = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    environment = {**os.environ, "PYTHONPATH": str(COURSE)}
    done = subprocess.run([*new, sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "loopback interface is down or missing" in done.stderr and "ip link set lo up" in done.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from labkit import files
made = [files.Temporary(), files.Temporary(Path(sys.argv[1]))]
kept = files.Temporary(Path(sys.argv[1]))
kept.cleanup()
Path(made[0].name, "half").touch()
print(*(one.name for one in made), flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lifecycles_temporary_folders_go_with_the_next_lab_or_the_next_one_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(COURSE)}
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    first, second = map(Path, killed.stdout.readline().split())
    files.clear()
    files.clear(tmp_path)
    assert first.is_dir() and second.is_dir(), "their owner lives"
    killed.communicate("now")
    with files.Temporary(tmp_path) as third:
        assert not second.exists() and Path(third).is_dir()
    files.clear()
    assert not first.exists() and not Path(third).exists()


def test_lifecycles_a_lab_that_is_not_closed_for_another_reason_than_its_engine_says_so():
    def close():
        raise ValueError("labkit's own")

    with pytest.raises(ValueError, match="labkit's own"):
        close_quietly(SimpleNamespace(_session=SimpleNamespace(id="0"), close=close))


def test_lifecycles_half_a_file_of_a_killed_process_goes_with_the_next_that_is_written(tmp_path):
    half = tmp_path / ".progress.json.4711-1"
    young, other = tmp_path / ".progress.json.4712-1", tmp_path / ".progress.json"
    for path in (half, young, other):
        path.write_text("{")
    os.utime(half, (0, 0))
    files.write_whole(tmp_path / "progress.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, young.name, "progress.json"]
