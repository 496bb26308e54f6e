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
from labkit import images
from labkit.errors import EngineGone, LabError, NoEngine
from labkit.experiments import oom

from ..conftest import open_context


class Daemon:
    """A dockerd with folders, socket and containerd of its own, and no network."""

    def __init__(self, folder: str):
        self.folder = folder
        self.endpoint = f"unix://{folder}/docker.sock"
        self.log = open(f"{folder}/log", "wb")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
             "--pidfile", f"{self.folder}/pid", "-H", self.endpoint, "--bridge=none", "--iptables=false",
             "--ip6tables=false", "--ip-forward=false", "--config-file", f"{self.folder}/none.json",
             "--cgroup-parent", f"/labkit-{os.path.basename(self.folder)}"],
            stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        patience = time.monotonic() + 60
        while True:
            try:
                engines.find(self.endpoint).close()
                return
            except LabError:
                if self.process.poll() is not None or time.monotonic() > patience:
                    with open(f"{self.folder}/log") as log:
                        raise AssertionError(f"the second dockerd did not start: {log.read()[-2000:]}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for dockerd alone: its containerd, shims and containers live on."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """All of it: dockerd takes its containerd and containers with it when it is asked nicely."""
        if self.process.poll() is not None:
            self.start()
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


@pytest.fixture(scope="module")
def daemon():
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    folder = tempfile.mkdtemp(prefix="labkit-dockerd-")
    made = Daemon(folder)
    yield made
    made.end()
    for mount in reversed(_mounts_below(folder)):
        subprocess.run(["umount", mount], check=True)
    shutil.rmtree(folder)
    for place in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))):
        left = f"{place}/labkit-{os.path.basename(folder)}"
        if os.path.isdir(left):
            os.rmdir(left)


def _mounts_below(folder: str) -> list[str]:
    with open("/proc/mounts") as lines:
        return [line.split()[1] for line in lines if line.split()[1].startswith(folder + "/")]


@pytest.fixture
def live(daemon):
    """The second engine, up and with the lab's images."""
    if daemon.process.poll() is not None:
        daemon.start()
    return engines.find(daemon.endpoint)


def test_it_is_an_engine_of_its_own(live, engine):
    with open_context(live) as on:
        assert on.facts.endpoint == live.endpoint != engine.endpoint
        assert on.docker.info()["ID"] != engines.find(engine.endpoint).probe()
        assert on.docker.containers.run(on.image(), ["echo", "live"], remove=True) == b"live\n"


def test_gone_while_memory_grows(live, daemon):
    with pytest.raises(EngineGone) as caught, open_context(live) as on:
        on.image(images.PYTHON)
        threading.Timer(2.0, daemon.kill).start()
        oom.grow(on, "64m", pace=1.0)
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

    on = None
    with pytest.raises(LabError), open_context(live) as on:
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
