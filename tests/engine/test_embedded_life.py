"""The embedded engine's life: several at once, their end, one that is shared, and damage. All live."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import docker
import pytest

import labkit
from labkit import images
from labkit.engine import embedded
from labkit.engine.embedded import machine, qemu
from labkit.engine.faults import explained
from labkit.errors import EngineGone, LabError, NoEngine
from labkit.saying import listening

from ..helpers import running, wait_until

ROOT = Path(embedded.__file__).parents[3]
BUSYBOX = images.BUSYBOX


# -- several, and their end


def test_two_at_once_never_see_each_other(owned):
    client = docker.DockerClient(**owned.client_options())
    with closing(client), embedded.start() as other, closing(docker.DockerClient(**other.client_options())) as theirs:
        assert other.endpoint != owned.endpoint and other.pid() != owned.pid()
        other.shell("echo mine >/root/note")
        box = theirs.containers.create(BUSYBOX, name="theirs")
        assert [each.name for each in theirs.containers.list(all=True)] == ["theirs"]
        assert "theirs" not in [each.name for each in client.containers.list(all=True)]
        assert "mine" not in owned.shell("cat /root/note", check=False)
        box.remove()


def test_a_fresh_one_knows_nothing_of_the_last():
    with embedded.start() as first:
        first.shell("rm -rf /usr/bin/docker*; echo broken >/root/note; sync")
        first.kill_dockerd()
    with embedded.start() as second, closing(docker.DockerClient(**second.client_options())) as theirs:
        assert theirs.ping()
        assert "broken" not in second.shell("cat /root/note", check=False)


def test_killed_qemu_is_told_and_a_fresh_one_starts():
    with embedded.start() as first:
        os.kill(first.pid(), signal.SIGKILL)
        wait_until(lambda: not first.alive())
        for method in (first.stop_dockerd, first.start_dockerd, first.kill_containerd, lambda: first.shell("true")):
            with pytest.raises(EngineGone, match="fresh"):
                method()
        assert "gone" in repr(first)
        # A learner's own call on docker-py ends in the same sentence, not in one about a system's service.
        with pytest.raises(EngineGone, match="labkit.open"), explained(first.endpoint):
            docker.DockerClient(**first.client_options(), version="1.40").containers.list()
    with embedded.start() as second:
        assert second.shell("echo fresh") == "fresh\n"


def test_a_kernel_that_gave_up_is_told_in_its_own_words():
    with embedded.start() as engine:
        with pytest.raises(EngineGone, match="QEMU ended: Kernel panic - not syncing: sysrq triggered crash"):
            engine.shell("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60")
        with pytest.raises(EngineGone, match="sysrq triggered crash"), explained(engine.endpoint):
            docker.DockerClient(**engine.client_options(), version="1.40").containers.list()


def test_a_lab_beside_the_hosts_engine_gets_a_fresh_one_when_its_own_was_killed():
    try:
        lab = labkit.open("06-engine-architecture", engine="host")
    except NoEngine as reason:
        pytest.skip(f"needs a host engine: {reason}")
    try:
        first = lab.own()
        assert lab.own() is first
        os.kill(first.engine.pid(), signal.SIGKILL)
        wait_until(lambda: not first.engine.alive())
        second = lab.own()
        assert second is not first and second.docker.ping()
    finally:
        lab.close()
    wait_until(lambda: not second.engine.alive())


OWNER = """
import time
from labkit.engine import embedded
engine = embedded.start()
print(engine.pid(), engine.folder, flush=True)
time.sleep(600)
"""


def test_killed_notebook_leaves_no_machine_behind():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    pid, folder = owner.stdout.readline().split()
    assert running(pid)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not running(pid) and not Path(folder).exists(), 20)


def test_machine_started_in_a_thread_outlives_it():
    made = []
    thread = threading.Thread(target=lambda: made.append(embedded.start()))
    thread.start()
    thread.join()
    with made[0] as found:
        time.sleep(0.5)
        assert found.shell("echo there") == "there\n"


def test_port_taken_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"Port {port} is taken"):
            embedded.start(port=port)


def test_chosen_port():
    port = machine.free_port()
    with embedded.start(port=port) as found:
        assert found.endpoint == f"tcp://127.0.0.1:{port}"


def test_shared_one_outlives_its_command_and_stops_with_down():
    was = embedded.running()
    if was is not None:
        pytest.fail("labkit engine up is in use by this user: run labkit engine down first")
    first = embedded.up()
    try:
        again = embedded.up()
        assert (again.endpoint, again.pid()) == (first.endpoint, first.pid())
        again.close()
        assert first.alive()
        assert embedded.status()["endpoint"] == first.endpoint
        command = [first.cli_path(), "run", "--rm", BUSYBOX, "echo", "up"]
        done = subprocess.run(command, env=first.process_environment(), capture_output=True, text=True)
        assert done.stdout == "up\n", done.stderr
        assert first.shell("id -u").strip() == "0"
        pid = first.pid()
    finally:
        assert embedded.down() is True
    wait_until(lambda: not running(pid))
    assert embedded.running() is None and embedded.status()["endpoint"] == ""


def test_shared_one_stops_when_nobody_needs_it():
    found = embedded.up(idle_limit=2)
    try:
        pid = found.pid()
        wait_until(lambda: not running(pid))
        wait_until(lambda: embedded.running() is None)
    finally:
        embedded.down()


def processes_of(folder: Path) -> set[str]:
    """Programs that run with a folder, or something in it, on their command line."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = each.read_bytes().decode(errors="replace").split("\0")
            if any(str(folder) in word for word in words[1:]):
                found.add(os.path.basename(words[0]))
    return found


