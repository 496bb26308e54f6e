"""Control groups: find a container's, read its files, sample its memory."""

import contextlib
import gc
import os
import time
from typing import Any

from files import read, write

gc.disable()  # its pauses show up as gaps between samples; nothing here makes cycles

ROOT = "/host/cgroup"  # the machine's /sys/fs/cgroup


def version() -> int:
    return 2 if os.path.exists(f"{ROOT}/cgroup.controllers") else 1


def own_path(controller: str = "memory") -> str:
    """This container's own cgroup, as the machine sees it."""
    with open("/proc/self/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.strip().split(":", 2)
            if version() == 2 and not controllers:
                return path
            if version() == 1 and controller in controllers.split(","):
                return path
    raise FileNotFoundError(f"no {controller} cgroup")


def own_id() -> str:
    return str(read("/etc/labkit-container-id"))


def folder(container: str, parent: str | None = None, controller: str = "memory") -> str:
    """Where a container's cgroup is, or will be once it starts.

    The engine names all its containers' cgroups alike (cgroupfs: ``docker/ID``; systemd:
    ``docker-ID.scope``), so the pattern is read off our own. ``parent`` is another container's
    ``--cgroup-parent``.
    """
    path = own_path(controller).replace(own_id(), container)
    if parent:
        path = f"{parent}/{path.rsplit('/', 1)[1]}"
    base = ROOT if version() == 2 else f"{ROOT}/{controller}"
    return os.path.normpath(f"{base}/{path}")


def controllers() -> list[str]:
    """The folders that hold a hierarchy each: one on v2, one per controller on v1."""
    if version() == 2:
        return [ROOT]
    return [f"{ROOT}/{name}" for name in os.listdir(ROOT)]


def parent_cgroup(
    _request: Any,
    name: str,
    files: dict[str, int] | None = None,
    optional: dict[str, int] | None = None,
    remove: bool = False,
) -> None:
    """Make (or remove) one cgroup of the lab's own, for several containers to share the memory of.

    ``files`` are written into it, such as ``{"memory.max": 67108864}``, then the ``optional`` ones that this
    kernel has. The engine makes the same folder under every controller that it uses, so all of them are removed.
    """
    if remove:
        for base in controllers():
            remove_tree(f"{base}/{name}", patience=5.0)
        return
    place = f"{ROOT}/{name}" if version() == 2 else f"{ROOT}/memory/{name}"
    os.makedirs(place, exist_ok=True)
    there = {key: value for key, value in (optional or {}).items() if os.path.exists(f"{place}/{key}")}
    for key, value in {**(files or {}), **there}.items():
        write(f"{place}/{key}", str(value))


def remove_tree(top: str, patience: float) -> None:
    """Remove a group and those below it, where an engine left some (Podman does); processes get seconds to end."""
    deadline = time.monotonic() + patience
    while os.path.isdir(top):
        try:
            for place, _, _ in os.walk(top, topdown=False):
                os.rmdir(place)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def remove_below(_request: Any, patience: float = 0.0) -> int:
    """Remove the groups that were made below this container's own; the engine would leave them behind.

    Processes in them get ``patience`` seconds to end. On v2 this container's own processes may have
    moved into a leaf ``main``; they are moved back.
    """
    deadline = time.monotonic() + patience
    while True:
        left = []
        for base in controllers():
            controller = base.rsplit("/", 1)[1] if version() == 1 else "memory"
            try:
                own = base + own_path("name=systemd" if controller == "systemd" else controller)
            except FileNotFoundError:
                continue
            if version() == 2:
                own = own.removesuffix("/main")
                move_back(own)
            for place, _, _ in os.walk(own, topdown=False):
                if place != own and own_id() in place:
                    try:
                        os.rmdir(place)
                    except OSError:
                        left.append(place)  # its processes haven't ended yet
        if not left or time.monotonic() > deadline:
            return len(left)
        time.sleep(0.05)


def move_back(own: str) -> None:
    """Bring the processes in the leaf ``main`` back into this container's group, and give up its controllers."""
    if not os.path.isdir(f"{own}/main"):
        return
    try:
        for place in os.listdir(own):
            if place != "main" and os.path.isdir(f"{own}/{place}"):
                os.rmdir(f"{own}/{place}")
        enabled = read(f"{own}/cgroup.subtree_control").split()
        write(f"{own}/cgroup.subtree_control", " ".join(f"-{name}" for name in enabled))
        for pid in read(f"{own}/main/cgroup.procs").split():
            write(f"{own}/cgroup.procs", pid)
    except OSError:
        pass  # somebody still lives beside it: tried again, or left to the engine


def cgroup_files(_request: Any, container: str, names: list[str], controller: str = "memory") -> dict[str, Any]:
    """The named files of a container's cgroup; a file that isn't there is left out."""
    place = folder(container, controller=controller)
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = read(f"{place}/{name}")
    return {"path": place.removeprefix(ROOT), "version": version(), "files": found}


FILES = {
    1: {
        "usage": "memory.usage_in_bytes",
        "peak": "memory.max_usage_in_bytes",
        "limit": "memory.limit_in_bytes",
        "events": "memory.oom_control",
    },
    2: {
        "usage": "memory.current",
        "peak": "memory.peak",
        "limit": "memory.max",
        "events": "memory.events",
        "swap": "memory.swap.current",
    },
}


def counters(text: str) -> dict[str, int]:
    """``name value`` lines as a dict."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].lstrip("-").isdigit()}


def cgroup_sample(
    request: Any, container: str, hz: float, parent: str | None = None, wait: float = 120.0
) -> dict[str, Any]:
    """Sample a container's memory from its cgroup's birth to its removal.

    Start this before the container: it waits for the cgroup to appear. Streams batches of
    ``[monotonic seconds, bytes]``, with the bytes in swap where the kernel tells; ends with peak, limit and
    counters as last read. The cgroup is removed some milliseconds after the last process, so all files are
    read at every sample, by handles that stay open, and the last value is kept.
    """
    place = folder(container, parent)
    patience = time.monotonic() + wait
    request.more({"waiting": place.removeprefix(ROOT)})
    while not os.path.exists(f"{place}/cgroup.procs"):
        if request.stopped.is_set() or time.monotonic() > patience:
            raise TimeoutError("the container's cgroup did not appear")
        time.sleep(0.0005)
    names = FILES[version()]
    handles: dict[str, int] = {}
    last = {key: b"" for key in names}
    due = time.monotonic()
    try:
        for key, name in names.items():
            with contextlib.suppress(FileNotFoundError):  # a peak, or swap, is not on every kernel
                handles[key] = os.open(f"{place}/{name}", os.O_RDONLY)
        while True:
            now = time.monotonic()
            for key, handle in handles.items():
                last[key] = os.pread(handle, 4096, 0) or last[key]
            if request.stopped.is_set():  # also before its first sample
                break
            request.rows([round(now, 6), int(last["usage"]), *([int(last["swap"])] if "swap" in handles else [])])
            due = max(due + 1 / hz, now)
            time.sleep(max(0.0, due - time.monotonic()))
    except (OSError, ValueError):
        pass  # nothing to be read: the cgroup is gone, and with it the container's last process
    finally:
        for handle in handles.values():
            os.close(handle)
    numbers = {key: int(text) if (text := last[key].strip()).isdigit() else None for key in ("peak", "limit")}
    told = counters(last["events"].decode())
    return {"path": place.removeprefix(ROOT), "version": version(), "files": names, "count": request.count,
            "counters": told, **numbers}  # fmt: skip


OPERATIONS = {
    "cgroup_files": cgroup_files,
    "cgroup_sample": cgroup_sample,
    "parent_cgroup": parent_cgroup,
    "remove_below": remove_below,
}


def at_end() -> None:
    """Before this container ends."""
    remove_below(None)
