"""A machine that outlives the command that started it, and what can be said of the embedded engine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from ... import debian
from ...errors import LabError, NoEngine, NotPossibleHere
from ...files import write_whole
from ...paths import cache_dir, runtime_dir, runtime_places
from ...waiting import wait_until
from . import accel, builder, host, machine, packages, qemu, sharing, store
from .engine import EmbeddedEngine

#: Seconds without any traffic after which an engine started with ``up`` stops by itself.
IDLE_LIMIT = 2 * 3600

#: Seconds that ``up`` waits for its holder, once everything is built.
_UP_LIMIT = 120.0


class Precondition(NamedTuple):
    """One thing that the embedded engine needs: is it there, and what to do if not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


#: The record of the engine that ``up`` started, beside its machine's folder.
_RECORD = "shared.json"


def _held() -> tuple[EmbeddedEngine, dict[str, Any]] | None:
    """The engine that ``up`` started, and its record, from whichever of this user's shells."""
    for place in runtime_places():
        record = place / _RECORD
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
            folder, build = Path(known["folder"]), Path(known["build"])
            shape = qemu.Shape(**known["shape"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        there = machine.Machine.attached(folder, sharing.keys_of(build))
        if there is not None:
            return EmbeddedEngine(there, shape, build), known
        record.unlink(missing_ok=True)
    return None


def running() -> EmbeddedEngine | None:
    """The engine that ``up`` started for this user, if it still runs."""
    found = _held()
    return found and found[0]


def up(*, images: builder.Images = None, port: int | None = None, idle_limit: int = IDLE_LIMIT) -> EmbeddedEngine:
    """One engine for all commands of this user; started when it doesn't run yet.

    It stops with :func:`down`, or after ``idle_limit`` seconds in which nobody talked to it.
    Its :meth:`~EmbeddedEngine.environment` is what other Docker clients need. Closing the
    returned object does not stop it.

    Args:
        port: loopback port for it; a free one by default.

    Raises:
        LabError: as :func:`labkit.engine.embedded.start`.
    """
    from . import prepare

    with store.locked(runtime_dir()):
        there = running()
        if there is not None:
            return there
        prepare(images=images)
        options = {"port": port, "idle_limit": idle_limit}
        log = runtime_dir() / "shared.log"
        holder = None
        try:
            with open(log, "wb") as output:
                holder = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.holder", json.dumps(options)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                )
            # One that was started in the moment of an interrupt, which nobody knows of, does not hear this, and ends.
            assert holder.stdin is not None
            with contextlib.suppress(BrokenPipeError), holder.stdin as word:
                word.write(b"go\n")
            found = wait_until(lambda: running() or holder.poll() is not None, _UP_LIMIT)
            if isinstance(found, EmbeddedEngine):
                return found
        except BaseException:
            if holder is not None:
                holder.kill()  # interrupted: what it has started ends with it
            raise
        holder.kill()
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        if said:
            raise NoEngine(said.splitlines()[-1])  # the holder's own sentences, with what to do next
        raise NoEngine(
            f"The embedded engine was not ready within {_UP_LIMIT:.0f} s.",
            next_step="Try again; labkit doctor says what is missing here.",
        )


def down() -> bool:
    """Stop the engine that ``up`` started; False when there was none."""
    with store.locked(runtime_dir()):
        found = _held()
        if found is None:
            return False
        there, known = found
        with contextlib.suppress(ProcessLookupError):
            os.kill(known["holder"], signal.SIGTERM)
        if not wait_until(lambda: not there.alive(), 15, every=0.02):
            os.kill(there.pid(), signal.SIGKILL)
        (there.folder.parent / _RECORD).unlink(missing_ok=True)
        return True


def hold(*, port: int | None, idle_limit: int) -> None:
    """What the holder process does: start an engine, record it, wait until nobody needs it."""
    from . import start

    engine = start(port=port)
    try:
        known = {
            "folder": str(engine.folder),
            "build": str(engine.build),
            "shape": vars(engine.shape),
            "holder": os.getpid(),
            "idle_limit": idle_limit,
        }
        write_whole(engine.folder.parent / _RECORD, json.dumps(known))
        _wait_until_idle(engine, idle_limit)
    finally:
        engine.close()


def _wait_until_idle(engine: EmbeddedEngine, limit: int) -> None:
    # Every request reaches the machine over its network card, which counts what it receives.
    seen, since = "", time.monotonic()
    pause = min(20.0, max(0.2, limit / 4))
    # A runtime folder that was emptied, as at the end of a login, takes the way to the machine along: nobody can stop it.
    while engine.alive() and (engine.folder.parent / _RECORD).exists():
        try:
            engine.tell_time()
            count = engine.shell("cat /sys/class/net/eth0/statistics/rx_packets")
        except LabError:
            count = ""  # a lab is starving it: that is use as well
        if count != seen or not count:
            seen, since = count, time.monotonic()
        if time.monotonic() - since > limit:
            return
        time.sleep(pause)


def status() -> dict[str, Any]:
    """What is prepared and what runs.

    ``build`` (folder), ``versions`` (of its suite and main packages) and ``images`` say what is prepared,
    ``snapshots`` what can be resumed at once (names such as ``tcg-512m-2``), ``disk`` how many bytes all of it takes; ``endpoint``, ``pid`` and
    ``idle_limit`` (seconds) belong to the engine that ``up`` started, and are empty or 0 without one. ``imported``
    says where the build came from, if it was not made here.
    """
    place = builder.current()
    known = store.manifest(place) if place else None
    found = _held()
    there, record = found or (None, {})
    saved = []
    for folder in sorted((place / "snapshots").glob("*-*m-*-*")) if place else []:
        if store.intact(folder):
            saved.append(folder.name.rsplit("-", 1)[0])
    if place and sharing.shared(place):
        saved.append("it was imported, for all users of this machine")
    used = sum(path.stat().st_blocks * 512 for path in builder.home().rglob("*") if path.is_file())
    return dict(
        build=str(place or ""),
        imported=(known or {}).get("imported", {}).get("source", ""),
        versions=builder.versions(known) if known else {},
        images=tuple((known or {}).get("images", ())),
        snapshots=tuple(saved),
        disk=used,
        endpoint=there.endpoint if there else "",
        pid=there.pid() if there else 0,
        idle_limit=record.get("idle_limit", 0),
    )


def preconditions() -> list[Precondition]:
    """Everything that the embedded engine needs on this machine, each with its remedy. Changes nothing."""
    found: list[Precondition] = []
    qemu_here = host.have_qemu()
    if qemu_here:
        found.append(Precondition("QEMU", True, f"{qemu_here.version} ({qemu_here.path})"))
    else:
        found.append(_no_qemu())
    limit = host.memory_limit()
    try:
        size = host.fitting_memory(limit)
        detail = f"{limit // host.MIB} MiB may be used here; its machine gets {size // host.MIB} MiB"
        found.append(Precondition("Memory", True, detail))
    except NotPossibleHere as reason:
        found.append(Precondition("Memory", False, reason.what, reason.next_step))
    place = builder.current()
    found.append(_disk(place))
    found.append(_packages(place))
    if qemu_here:
        found.append(_acceleration(qemu_here))
    detail = f"built in {place}" if place else "not built yet: the first start takes a minute or two"
    found.append(Precondition("Build", True, detail))
    return found


def _disk(place: Path | None) -> Precondition:
    folder = cache_dir("embedded")
    free, needed = shutil.disk_usage(folder).free, builder.SPACE if place is None else int(0.3e9)
    detail = f"{free / 1e9:.1f} GB free under {folder}, {needed / 1e9:.1f} GB needed"
    remedy = "Free some space, or set LABKIT_CACHE to a larger disk."
    return Precondition("Disk", free >= needed, detail, "" if free >= needed else remedy)


def _packages(place: Path | None) -> Precondition:
    if place is not None:
        return Precondition("Packages", True, "not needed: the machine is built")
    if not debian.available():
        return Precondition(
            "Packages",
            False,
            "this machine has no apt-get",
            "Build on a Debian or Ubuntu machine and bring it here: labkit engine export FILE, then "
            "labkit engine import FILE",
        )
    return Precondition("Packages", True, f"{packages.variant()} for {debian.architecture()}")


def _no_qemu() -> Precondition:
    if debian.available():
        return Precondition("QEMU", True, "none here: labkit fetches its own (31 MB) at the first start")
    detail = "none here, and no apt-get to fetch labkit's own"
    return Precondition("QEMU", False, detail, f"Install it as your system does ({host.qemu_installed_as()}).")


def _acceleration(found: host.Qemu) -> Precondition:
    for name in accel.candidates():
        known = accel.recall(name, found)
        if known:
            return Precondition("Acceleration", True, f"{name} works here")
        if known is None:
            return Precondition("Acceleration", True, f"{name} will be tried at the first start")
        return Precondition("Acceleration", True, f"{name} was tried and does not work: software emulation")
    return Precondition("Acceleration", True, "software emulation (no /dev/kvm that this user may open)")
