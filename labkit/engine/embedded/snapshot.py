"""Boot once, warm up, save; from then on resume."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import LabError
from . import host, machine, monitor, qemu, store
from .builder import scratch
from .keys import Keys

Progress = Callable[[str], None]

_FILES = ("ram", "state", "disk.qcow2")

#: Run in the machine before it is saved, so that what every lab does first is in its memory already:
#: programs, container layers, the kernel's caches. IMAGE is any image that is there.
_WARM_UP = """
cd /; d="docker -H unix:///run/docker.sock"
image=$($d images -q labkit/busybox | head -n 1); image=${image:-$($d images -q | head -n 1)}
[ -n "$image" ] || exit 0
$d run --rm "$image" true
$d run -d --name warm --memory 32m -p 127.0.0.1:0:80 "$image" sleep 60
$d exec warm true
$d inspect warm; $d logs warm; $d stats --no-stream warm; $d top warm; $d pause warm; $d unpause warm
$d network create warm && $d network connect warm warm && $d network disconnect warm warm
$d kill warm; $d rm -f warm; $d network rm warm
for image in $($d images -q); do $d run --rm "$image" true; done
$d system df; $d info; $d events --since 1m --until 0s
strace -V; lxc-info --version; nsenter --version; unshare --version; ps ax; ip address
sync
"""

#: Last: give back what only the boot needed, so that the snapshot stays lean.
_SETTLE = "sync; rm -f /var/log/*.log.*; echo 1 >/proc/sys/vm/compact_memory; sync"


#: The machine's memory is in a file of its own already: the saved state is the processors' and devices'.
_MEMORY_STAYS = (
    "migrate-set-capabilities",
    {"capabilities": [{"capability": "x-ignore-shared", "state": True}]},
)


def folder_of(build: Path, found: host.Qemu, shape: qemu.Shape) -> Path:
    """Where the snapshot for this build, QEMU and shape belongs.

    QEMU's version and the whole command line are in its name: after an upgrade it isn't found,
    and a new one is made.
    """
    line = qemu.command(found.path, shape, Path("build"), Path("own"), disk="disk", ram="ram", private=True, port=0)
    model = _processor() if not shape.emulated else ""
    return (
        build
        / "snapshots"
        / (
            f"{shape.accelerator}-{shape.memory // host.MIB}m-{shape.cpus}-"
            + store.key(found.version, line, model, _WARM_UP, _SETTLE)
        )
    )


def _processor() -> str:
    # A hardware-accelerated machine has the host's own processor: its snapshot is good for that one only.
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    # The first processor's lines; those of an ARM one are called Features and CPU implementer, part, and so on.
    names = ("model name", "flags", "microcode", "Features", "CPU ")
    return store.key([line for line in text.partition("\n\n")[0].splitlines() if line.startswith(names)])


def existing(build: Path, found: host.Qemu, accelerator: str, limit: int) -> qemu.Shape | None:
    """The shape of a whole snapshot that fits into ``limit`` bytes; the largest, None if there is none.

    Resuming a machine with another number of processors than ideal beats booting a new one.
    """
    sizes = {host.DEFAULT_MEMORY, *(int(path.name.split("-")[1][:-1]) * host.MIB for path in _all(build))}
    for memory in sorted(sizes, reverse=True):
        for cpus in (2, 1, 4):
            shape = qemu.Shape(memory, cpus, accelerator)
            if host.fits(memory, limit) and store.intact(folder_of(build, found, shape)):
                return shape
    return None


def _all(build: Path) -> list[Path]:
    return [path for path in (build / "snapshots").glob("*-*m-*-*") if ".new" not in path.name]


def ensure(build: Path, found: host.Qemu, shape: qemu.Shape, *, progress: Progress | None = None) -> Path:
    """The folder of a whole snapshot; made now when it is missing, stale or damaged."""
    say = progress or (lambda line: None)
    target = folder_of(build, found, shape)
    if store.intact(target):
        return target
    target.parent.mkdir(exist_ok=True)
    with store.locked(target.parent, lambda: say("Waiting for another snapshot to finish")):
        if store.intact(target):
            return target
        _clear_stale(target)
        store.require_space(target.parent, shape.memory + int(0.2e9))
        with store.made_aside(target) as aside:
            _make(aside, build, found, shape, say)
    return target


def _clear_stale(target: Path) -> None:
    # The same shape under another QEMU or command line is of no use, except to another checkout.
    prefix = target.name.rsplit("-", 1)[0]
    for old in target.parent.glob(f"{prefix}-*"):
        if old != target and not store.recent(old):
            shutil.rmtree(old, ignore_errors=True)


def cold_boot(
    build: Path, found: host.Qemu, shape: qemu.Shape, work: Path, *, disk: str, private: bool
) -> machine.Machine:
    """Boot from the disk image; returns a machine whose engine answers."""
    running = machine.Machine(Keys(build / "keys"))
    try:
        running.start(
            lambda own, port: qemu.command(
                found.path, shape, build, own, disk=disk, ram="ram", private=private, port=port
            ),
            work=work,
            scratch=scratch(),
        )
        running.wait_for_clock(machine.BOOT_LIMIT)
        running.wait_for_dockerd(machine.BOOT_LIMIT)
    except BaseException:
        running.close()
        raise
    return running


def _make(folder: Path, build: Path, found: host.Qemu, shape: qemu.Shape, say: Progress) -> None:
    begun = time.monotonic()
    # Named relative to this folder, so that the whole cache may be copied elsewhere.
    base = ["-b", "../../base.qcow2", "-F", "qcow2"]
    host.run_tool([found.img, "create", "-q", "-f", "qcow2", *base, "disk.qcow2"], folder)
    say("Booting" + (" (emulated: about 10 s)" if shape.emulated else ""))
    running = cold_boot(build, found, shape, folder, disk="disk.qcow2,format=qcow2", private=False)
    booted = time.monotonic() - begun
    try:
        say("Warming up")
        running.shell(_WARM_UP, 900)
        running.shell(_SETTLE, 60)
        say("Saving the snapshot")
        _save(running)
    finally:
        running.close()
    store.seal(folder, _FILES, boot_seconds=round(booted, 1), seconds=round(time.monotonic() - begun, 1))


def _save(running: machine.Machine) -> None:
    # The path is relative to QEMU's working directory, so that no name needs quoting.
    socket = running.folder / "qmp"
    monitor.ask(socket, _MEMORY_STAYS, ("migrate", {"uri": "exec:cat >state"}))
    deadline = time.monotonic() + 120
    while True:
        (status,) = monitor.ask(socket, "query-migrate")
        if status.get("status") == "completed":
            break
        if status.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
            raise LabError(
                f"The snapshot could not be saved: {status.get('error-desc', status.get('status'))}.",
                next_step="Check free disk space, then: labkit engine build --force",
            )
        time.sleep(0.05)
    monitor.ask(socket, "quit")


def resume(
    build: Path, found: host.Qemu, shape: qemu.Shape, snapshot: Path, *, port: int | None = None
) -> machine.Machine:
    """A fresh machine from the snapshot, its clock right and its engine answering."""
    running = machine.Machine(Keys(build / "keys"), port)
    try:
        running.start(
            lambda own, number: qemu.command(
                found.path,
                shape,
                build,
                own,
                disk="disk.qcow2,format=qcow2",
                ram="ram",
                private=True,
                port=number,
                incoming=True,
                translated=qemu.room_for_code(host.memory_limit()),
            ),
            work=snapshot,
            scratch=scratch(),
            first=(_MEMORY_STAYS, ("migrate-incoming", {"uri": "exec:cat state"})),
        )
        running.wait_for_clock()
        running.wait_for_dockerd(machine.RESUME_LIMIT)
    except BaseException:
        running.close()
        raise
    return running
