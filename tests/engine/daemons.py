"""A second dockerd on this machine, of a test's own: it may be killed, and its disk may be a small one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from labkit import engine as engines
from labkit.engine.native import Native
from labkit.errors import LabError

from ..helpers import wait_until


class Daemon:
    """A dockerd with folders, socket and containerd of its own, in a network namespace of its own.

    Without that it would change the machine's network: with ``--bridge=none`` a starting dockerd
    deletes ``docker0``, whoever made it.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self.endpoint = f"unix://{folder}/docker.sock"
        self.log = open(f"{folder}/log", "wb")
        with open(f"{folder}/daemon.json", "w") as settings:
            settings.write("{}")  # instead of the host's own /etc/docker/daemon.json
        # Not dockerd's child: it would be killed with it, and a start after that takes long.
        with open(f"{folder}/containerd.toml", "w") as settings:
            settings.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self.containerd = self._spawn(
            "containerd", "--config", f"{folder}/containerd.toml", "--root", f"{folder}/containerd",
            "--state", f"{folder}/run", "--address", f"{folder}/containerd.sock",
        )  # fmt: skip
        self._wait(lambda: os.path.exists(f"{folder}/containerd.sock"), self.containerd)
        self.start()

    def _spawn(self, *command: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["unshare", "--net", *command], stdout=self.log, stderr=self.log, start_new_session=True
        )

    def _wait(self, ready, process: subprocess.Popen) -> None:
        patience = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > patience:
                with open(f"{self.folder}/log") as log:
                    raise AssertionError(f"the second engine did not start: {log.read()[-2000:]}")
            time.sleep(0.1)

    def start(self) -> None:
        self.process = self._spawn(
            "dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
            "--pidfile", f"{self.folder}/pid", "-H", self.endpoint, "--bridge=none", "--iptables=false",
            "--ip6tables=false", "--ip-forward=false", "--config-file", f"{self.folder}/daemon.json",
            "--containerd", f"{self.folder}/containerd.sock",
            "--cgroup-parent", f"/labkit-{os.path.basename(self.folder)}",
        )  # fmt: skip
        self._wait(self._answers, self.process)

    def _answers(self) -> bool:
        return answers(self.endpoint)

    def kill(self) -> None:
        """SIGKILL for dockerd alone: its containers live on."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """All of it: a dockerd that is asked nicely takes its containers with it."""
        if self.process.poll() is not None:
            self.start()
        for process in (self.process, self.containerd):
            process.terminate()
            process.wait(60)
        self.log.close()


class Restartable:
    """A native engine's dockerd, which may be ended and started again with the root and the network that it had."""

    def __init__(self, engine: Native):
        self.engine, self.pid, self.process = engine, engine.pid, None
        self.command = Path(f"/proc/{self.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        self.spaces = {name: os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY) for name in ("mnt", "net")}

    def end(self, sign: signal.Signals) -> None:
        """Send dockerd this signal, and wait until it has ended."""
        os.kill(self.pid, sign)
        # Its number must be free: the next dockerd looks whether a process has the one in its predecessor's pid file.
        if self.process is None:
            os.waitpid(self.pid, 0)
        else:
            self.process.wait(60)

    def start(self) -> None:
        """Start it again, and wait until it answers. It goes with the thread that calls this."""
        mount, network = (f"/proc/self/fd/{self.spaces[name]}" for name in ("mnt", "net"))
        enter = ["setpriv", "--pdeathsig", "TERM", "nsenter", f"--mount={mount}", f"--net={network}"]
        with open(Path(self.engine.endpoint.removeprefix("unix://")).parents[1] / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*enter, *self.command], pass_fds=list(self.spaces.values()), env={"PATH": os.defpath + ":/usr/sbin:/sbin"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pid = self.process.pid
        wait_until(lambda: self.process.poll() is not None or answers(self.engine.endpoint), 180)
        assert self.process.poll() is None, f"dockerd did not come back: {Path(log.name).read_text()[-1000:]}"

    def within(self) -> list[str]:
        """As :meth:`Native.within`, for the dockerd of now."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def __enter__(self) -> Restartable:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGTERM)
        for handle in self.spaces.values():
            os.close(handle)


def answers(endpoint: str) -> bool:
    """Whether an engine answers there."""
    try:
        engines.find(endpoint).close()
    except LabError:
        return False
    return True


@contextlib.contextmanager
def second_daemon(*, disk: str = "") -> Iterator[Daemon]:
    """A daemon for the length of a ``with`` block; leaves no mount, no cgroup and no folder.

    Args:
        disk: the size of the disk that its images and containers are on (``24m``), in memory; the machine's otherwise.
    """
    before = interfaces()
    folder = tempfile.mkdtemp(prefix="labkit-dockerd-")
    if disk:
        os.mkdir(f"{folder}/data")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", f"{folder}/data"], check=True)
    made = Daemon(folder)
    try:
        yield made
    finally:
        made.end()
        assert before & {"docker0", "lo", "eth0"} <= interfaces(), "the machine's own network is untouched"
        for mount in reversed(mounts_below(folder)):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(folder)
        for place in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))):
            left = f"{place}/labkit-{os.path.basename(folder)}"
            # A group that has just lost its last process may be busy for a moment more.
            wait_until(lambda left=left: not os.path.isdir(left) or _removed(left))


def _removed(group: str) -> bool:
    """Remove a control group with all below it (BuildKit leaves one); False while one is busy."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError as fault:
        if fault.errno != errno.EBUSY:
            raise
        return False
    return True


def interfaces() -> set[str]:
    """The machine's network interfaces."""
    return set(os.listdir("/sys/class/net"))


def mounts_below(folder: str) -> list[str]:
    """Mount points below a folder, outermost first."""
    with open("/proc/mounts") as lines:
        return [line.split()[1] for line in lines if line.split()[1].startswith(folder + "/")]
