"""Machines as processes: started by a keeper, ended with their owner, cleared away. QEMU is a script here."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from labkit import files
from labkit.engine.embedded import leftovers, machine, monitor, small
from labkit.engine.embedded.keys import Keys
from labkit.errors import BadInput, EngineGone, LabError
from labkit.paths import runtime_dir

from ..helpers import running, wait_until

#: The real one; tests of machines put their own in its place.
ASK = monitor.ask

ROOT = Path(machine.__file__).parents[3]


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine.monitor, "ask", answers)
    return tmp_path


def program(folder, body):
    path = folder / "fake-qemu"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return lambda own, port: [str(path), str(own), str(port)]


RUNS = "touch $1/qmp; echo [    0.000000] hello >>$1/console; exec sleep 600"


def answers(socket, *_, **__):
    """The monitor of a script that stands for QEMU: there is none, but its socket's file."""
    if not socket.exists():
        raise monitor.Silent("no monitor")
    return []


def started(runtime, body=RUNS, port=None):
    machine.monitor.ask = answers
    made = machine.Machine(Keys(runtime), port)
    made.start(program(runtime, body), work=runtime, scratch=runtime)
    return made


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_no_such_port(runtime, port):
    with pytest.raises(BadInput, match="is not a port"):
        machine.Machine(Keys(runtime), port)


def test_close_ends_the_machine_and_clears_its_folder(runtime):
    made = started(runtime)
    pid, folder = made.pid(), made.folder
    assert running(pid) and made.alive()
    made.close()
    assert not running(pid) and not folder.exists() and not made.alive()
    made.close()  # twice does no harm


def test_folder_is_closed_to_others(runtime):
    made = started(runtime)
    try:
        assert made.folder.stat().st_mode & 0o077 == 0
        assert runtime_dir().stat().st_mode & 0o077 == 0
        assert {p.stat().st_mode & 0o077 for p in made.folder.iterdir() if stat.S_ISFIFO(p.stat().st_mode)} == {0}
    finally:
        made.close()


