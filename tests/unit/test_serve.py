"""`labkit lab`: what a signal does to it and to the JupyterLab that it started."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit import cli
from labkit.commands import clean, serve
from labkit.paths import COURSE

from ..helpers import running

#: In JupyterLab's place: on INT at a terminal it asks back, and ends at the second; on TERM it ends. It tidies up slowly.
#: (It writes without a buffer: a signal may come in the middle of print.)
JUPYTER = """
import os, signal, sys, time
asked = []
def tidy(number, frame):
    if number == signal.SIGINT and sys.stdin.isatty() and not asked:
        asked.append(number)
        os.write(1, b"asks\\n")
        return
    time.sleep(1)
    os.write(1, b"tidied\\n")
    sys.exit(0)
signal.signal(signal.SIGINT, tidy)
signal.signal(signal.SIGTERM, tidy)
os.write(1, b"serves\\n")
while True:
    time.sleep(0.1)
"""

#: What `labkit lab` does once an engine answers.
SERVE = """
import sys
from labkit.commands import common, serve
with common.interruptible():
    sys.exit(serve.serve([sys.executable, "-c", sys.argv[1]], ".", None))
"""


class Lab:
    """`labkit lab` at a terminal of its own, or without one; its JupyterLab serves already."""

    def __init__(self, folder: Path, terminal: bool):
        self.folder = folder
        command = [sys.executable, "-c", SERVE, JUPYTER]
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(COURSE)}
        if terminal:
            self.terminal, write = os.openpty()
            command = ["setsid", "--ctty", *command]
        else:
            self.terminal, write = os.pipe()
        stdin = write if terminal else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=stdin, stdout=write, env=environment)
        self.pid = self.process.pid
        os.close(write)
        self.said = ""
        self.wait_for("serves")
        self.jupyter = int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text())
        assert len(list(folder.iterdir())) == 1

    def read(self) -> bool:
        assert select.select([self.terminal], [], [], 20)[0], f"it neither speaks nor ends; so far: {self.said}"
        try:
            piece = os.read(self.terminal, 4096).decode()
        except OSError:  # the terminal's other end is closed
            piece = ""
        self.said += piece
        return bool(piece)

    def wait_for(self, word: str) -> None:
        while word not in self.said:
            assert self.read(), self.said

    def end(self) -> int:
        """Its exit status; the test fails where it, its JupyterLab or its folder is left."""
        while self.read():
            pass
        status = self.process.wait(20)
        assert not running(self.jupyter) and list(self.folder.iterdir()) == []
        return status


@pytest.fixture
def lab(tmp_path):
    """Start ``lab(terminal=…)``; what the test leaves is killed."""
    started = []

    def start(terminal: bool) -> Lab:
        started.append(Lab(tmp_path, terminal))
        return started[-1]

    yield start
    for one in started:
        for pid in (one.pid, one.jupyter):
            if running(pid):
                os.kill(pid, signal.SIGKILL)
        os.close(one.terminal)


def test_ctrl_c_asks_and_the_second_one_ends_in_peace(lab):
    """Both are typed at the terminal, which sends them to JupyterLab as well."""
    made = lab(terminal=True)
    os.write(made.terminal, b"\x03")
    made.wait_for("asks")
    time.sleep(0.6)  # subprocess.call would have killed it after a quarter of a second
    assert running(made.jupyter) and running(made.pid)
    os.write(made.terminal, b"\x03")
    assert made.end() == 0 and "tidied" in made.said


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM])
def test_hup_and_term_end_jupyterlab_and_leave_no_folder(lab, sent, terminal):
    made = lab(terminal)
    os.kill(made.pid, sent)
    assert made.end() == 0 and "tidied" in made.said


def test_an_interrupt_without_a_terminal_ends_it_too(lab):
    made = lab(terminal=False)
    os.kill(made.pid, signal.SIGINT)
    assert made.end() == 0 and "tidied" in made.said


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM])
def test_every_command_ends_by_hup_and_term_as_by_ctrl_c(monkeypatch, capsys, sent):
    before, tidied = signal.getsignal(sent), []

    def main(options):
        try:
            os.kill(os.getpid(), sent)
            time.sleep(10)
        finally:
            tidied.append(True)

    monkeypatch.setattr(clean, "main", main)
    assert cli.main(["clean"]) == 130 and tidied == [True]
    assert "interrupted" in capsys.readouterr().err and signal.getsignal(sent) == before


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(clean, "main", lambda options: os.kill(os.getpid(), signal.SIGHUP) or 0)
        assert cli.main(["clean"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_projector_gets_larger_type_and_leaves_the_users_settings_alone(tmp_path, monkeypatch):
    own = tmp_path / "own" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    own.parent.mkdir(parents=True)
    own.write_text('{"theme": "JupyterLab Dark"}')
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(tmp_path / "own"))
    added = serve.project(str(tmp_path / "run"))
    copy = Path(added["JUPYTERLAB_SETTINGS_DIR"], *own.relative_to(tmp_path / "own").parts)
    assert json.loads(copy.read_text()) == {"theme": "JupyterLab Dark", "overrides": serve.PROJECTED}
    assert own.read_text() == '{"theme": "JupyterLab Dark"}'
    program = "from labkit.course.style import canvas, picture; print(picture(canvas(2, (0, 1), (0, 1))[0], 'x').width)"
    widths = [
        int(subprocess.check_output([sys.executable, "-c", program], env={**os.environ, **more}, cwd=COURSE))
        for more in ({}, added)
    ]
    assert widths[1] == pytest.approx(1.35 * widths[0], abs=2)
