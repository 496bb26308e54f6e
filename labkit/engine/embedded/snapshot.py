"""Boot once, warm up, save; from then on resume."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import EngineGone, LabError, NotPossibleHere
from ...files import Temporary
from ...paths import text_beside
from ...saying import say
from ...waiting import wait_until
from . import host, machine, monitor, qemu, sharing, store
from .builder import cold_boot, scratch

#: What a snapshot's folder holds and must stay as it is.
FILES = ("ram", "state", "disk.qcow2")

#: The folder, beside the other snapshots, of one whose machine never had a key.
KEYLESS = "keyless"

_DISK = "disk.qcow2,format=qcow2"

#: Run in the machine before it is saved, so that what every lab does first is in its memory already:
#: programs, container layers, the kernel's caches. IMAGE is any image that is there.
_WARM_UP = text_beside(__file__, "warm-up.sh")

#: Last: give back what only the boot needed, so that the snapshot stays lean.
_SETTLE = "sync; rm -f /var/log/*.log.*; echo 1 >/proc/sys/vm/compact_memory; sync"


#: Before what an export holds is saved: the engine that warmed it up ends, and forgets who it was. Status 3 where
#: it kept a key of its own for that (20.10 does), which must not travel in the machine's memory.
_ANONYMOUS = f"""
{machine.SERVICE} stop dockerd || exit 1
rm -f /var/lib/docker/engine-id /var/log/dockerd.log
{_SETTLE}
[ ! -e /etc/docker/key.json ] || exit 3
"""

#: In a machine that was imported warm: dockerd is a new process, and its first container teaches it the way.
_WAKE_UP = text_beside(__file__, "wake-up.sh")

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
    key = store.key(found.version, line, model, _WARM_UP, _SETTLE)
    return build / "snapshots" / f"{shape.accelerator}-{shape.memory // host.MIB}m-{shape.cpus}-{key}"


def _processor() -> str:
    # A hardware-accelerated machine has the host's own processor: its snapshot is good for that one only.
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
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
    came = imported_shape(build)
    if came is None or came.accelerator != accelerator or not host.fits(came.memory, limit):
        return None
    return came if _resumable(build, found, came) else None


def imported_shape(build: Path) -> qemu.Shape | None:
    """The shape of the keyless snapshot that came with an imported build; None where there is none."""
    known = store.manifest(keyless_folder(build))
    return qemu.Shape(**known["shape"]) if known else None


def keyless_folder(build: Path) -> Path:
    """Where a build has the snapshot of a machine that never had a key: while it is exported, and when it was
    imported, until the first snapshot with keys is made from it."""
    return build / "snapshots" / KEYLESS


def _command_key(found: host.Qemu, shape: qemu.Shape) -> str:
    # What a saved machine's command line must be, wherever QEMU and the build are.
    line = qemu.command("qemu", shape, Path("build"), Path("own"), disk="disk", ram="ram", private=True, port=0)
    return store.key(found.version, line)


def _resumable(build: Path, found: host.Qemu, shape: qemu.Shape) -> bool:
    known = store.manifest(keyless_folder(build))
    return bool(
        known
        and known["shape"] == vars(shape)
        and known["command"] == _command_key(found, shape)
        and store.intact(keyless_folder(build))
    )


def _all(build: Path) -> list[Path]:
    return [path for path in (build / "snapshots").glob("*-*m-*-*") if ".new" not in path.name]


def ensure(build: Path, found: host.Qemu, shape: qemu.Shape) -> Path:
    """The folder of a whole snapshot; made now when it is missing, stale or damaged.

    Raises:
        NotPossibleHere: many users share the build, and the snapshot that it came with is of another machine.
    """
    if sharing.shared(build):
        if _resumable(build, found, shape):
            return keyless_folder(build)
        raise NotPossibleHere(
            f"The engine in {build}, which is shared, can't be resumed here: its snapshot is of {_came_as(build)}; "
            f"here is {found.version}, with {host.memory_limit() // host.MIB} MiB.",
            next_step="Have its owner import one that was exported with this QEMU, or set LABKIT_CACHE to a folder of "
            "your own.",
        )
    target = folder_of(build, found, shape)
    if store.intact(target):
        return target
    with store.locked(target.parent, lambda: say("Waiting for another snapshot to finish")):
        if store.intact(target):
            return target
        _clear_stale(target)
        store.require_space(target.parent, shape.memory + int(0.2e9))
        with store.made_aside(target) as aside:
            _make(aside, build, found, shape)
        shutil.rmtree(keyless_folder(build), ignore_errors=True)
    return target


@contextmanager
def keyless(build: Path, found: host.Qemu, shape: qemu.Shape) -> Iterator[Path | None]:
    """A snapshot of a machine that never had a key, for as long as the block runs; made now unless it is there.

    Yields its folder, with ``ram``, ``state`` and ``disk.qcow2``; None where this engine keeps a key of its own
    in its memory.
    """
    target = keyless_folder(build)
    with store.locked(target.parent, lambda: say("Waiting for another snapshot to finish")):
        if not _resumable(build, found, shape):
            store.require_space(target.parent, shape.memory + int(0.2e9))
            with store.made_aside(target) as aside:
                clean = _make_keyless(aside, build, found, shape)
            if not clean:
                shutil.rmtree(target, ignore_errors=True)
        try:
            yield target if target.exists() else None
        finally:
            if _all(build):  # without any other, the first start goes on from this one
                shutil.rmtree(target, ignore_errors=True)


def _clear_stale(target: Path) -> None:
    # The same shape under another QEMU or command line is of no use, except to another checkout.
    prefix = target.name.rsplit("-", 1)[0]
    for old in target.parent.glob(f"{prefix}-*"):
        if old != target and not store.recent(old):
            shutil.rmtree(old, ignore_errors=True)


def _boot(folder: Path, build: Path, found: host.Qemu, shape: qemu.Shape, *, keyless: bool) -> machine.Machine:
    # Named relative to this folder, so that the whole cache may be copied elsewhere.
    base = ["-b", "../../base.qcow2", "-F", "qcow2"]
    host.run_tool([found.img, "create", "-q", "-f", "qcow2", *base, "disk.qcow2"], folder)
    say("Booting" + (" (emulated: about 10 s)" if shape.emulated else ""))
    return cold_boot(build, found, shape, folder, disk=_DISK, private=False, keyless=keyless)


def _make(folder: Path, build: Path, found: host.Qemu, shape: qemu.Shape) -> None:
    begun = time.monotonic()
    warm = _from_imported(folder, build, found, shape)
    running = warm or _boot(folder, build, found, shape, keyless=False)
    booted = time.monotonic() - begun
    try:
        say("Warming up")
        running.shell(_WAKE_UP if warm else _WARM_UP, 900)
        running.shell(_SETTLE, 60)
        say("Saving the snapshot")
        _save(running)
    finally:
        running.close()
    store.seal(folder, FILES, boot_seconds=round(booted, 1), seconds=round(time.monotonic() - begun, 1))


def _from_imported(folder: Path, build: Path, found: host.Qemu, shape: qemu.Shape) -> machine.Machine | None:
    # The imported machine itself goes on in this folder, with keys of its own from now on.
    known = store.manifest(keyless_folder(build))
    if known is None:
        return None
    if not shape.emulated:
        say(f"{shape.accelerator} works here: booting from the imported disk, not resuming its emulated snapshot")
        return None
    if not _resumable(build, found, shape):
        say(f"The imported snapshot is of another machine ({_came_as(build)}): booting from its disk")
        return None
    say("Resuming the imported machine, and giving it keys of its own")
    for name in FILES:
        (keyless_folder(build) / name).replace(folder / name)
    try:
        running = resume(build, found, shape, folder, private=False)
    except EngineGone as reason:
        say(f"The imported snapshot does not resume here ({reason.what}): booting from its disk")
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        return None
    return running


def _came_as(build: Path) -> str:
    known = store.manifest(keyless_folder(build)) or {"qemu": "no machine", "shape": {"memory": 0, "cpus": 0}}
    return f"{known['qemu']}, {known['shape']['memory'] // host.MIB} MiB, {known['shape']['cpus']} CPU"


def _make_keyless(folder: Path, build: Path, found: host.Qemu, shape: qemu.Shape) -> bool:
    # False when its memory may hold a key all the same.
    running = _boot(folder, build, found, shape, keyless=True)
    try:
        say("Warming up")
        running.shell(_WARM_UP, 900)
        status, output = running.shell(_ANONYMOUS, 60)
        if status not in (0, 3):
            raise LabError(f"The engine could not be stopped for its export: {output.strip()}.")
        _save(running)
    finally:
        running.close()
    facts = {"shape": vars(shape), "qemu": found.version, "command": _command_key(found, shape)}
    store.seal(folder, FILES, **facts)
    return status == 0


def _save(running: machine.Machine) -> None:
    # The path is relative to QEMU's working directory, so that no name needs quoting.
    socket = running.folder / "qmp"
    monitor.ask(socket, _MEMORY_STAYS, ("migrate", {"uri": "exec:cat >state"}))
    status: dict[str, str] = {}

    def over() -> bool:
        status.update(*monitor.ask(socket, "query-migrate"))
        return status.get("status") in ("completed", "failed", "cancelled")

    wait_until(over, 120)
    if status.get("status") != "completed":
        raise LabError(
            f"The snapshot could not be saved: {status.get('error-desc', status.get('status'))}.",
            next_step="Check free disk space, then: labkit engine build --force",
        )
    monitor.ask(socket, "quit")


def resume(
    build: Path,
    found: host.Qemu,
    shape: qemu.Shape,
    snapshot: Path,
    *,
    port: int | None = None,
    private: bool = True,
) -> machine.Machine:
    """A fresh machine from the snapshot, its clock right and its engine answering.

    Not ``private``: it goes on in the snapshot's own files. One that has no keys yet is given them.
    """
    keyless = not private or snapshot == keyless_folder(build)
    running = machine.Machine(sharing.keys_of(build), port)
    try:
        with _memory_of(snapshot, found) as ram:
            running.start(
                lambda own, number: qemu.command(
                    found.path,
                    shape,
                    build,
                    own,
                    disk=_DISK,
                    ram=ram,
                    private=private,
                    port=number,
                    incoming=True,
                    translated=qemu.room_for_code(host.memory_limit()),
                ),
                work=snapshot,
                scratch=scratch(),
                first=(_MEMORY_STAYS, ("migrate-incoming", {"uri": "exec:cat state"})),
            )
        running.wait_for_clock()
        if keyless:
            running.hand_over_keys()
        running.wait_for_dockerd(machine.BOOT_LIMIT if keyless else machine.RESUME_LIMIT)
    except BaseException:
        running.close()
        raise
    return running


@contextmanager
def _memory_of(snapshot: Path, found: host.Qemu) -> Iterator[str]:
    # QEMU opens the memory's file for writing, though a private machine never writes to it. One that can be told not to
    # (since 8.2: its docs/system/vm-templating.rst) shares it with all others. An older one gets a copy where the cache
    # is read-only, which lives as long as QEMU has it open.
    if os.access(snapshot / "ram", os.W_OK):
        yield "ram"
        return
    if tuple(map(int, re.findall(r"\d+", found.version)[:2])) >= (8, 2):
        yield "ram,readonly=on,rom=off"
        return
    with Temporary(scratch()) as folder, open(Path(folder, "ram"), "wb") as copy:
        with open(snapshot / "ram", "rb") as memory:
            while block := memory.read(1 << 20):
                if block.count(0) == len(block):
                    copy.seek(len(block), os.SEEK_CUR)  # pages of zeros stay holes
                else:
                    copy.write(block)
            copy.truncate(memory.tell())
        copy.flush()
        yield copy.name