def test_a_folder_open_to_others_is_refused(runtime):
    (runtime / f"labkit-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(LabError, match="open to others"):
        runtime_dir()


def test_console_outlives_the_machine(runtime):
    made = started(runtime)
    try:
        wait_until(lambda: "hello" in made.console())
        os.kill(made.pid(), signal.SIGKILL)
        wait_until(lambda: not made.alive())
        assert not made.folder.exists()  # the keeper has cleared it
        assert "hello" in made.console()
    finally:
        made.close()


def test_killed_qemu_is_gone_in_words(runtime):
    made = started(runtime)
    try:
        os.kill(made.pid(), signal.SIGKILL)
        wait_until(lambda: not made.alive())
        with pytest.raises(EngineGone, match="Start a fresh one"):
            made.shell("true", 5)
    finally:
        made.close()


def test_killed_keeper_takes_qemu_along(runtime):
    made = started(runtime)
    try:
        pid = made.pid()
        made._keeper.kill()
        wait_until(lambda: not running(pid))
    finally:
        made.close()


OWNER = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.unit import test_embedded_machine as t
made = t.started(Path({runtime!r}))
print(made.pid(), made.folder, flush=True)
time.sleep(600)
"""


def test_killed_owner_takes_everything_along(runtime):
    code = OWNER.format(root=str(ROOT), runtime=str(runtime))
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, folder = owner.stdout.readline().split()
    assert running(pid)
    owner.kill()
    owner.wait()
    wait_until(lambda: not running(pid) and not Path(folder).exists())
    owner.stdout.close()


def test_machine_outlives_the_thread_that_started_it(runtime):
    import threading

    made = []
    thread = threading.Thread(target=lambda: made.append(started(runtime)))
    thread.start()
    thread.join()
    try:
        time.sleep(0.3)
        assert made[0].alive()
    finally:
        made[0].close()


def test_what_qemu_says_is_in_the_error(runtime):
    with pytest.raises(LabError, match="unknown option banana"):
        started(runtime, "echo 'qemu: unknown option banana' >&2; exit 1")


def test_what_a_machine_that_hangs_has_said_is_in_the_error(runtime, monkeypatch):
    monkeypatch.setattr(machine, "_START_LIMIT", 0.3)
    with pytest.raises(EngineGone, match="did not start its machine within .*: could not lock"):
        started(runtime, "echo could not lock >&2; exec sleep 600")
    assert not list(runtime_dir().glob("m*"))


def test_a_refused_command_is_not_asked_again(runtime, monkeypatch):
    asked = []

    def refuses(socket, *commands, **_):
        asked.append(commands)
        raise monitor.Refused("refused")

    monkeypatch.setitem(globals(), "answers", refuses)
    with pytest.raises(EngineGone, match="refused"):
        started(runtime)
    assert len(asked) == 1 and not list(runtime_dir().glob("m*"))


def test_the_monitor_tells_refused_from_silent(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(monitor.Refused, match="no such capability"):
        server.bind(str(tmp_path / "qmp"))
        server.listen()
        threading.Thread(target=qmp, args=[server], daemon=True).start()
        ASK(tmp_path / "qmp", "query-status", ("migrate-set-capabilities", {"capabilities": []}), timeout=10)
    with pytest.raises(monitor.Silent, match="does not answer"):
        ASK(tmp_path / "nothing", "query-status")


def qmp(server):
    """A monitor that refuses all but the first commands: those of the greeting, and one more."""
    connection, _ = server.accept()
    with connection:

        def say(**words):
            connection.sendall(json.dumps(words).encode() + b"\n")

        version = {"qemu": {"major": 8, "minor": 0, "micro": 0}, "package": ""}
        say(QMP={"version": version, "capabilities": []})
        while asked := connection.recv(4096):  # one command at a time, without a line end
            asked = json.loads(asked)
            number = {key: asked[key] for key in asked if key == "id"}
            if asked["execute"] == "migrate-set-capabilities":
                say(error={"class": "GenericError", "desc": "no such capability"}, **number)
            else:
                say(**{"return": {}}, **number)


def test_port_taken(runtime):
    with pytest.raises(LabError, match="Port 4321 is taken"):
        started(runtime, "echo \"Could not set up host forwarding rule 'x'\" >&2; exit 1", port=4321)


def test_another_free_port_is_tried_when_one_is_taken_meanwhile(runtime):
    refuse = f"touch {runtime}/once; echo 'Could not set up host forwarding' >&2; exit 1"
    body = f"if [ ! -e {runtime}/once ]; then {refuse}; fi\n"
    made = started(runtime, body + RUNS)
    try:
        assert made.alive()
    finally:
        made.close()


def test_leftovers_of_the_dead_are_removed_and_the_living_left(runtime):
    made = started(runtime)
    try:
        dead = runtime_dir() / "mdead"
        dead.mkdir()
        (dead / "lock").touch()
        os.utime(dead, (1, 1))
        half = runtime_dir() / "mhalf"  # no lock file yet
        half.mkdir()
        os.utime(half, (1, 1))
        new = runtime_dir() / "mnew"
        new.mkdir()
        assert len(leftovers.clear()) == 2
        assert not dead.exists() and not half.exists()
        assert new.exists() and made.alive() and made.folder.exists()
    finally:
        made.close()


def test_qemu_left_without_keeper_and_owner_is_ended(runtime):
    # As where setpriv is missing: a process that nothing ties to anybody.
    folder = runtime_dir() / "mleft"
    folder.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / "owner").write_text(f"{gone.pid}\n")
    code = "import os, sys; os.fork() and os._exit(0); os.setsid(); os.execvp('sh', ['sh', '-c', sys.argv[1]])"
    # The command line names the folder, as QEMU's does.
    script = f"exec 9>{folder}/lock; flock 9; exec {sys.executable} -c 'import time; time.sleep(600)' {folder}"
    subprocess.run([sys.executable, "-c", code, script], check=True)
    wait_until(lambda: files.taken(folder / "lock"))

    def pids():
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(folder).encode() in path.read_bytes() and b"time.sleep" in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    wait_until(lambda: len(pids()) == 1)
    (pid,) = pids()
    (folder / "pid").write_text(f"{pid}\n")
    assert "left behind" in leftovers.clear()[0]
    wait_until(lambda: not running(pid))
    assert not folder.exists()


def test_attached_from_elsewhere(runtime):
    made = started(runtime)
    there = machine.Machine.attached(made.folder, made.keys)
    assert there.alive() and there.port == made.port and there.pid() == made.pid()
    there.close()
    assert made.alive()  # letting go of it does not end it
    made.close()
    assert machine.Machine.attached(made.folder, made.keys) is None


def test_a_small_machine_is_told_of_its_mitigations_what_this_one_was(tmp_path):
    told = tmp_path / "cmdline"
    told.write_text("quiet mitigations=auto,nosmt root=/dev/vda\n")
    assert small.mitigations(told) == ["mitigations=auto,nosmt"]
    told.write_text("quiet root=/dev/vda\n")
    assert small.mitigations(told) == small.mitigations(tmp_path / "none") == []
    assert "mitigations" not in small.KERNEL_ARGUMENTS
