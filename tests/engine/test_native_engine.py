"""Engines beside the machine's own: what they are, that labs run on them, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pytest

from labkit import engine as engines
from labkit import images
from labkit.commands import matrix
from labkit.engine import native
from labkit.engine.embedded import packages
from labkit.errors import LabError
from labkit.labs.engine_architecture import parts

from ..conftest import open_context
from ..helpers import running, wait_until
from .daemons import Restartable, interfaces, mounts_below

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a second dockerd")

CURRENT = packages.Variant(packages.CURRENT, "overlay2")

#: A registry's whole job in a line: answers one request.
SERVER = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nlive' | nc -l -p 80; done"


def groups() -> set[str]:
    """The control groups of this process's engines, in whichever hierarchy."""
    tops = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    return {str(path) for top in tops for path in top.glob(f"labkit-native-{os.getpid()}-*")}


def chains() -> set[str]:
    """The chains of the machine's own firewall."""
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in saved.splitlines() if line.startswith(":")}


#: Those that test_matrix.py starts, and asks for the same, are slow here.
IN_MATRIX = {(row.suite, row.store) for row in matrix.ROWS if row.kind == "native"}
ASKED = [(suite, store) for suite in packages.SUITES for store in ("overlay2", "containerd")]


@pytest.mark.parametrize(("suite", "store"), [
    pytest.param(*each, marks=pytest.mark.slow if each in IN_MATRIX else ()) for each in ASKED
])  # fmt: skip
def test_it_is_what_was_asked_for(suite, store):
    if packages.SUITES[suite] == "20.10" and store == "containerd":
        with pytest.raises(LabError, match="no containerd store"), native.start(packages.Variant(suite, store)):
            pass
        return
    with native.start(packages.Variant(suite, store)) as engine, open_context(engine) as on:
        assert on.facts.version.startswith(packages.SUITES[suite]) and on.facts.image_store == store
        assert on.docker.containers.run(on.image(), ["echo", "live"], remove=True) == b"live\n"


def test_each_engines_machine_is_its_own(engine):
    """With two engines on one machine, what a lab calls the machine is its engine's: root and network."""

    def seen(on) -> list[str]:
        script = "readlink /proc/self/ns/net; readlink /proc/self/ns/mnt"
        return on.observer.call("plain", script=script)["output"].split()

    with native.start(CURRENT) as second, open_context(engine) as first, open_context(second) as other:
        assert seen(other) == [os.readlink(f"/proc/{second.pid}/ns/{name}") for name in ("net", "mnt")]
        assert not set(seen(first)) & set(seen(other))


def test_a_tree_of_processes_shows_one_engine():
    """Lab 06's tree: both keep their containerd's socket at the same place in roots of their own."""
    with native.start(CURRENT) as first, native.start(CURRENT) as second:
        for engine in (first, second):
            with open_context(engine) as on:
                shown = [(pid, name) for _, pid, name, _ in parts.processes(on).rows if name == "dockerd"]
                assert shown == [(engine.pid, "dockerd")]


def test_podman_of_today_runs_beside_it():
    def groups() -> list[Path]:
        return list(Path("/sys/fs/cgroup").glob("*/libpod_parent"))

    def locks() -> list[tuple[str, float]]:
        return [(path.name, path.stat().st_ctime) for path in Path("/dev/shm").glob("libpod*")]

    before, locked = groups(), locks()
    with native.start(packages.Variant(packages.CURRENT), native.PODMAN) as engine, open_context(engine) as on:
        assert on.facts.name == "Podman" and int(on.facts.version.split(".")[0]) >= 5
        assert on.docker.containers.run(on.image(), ["echo", "live"], remove=True) == b"live\n"
        kept = docker.DockerClient(**engine.client_options()).containers.run(on.image(), ["sleep", "600"], detach=True)
        pid = kept.client.api.inspect_container(kept.id)["State"]["Pid"]
        assert running(pid)
    assert not running(pid) and groups() == before and locks() == locked