@pytest.mark.parametrize("moment", ["its holder", "its machine"])
def test_an_interrupted_up_leaves_nothing_behind(script, moment):
    embedded.prepare(images=images.archives)
    with tempfile.TemporaryDirectory() as place:
        run = script("from labkit.engine import embedded\nembedded.up()", XDG_RUNTIME_DIR=place)
        log = Path(place, f"labkit-{os.getuid()}", "shared.log")
        begun = log.exists if moment == "its holder" else lambda: any("qemu" in name for name in processes_of(place))
        wait_until(begun)
        run.process.send_signal(signal.SIGINT)
        status, _, said = run.end()
        assert status and "KeyboardInterrupt" in said
        wait_until(lambda: not processes_of(place))
        again = script(
            "from labkit.engine import embedded\nembedded.up()\nprint(embedded.down())", XDG_RUNTIME_DIR=place
        )
        assert again.end()[:2] == (0, "True\n")
        wait_until(lambda: not processes_of(place))


def test_a_holder_that_nobody_knows_of_starts_nothing():
    """An interrupt may come between the holder's birth and the moment in which ``up`` has its number."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "labkit.engine.embedded.holder", "{}"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, env={**os.environ, "XDG_RUNTIME_DIR": place}, cwd=ROOT, timeout=60
        )
        assert done.returncode == 0 and not any(Path(place).iterdir())


# -- damage


@pytest.mark.slow
def test_snapshot_of_another_qemu_is_made_anew(owned, monkeypatch):
    folder, shape, saved = embedded.prepare()
    renamed = saved.with_name(saved.name[:-4] + "0000")
    saved.rename(renamed)  # as if a QEMU upgrade had changed the name looked for
    os.utime(renamed / "manifest.json", (0, 0))  # long ago: nobody else wants it
    try:
        with embedded.start(memory=shape.memory, cpus=shape.cpus) as found:
            assert found.shell("echo new") == "new\n"
        assert saved.exists() and not renamed.exists()
    finally:
        if renamed.exists() and not saved.exists():
            renamed.rename(saved)


@pytest.mark.slow
def test_damaged_snapshot_is_noticed_and_made_anew():
    _, shape, saved = embedded.prepare()
    known = (saved / "state").stat()
    with open(saved / "state", "r+b") as stream:
        stream.write(b"\0" * 4096)
    os.utime(saved / "state", ns=(known.st_atime_ns, known.st_mtime_ns))
    told = []
    with listening(told.append), embedded.start() as found:
        assert found.shell("echo whole") == "whole\n"
    assert [line for line in told if "damaged" in line]


def test_truncated_disk_is_not_current():
    folder = Path(embedded.status()["build"])
    manifest = json.loads((folder / "manifest.json").read_text())
    size = (folder / "docker").stat().st_size
    assert manifest["files"]["docker"]["size"] == size
    moved = folder / "docker.moved"
    (folder / "docker").rename(moved)
    try:
        assert embedded.status()["build"] != str(folder)
    finally:
        moved.rename(folder / "docker")
    assert embedded.status()["build"] == str(folder)


@pytest.mark.slow
def test_smaller_machine(owned):
    with embedded.start(memory=384 * 1024**2, cpus=1) as found:
        assert found.shape == qemu.Shape(384 * 1024**2, 1, owned.shape.accelerator)
        assert int(found.shell("nproc")) == 1
        assert int(found.shell("awk '/MemTotal/ {print $2}' /proc/meminfo")) < 384 * 1024
