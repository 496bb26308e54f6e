"""One running machine: QEMU, its keeper, its folder; started, waited for, ended, cleared away."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from io import BufferedRandom
from pathlib import Path
from typing import IO

from ... import files
from ...errors import BadInput, EngineGone, LabError, NotPossibleHere
from ...paths import runtime_dir, text_beside
from ...waiting import wait_until
from . import channel, monitor
from .keys import Keys

#: The machine's own program that starts and stops its daemons.
SERVICE = "/usr/lib/labkit/service"

#: Seconds for a resumed machine to answer, and for one booted from its disk.
RESUME_LIMIT, BOOT_LIMIT = 60.0, 300.0
#: Seconds for QEMU itself to start.
_START_LIMIT = 60.0


def free_port() -> int:
    """A loopback port that nobody uses at this moment, and that can be reached.

    Raises:
        NotPossibleHere: there is no loopback here.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            socket.create_connection(probe.getsockname(), timeout=5).close()
            return int(probe.getsockname()[1])
    except OSError as reason:
        raise NotPossibleHere(
            f"Nothing can be reached at 127.0.0.1: {reason.strerror or reason}.",
            cause="This machine's loopback interface is down or missing, as in a sandbox without a network.",
            next_step="Bring it up: ip link set lo up",
        ) from reason


def client_context(keys: Keys) -> ssl.SSLContext:
    """TLS with which dockerd accepts us and we accept dockerd."""
    # Not the default one: that writes to what SSLKEYLOGFILE names, and fails where it can't.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(keys.ca)
    context.load_cert_chain(keys.cert, keys.key)
    return context