def test_it_leaves_nothing_and_touches_nothing(engine, tmp_path):
    before, place = chains(), tmp_path / "engine"
    with native.start(CURRENT, folder=place) as second, open_context(second) as on:
        assert second.endpoint != engine.endpoint and mounts_below(str(place)) == []
        network = on.docker.networks.create(on.session.name("net"))
        # Not removed before the engine ends, as when a lab is killed.
        kept = docker.DockerClient(**second.client_options()).containers.run(on.image(), ["sleep", "600"], detach=True)
        pid = on.docker.api.inspect_container(kept.id)["State"]["Pid"]
        assert running(pid) and groups()
        assert chains() == before and f"br-{network.id[:12]}" not in interfaces()
    assert not running(pid) and not place.exists() and groups() == set() and chains() == before


def test_what_a_killed_dockerd_leaves_ends_with_its_engine():
    """Its shims are nobody's children, and no signal ends a paused container where control groups are of version 1."""
    with native.start(CURRENT) as engine, Restartable(engine) as daemon:
        with contextlib.closing(docker.DockerClient(**engine.client_options())) as client:
            images.ensure(client, images.BUSYBOX)
            made = [client.containers.run(images.BUSYBOX, ["sleep", "600"], detach=True) for _ in range(2)]
            made[0].pause()
            pids = [client.api.inspect_container(one.id)["State"]["Pid"] for one in made]
        shims = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] for pid in pids]
        daemon.end(signal.SIGKILL)
        assert all(map(running, (*pids, *shims)))
    assert not any(map(running, (*pids, *shims))) and groups() == set()


def test_a_killed_dockerd_comes_back():
    with native.start(CURRENT) as engine, Restartable(engine) as daemon:
        for _ in range(2):
            daemon.end(signal.SIGKILL)
            daemon.start()
            assert engines.find(engine.endpoint) and running(daemon.pid)


def test_published_ports_are_reached_from_within(tmp_path):
    ask = "import urllib.request as r, sys; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"
    with native.start(CURRENT) as engine, open_context(engine) as on:
        container = on.docker.containers.run(
            on.image(), ["sh", "-c", SERVER], ports={"80/tcp": ("127.0.0.1", None)}, detach=True
        )
        container.reload()
        url = f"http://127.0.0.1:{container.ports['80/tcp'][0]['HostPort']}/"

        def answer(*prefix: str) -> str:
            done = subprocess.run([*prefix, sys.executable, "-c", ask, url], capture_output=True, text=True)
            return done.stdout.strip()

        wait_until(lambda: answer(*engine.within()) == "live", 20)
        assert answer() == "", "its network is its own"


def test_it_goes_with_the_process_that_started_it(script):
    """Killed without a chance to tidy up: dockerd ends all the same, and its container with it."""
    run = script(
        """
        import os, signal
        from labkit.engine import native
        from labkit.engine.embedded import packages
        with native.start(packages.Variant("forky", "overlay2")) as engine:
            print(engine.pid, flush=True)
            signal.pause()
        """
    )
    pid = int(run.line())
    assert running(pid)
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not running(pid), 30)
    with native.start(CURRENT):  # the next one clears what that left
        left = [Path(tempfile.gettempdir()), *Path("/sys/fs/cgroup").iterdir()]
        assert [path for top in left for path in top.glob(f"labkit-native-{run.process.pid}-*")] == []


def test_a_dockerd_that_does_not_start_says_why(monkeypatch):
    monkeypatch.setitem(packages.STORES, "overlay2", {"storage-driver": "no-such-driver"})
    with pytest.raises(LabError, match="did not start.*no-such-driver"), native.start(CURRENT):
        pass
    assert groups() == set()


def test_a_damaged_root_is_unpacked_anew(tmp_path, monkeypatch):
    whole = native.root(packages.CURRENT)
    packages_of_all = whole.parents[2] / "packages"
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    (tmp_path / "packages").symlink_to(packages_of_all)
    root = native.root(packages.CURRENT)
    program = root / "usr/sbin/dockerd"
    program.write_bytes(b"half")
    assert native.root(packages.CURRENT) == root and program.stat().st_size > 1_000_000
    with native.start(CURRENT) as engine:
        assert engines.find(engine.endpoint)
