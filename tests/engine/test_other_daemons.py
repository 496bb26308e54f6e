"""An engine that goes away in mid-run: a second dockerd, of this test's own, that may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from labkit import engine as engines
from labkit.errors import EngineGone, LabError, NoEngine
from labkit.experiments import oom

from ..conftest import open_context


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
        try:
            engines.find(self.endpoint).close()
        except LabError:
            return False
        return True

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


@pytest.fixture(scope="module")
def daemon():
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    before = interfaces()
    folder = tempfile.mkdtemp(prefix="labkit-dockerd-")
    made = Daemon(folder)
    yield made
    made.end()
    assert before & {"docker0", "lo", "eth0"} <= interfaces(), "the machine's own network is untouched"
    for mount in reversed(_mounts_below(folder)):
        subprocess.run(["umount", mount], check=True)
    shutil.rmtree(folder)
    for place in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))):
        left = f"{place}/labkit-{os.path.basename(folder)}"
        if os.path.isdir(left):
            os.rmdir(left)


def interfaces() -> set[str]:
    """The machine's network interfaces."""
    return set(os.listdir("/sys/class/net"))


def _mounts_below(folder: str) -> list[str]:
    with open("/proc/mounts") as lines:
        return [line.split()[1] for line in lines if line.split()[1].startswith(folder + "/")]


@pytest.fixture
def live(daemon):
    """The second engine, up and with the lab's images."""
    if not daemon._answers():
        daemon.kill()
        daemon.start()
    return engines.find(daemon.endpoint)


def test_it_is_an_engine_of_its_own(live, engine):
    with open_context(live) as on:
        assert on.facts.endpoint == live.endpoint != engine.endpoint
        assert on.docker.containers.run(on.image(), ["echo", "live"], remove=True) == b"live\n"


def test_gone_while_memory_grows(live, daemon):
    # Closing can't clean up then, and says so in a sentence as well.
    with pytest.raises(NoEngine, match="Nothing answers there"), open_context(live) as on:
        on.observer.machine()
        killer = threading.Timer(2.0, daemon.kill)
        killer.start()
        with pytest.raises(EngineGone) as caught:
            oom.grow(on, "64m", pace=1.0)
        killer.join()
        assert caught.value.next_step, str(caught.value)


def test_what_was_left_then_is_swept_when_it_is_back(live):
    """The test before this one could not clean up: its engine was gone."""
    from labkit.engine.session import Session, sessions

    session = Session(live, "tests")
    try:
        patience = time.monotonic() + 20
        while sessions(session.docker) and time.monotonic() < patience:
            session.sweep()
            time.sleep(0.2)
        assert sessions(session.docker) == {}
    finally:
        session.close()


def test_gone_between_two_cells(live, daemon):
    from labkit.engine.faults import explained
    from labkit.engine.rawhttp import request

    with pytest.raises(NoEngine, match="Nothing answers there"), open_context(live) as on:
        on.image()
        daemon.kill()
        with pytest.raises(NoEngine, match="Nothing answers there"), explained(live.endpoint):
            on.docker.containers.run(on.image(), ["true"])
        with pytest.raises(NoEngine, match="Nothing answers there"):
            request(live, "GET", "/_ping")
        with pytest.raises(NoEngine, match="Nothing answers there") as caught:
            oom.grow(on)
        assert caught.value.engine == live.endpoint and "labkit doctor" in caught.value.next_step


def test_a_lab_on_an_engine_that_is_gone_closes_quietly(live, daemon):
    from labkit.lab import Lab, close_quietly

    lab = Lab("tests", live)
    lab.docker.containers.create(lab.context.image(), ["true"])
    daemon.kill()
    close_quietly(lab)
    with pytest.raises(NoEngine):
        engines.find(live.endpoint)


def test_a_daemon_that_hangs_is_told_apart_from_one_that_is_gone(live, daemon, monkeypatch):
    from labkit.engine import host

    monkeypatch.setattr(host, "ANSWER_WITHIN", 0.5)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(EngineGone, match="did not answer in time") as caught:
            engines.find(live.endpoint)
        assert "overloaded, paused or unreachable" in caught.value.cause
    finally:
        daemon.process.send_signal(signal.SIGCONT)