def ping(port: int, context: ssl.SSLContext, timeout: float = 5.0) -> bool:
    """Whether dockerd answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname="127.0.0.1")
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, ValueError, EOFError):
        return False
    except Exception as reason:  # http.client's own, on half an answer
        if type(reason).__module__ == "http.client":
            return False
        raise
    finally:
        connection.close()


def _apart() -> float:
    return time.time() - time.monotonic()


#: From a machine's own folder and its port to QEMU's command line.
Arguments = Callable[[Path, int], list[str]]


class Machine:
    """A QEMU process and its folder. It ends when :meth:`close` is called or this process ends."""

    def __init__(self, keys: Keys, port: int | None = None):
        if port is not None and not 0 < port < 65536:
            raise BadInput(f"{port} is not a port.", next_step="Ports are numbers from 1 to 65535.")
        self.keys = keys
        self.port = port or 0
        self._fixed = port is not None
        self.folder = Path()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._life: IO[bytes] | None = None
        self._console: int | None = None
        self._log: BufferedRandom | None = None
        self._told: float | None = None  # None: by another process, which looks after it

    @classmethod
    def attached(cls, folder: Path, keys: Keys) -> Machine | None:
        """The machine in a folder, started by another process of this user; None when it is gone."""
        there = cls(keys)
        there.folder = folder
        try:
            there.port = int((folder / "port").read_text(encoding="utf-8"))
            there._console = os.open(folder / "console", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        if not there.alive():
            there.close()
            return None
        return there

    def start(
        self, arguments: Arguments, *, work: Path, scratch: Path, first: tuple[monitor.Command, ...] = ()
    ) -> None:
        """Start QEMU.

        Args:
            arguments: called with this machine's folder and port; returns QEMU's command line.
            work: working directory, with the disk's and memory's files.
            scratch: where the disk's nameless overlay goes.
            first: commands for its monitor, before anything else.

        Raises:
            LabError: the port is taken, the disk is full, or what QEMU itself says.
        """
        for attempt in range(5):
            self._spawn(arguments, work, scratch)
            if self._answers(first):
                return
            complaint = self.complaint()
            self.close()
            taken = "Could not set up host forwarding" in complaint
            if taken and self._fixed:
                raise LabError(
                    f"Port {self.port} is taken on this machine.",
                    next_step="Choose another one, or none: labkit then takes a free port.",
                )
            if not taken or attempt == 4:
                raise LabError(
                    f"QEMU did not start: {complaint or 'no reason given'}.",
                    next_step="Check this machine with: labkit doctor",
                )

    def _answers(self, first: tuple[monitor.Command, ...]) -> bool:
        # The monitor's socket comes early, and turns away for a moment; it answers only when QEMU has
        # accepted all of its command line. False when QEMU has ended instead.
        def answered() -> bool:
            with contextlib.suppress(monitor.Silent):
                if (self.folder / "qmp").exists():
                    monitor.ask(self.folder / "qmp", *first, timeout=_START_LIMIT)
                    return True
            return False

        try:
            wait_until(lambda: answered() or not self.alive(), _START_LIMIT, self._hangs, every=0.005)
        except EngineGone:
            self.close()
            raise
        return self.alive()

    def _spawn(self, arguments: Arguments, work: Path, scratch: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="m", dir=runtime_dir()))
        if not self._fixed:
            self.port = free_port()
        channel.make_pipes(self.folder)
        (self.folder / "owner").write_text(f"{os.getpid()}\n", encoding="utf-8")
        (self.folder / "port").write_text(f"{self.port}\n", encoding="utf-8")
        console = os.open(self.folder / "console", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._console = console  # kept open: readable even after the keeper has cleared the folder
        self._log = tempfile.TemporaryFile()
        # Held by the keeper and QEMU for as long as either lives: this is how leftovers are told apart.
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        theirs, ours = os.pipe()  # closed in what is started; os.pipe2 is Linux only
        self._life = files.kept_from_forks(open(ours, "wb", buffering=0))
        # As text: a checkout for Windows may have given the file other line ends.
        keeper = ["sh", "-c", text_beside(__file__, "keeper.sh"), "keeper", str(self.folder)]
        try:
            self._keeper = subprocess.Popen(
                [*keeper, *arguments(self.folder, self.port)],
                stdin=theirs,
                stdout=self._log,
                stderr=self._log,
                cwd=work,
                env={**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C"},
                pass_fds=[lock],
                start_new_session=True,  # an interrupt of the notebook is not for the machine
            )
        finally:
            os.close(theirs)
            os.close(lock)

    def alive(self) -> bool:
        """Whether QEMU still runs."""
        if self._keeper is not None:
            return self._keeper.poll() is None
        return files.taken(self.folder / "lock")

    def pid(self) -> int:
        """QEMU's process number."""
        for _ in range(200):
            try:
                return int((self.folder / "pid").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                if not self.alive():
                    break
                time.sleep(0.01)
        raise self.gone()

    def complaint(self) -> str:
        """What QEMU said on its standard error, in one line."""
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def console(self) -> str:
        """All that the machine's kernel wrote to its console since this start."""
        if self._console is None:
            return ""
        size = os.fstat(self._console).st_size
        return os.pread(self._console, size, 0).decode(errors="replace")

    def wait_for_clock(self, limit: float = RESUME_LIMIT) -> None:
        """Wait until the agent runs, and set the machine's clock."""
        try:
            channel.set_clock(self.folder, deadline=time.monotonic() + limit, alive=self.alive)
        except EngineGone:
            if self.alive():
                raise
            raise self._ended() from None
        self._told = _apart()

    def tell_time(self) -> None:
        """Set the machine's clock anew if this computer has slept (or its clock was set) since that was last done.

        While it sleeps, neither its monotonic clock nor the machine's goes on, but the time of day does.
        """
        if self._told is not None and abs(_apart() - self._told) > 1:
            self.wait_for_clock()

    def wait_for_dockerd(self, limit: float) -> None:
        """Wait until dockerd answers over TLS.

        Raises:
            EngineGone: QEMU ended or dockerd does not answer within ``limit`` seconds.
        """
        context = client_context(self.keys)
        late = EngineGone(
            f"The embedded engine did not answer within {limit:.0f} s.",
            next_step="Build it anew: labkit engine build --force",
        )
        wait_until(lambda: ping(self.port, context) or not self.alive(), limit, lambda: late, every=0.02)
        if not self.alive():
            raise self._ended()

    def hand_over_keys(self) -> None:
        """Give a machine that has booted its keys, and start dockerd with them.

        Fresh randomness goes along: the state from which a resumed kernel draws its own is in a file.
        """
        lines = ["umask 077"]
        for path in sorted(self.keys.server.iterdir()):
            text = base64.b64encode(path.read_bytes()).decode()
            lines.append(f"echo {text} | base64 -d >/etc/docker/{path.name}")
        lines.append(f"echo {base64.b64encode(os.urandom(64)).decode()} | base64 -d >/dev/urandom")
        self._set_up("\n".join([*lines, f"{SERVICE} start dockerd"]))

    def start_keyless(self) -> None:
        """Start dockerd on the machine's own socket only, and wait until it answers there."""
        ready = "until [ -S /run/docker.sock ] && docker -H unix:///run/docker.sock version; do sleep 0.2; done"
        self._set_up(f"{SERVICE} start dockerd; {ready}")

    def _set_up(self, command: str) -> None:
        try:
            status, output = self.shell(command, BOOT_LIMIT)
        except EngineGone:
            raise
        except LabError:
            raise EngineGone(
                f"The embedded engine's machine was not ready within {BOOT_LIMIT:.0f} s: this computer has too much to do.",
                next_step="Try again when less runs here.",
            ) from None
        if status:
            raise EngineGone(
                f"The embedded engine's machine could not be set up: {output.strip()[-300:]}.",
                next_step="Build it anew: labkit engine build --force",
            )

    def _panic(self) -> str:
        # What led to it stands above it; each line begins with its time.
        lines = [line.partition("] ")[2] for line in self.console().splitlines()]
        told = [line for line in lines if line.startswith(("BUG: ", "Oops: ", "Kernel panic"))]
        return " · ".join(told[:3]) if any(line.startswith("Kernel panic") for line in told) else ""

    def gone(self) -> EngineGone:
        """What is said when it has ended: with QEMU's complaint, or its kernel's when that gave up."""
        return channel.gone(self.complaint() or self._panic())

    def _said(self) -> str:
        return self.complaint() or self._panic() or "\n".join(self.console().splitlines()[-3:]) or "no reason given"

    def _hangs(self) -> EngineGone:
        return EngineGone(
            f"QEMU did not start its machine within {_START_LIMIT:.0f} s: {self._said()}.",
            next_step="See what is missing here: labkit doctor",
        )

    def _ended(self) -> EngineGone:
        return EngineGone(
            f"QEMU ended while its machine started: {self._said()}.",
            cause="If nothing else is said, this machine or container ran out of memory.",
            next_step="See what is missing here: labkit doctor",
        )

    def shell(self, command: str, timeout: float) -> tuple[int, str]:
        """Run a command as root in the machine; see :func:`channel.run`."""
        try:
            return channel.run(self.folder, command, timeout=timeout, alive=self.alive)
        except EngineGone:
            if self.alive() and self._stopped_by_full_disk():
                raise EngineGone(
                    "The embedded engine's machine stands still: it can't write to its disk.",
                    cause="This machine's disk is full.",
                    next_step="Free some space (or set LABKIT_CACHE to a larger disk), then start a fresh engine.",
                ) from None
            if not self.alive():
                raise self.gone() from None
            raise

    def _stopped_by_full_disk(self) -> bool:
        try:
            (status,) = monitor.ask(self.folder / "qmp", "query-status")
        except EngineGone:
            return False
        return bool(status.get("status") == "io-error")

    def close(self) -> None:
        """End QEMU and wait until its folder is cleared. May be called twice, or on one that is gone."""
        if self._life is not None:
            self._life.close()  # the keeper sees this and ends QEMU
            self._life = None
        if self._keeper is not None:
            try:
                self._keeper.wait(10)
            except subprocess.TimeoutExpired:
                self._keeper.send_signal(signal.SIGTERM)
                self._keeper.wait(10)
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._console is not None:
            os.close(self._console)
            self._console = None
        if self._log is not None:
            self._log.close()
            self._log = None
