"""The way into the machine that needs no dockerd: requests to the agent over virtio-serial."""

import base64
import fcntl
import os
import select
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from ...errors import EngineGone, LabError
from . import qemu


def make_pipes(folder: Path) -> None:
    """The named pipes that QEMU connects to the machine's serial ports; only their owner may use them."""
    for label in (qemu.CLOCK_PORT, *qemu.SHELL_PORTS):
        for end in ("in", "out"):
            os.mkfifo(folder / f"{label}.{end}", 0o600)


class _Port:
    """One serial port, held alone for as long as it is open."""

    def __init__(self, folder: Path, label: str):
        # Opened for both directions, so that opening never waits for QEMU and the pipe never ends.
        self._in = os.open(folder / f"{label}.in", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._out = os.open(folder / f"{label}.out", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            os.close(self._in)
            raise
        self._rest = b""

    def lock(self, *, wait: bool) -> bool:
        try:
            fcntl.flock(self._in, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)

    def send(self, line: str) -> None:
        data = line.encode() + b"\n"
        while data:
            data = data[os.write(self._in, data[:4096]) :]

    def _more(self, deadline: float) -> bool:
        wait = deadline - time.monotonic()
        if wait <= 0 or not select.select([self._out], [], [], min(wait, 0.5))[0]:
            return False
        self._rest += os.read(self._out, 65536)
        return True

    def answer(self, ident: str, deadline: float, alive: Callable[[], bool]) -> tuple[int, bytes] | None:
        """The status and output answered to a request; None when the deadline passes."""
        while True:
            head, newline, rest = self._rest.partition(b"\n")
            if newline:
                name, status, length = head.decode().split(" ")
                while len(rest) < int(length):
                    if not self._more(deadline) and time.monotonic() >= deadline:
                        return None
                    rest = self._rest.partition(b"\n")[2]
                self._rest = rest[int(length) :]
                if name == ident:
                    return int(status), rest[: int(length)]
                continue  # the late answer to a request that somebody gave up
            if not self._more(deadline):
                if time.monotonic() >= deadline:
                    return None
                if not alive():
                    raise gone()


def gone(said: str = "") -> EngineGone:
    """What is said of a machine that has ended; ``said`` are its own last words, if any."""
    return EngineGone(
        "The embedded engine's machine is gone.",
        cause=f"QEMU ended: {said or 'it was killed, or this machine ran out of memory'}.",
        next_step="Start a fresh one, in a second or two: run the cell with labkit.open(…) or lab.own() again. "
        "Outside of a lab: labkit engine up",
    )


def _open(folder: Path, labels: tuple[str, ...]) -> _Port:
    # The first free port; when all are busy, wait for the last.
    for label in labels:
        try:
            port = _Port(folder, label)
        except FileNotFoundError:
            raise gone() from None
        if port.lock(wait=label == labels[-1]):
            return port
        port.close()
    raise AssertionError("the last port is waited for")


def run(folder: Path, command: str, *, timeout: float, alive: Callable[[], bool] = lambda: True) -> tuple[int, str]:
    """Run a shell command as root in the machine; returns its exit status and output.

    Args:
        folder: the machine's folder.
        command: for ``/bin/sh``; standard input is empty.
        timeout: seconds after which the command is killed.
        alive: says whether QEMU still runs; asked while waiting.

    Raises:
        EngineGone: QEMU ended, or the machine does not answer even after the time-out.
        LabError: the command was killed at its time-out.
    """
    port = _open(folder, qemu.SHELL_PORTS)
    ident = uuid.uuid4().hex[:12]
    encoded = base64.b64encode(command.encode()).decode()
    done, until = None, time.monotonic() + timeout
    try:
        port.send(f"run {ident} {max(1, round(timeout))} {encoded}")
        # The machine itself kills the command in time; what comes later is a machine that hangs.
        done = port.answer(ident, until + 15, alive)
    finally:
        if done is None and alive():
            port.send(f"cancel {ident}")  # interrupted here: don't leave it running there
        port.close()
    if done is None:
        raise EngineGone(
            "The embedded engine's machine does not answer.",
            cause=f"It did not run a command within {timeout + 15:.0f} s; it may be out of memory.",
            next_step="Throw it away and start a fresh one: labkit engine down, then labkit engine up.",
        )
    status, output = done
    # How timeout(1) says so; 137 where it had to kill, because on a busy machine ending takes its time.
    if status == 124 or (status == 137 and time.monotonic() > until):
        raise LabError(
            f"A command on the embedded engine's machine was stopped after {timeout:.0f} s: {command[:80]!r}.",
            next_step="Give it more time (timeout=), or less to do.",
        )
    return status, output.decode(errors="replace")


def set_clock(folder: Path, *, deadline: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Set the machine's clock to ours.

    A resumed machine's clock stands where the snapshot was taken. The first answer may come late,
    while QEMU starts; then the time sent is stale and is sent again.

    Args:
        deadline: on ``time.monotonic``'s clock.
    """
    port = _open(folder, (qemu.CLOCK_PORT,))
    try:
        for _ in range(5):
            asked = time.monotonic()
            port.send(f"clock {time.time():.6f}")
            done = port.answer("clock", deadline, alive)
            if done is None:
                raise EngineGone(
                    "The embedded engine's machine did not resume.",
                    cause="Its agent does not answer.",
                    next_step="Build it anew: labkit engine build --force",
                )
            if time.monotonic() - asked < 0.1:
                return
    finally:
        port.close()
