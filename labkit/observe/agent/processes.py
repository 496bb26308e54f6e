"""Processes of the engine's machine, with their parents, namespaces and control groups."""

import os
import time
from typing import Any

import files

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def words(pid: int | str) -> list[str]:
    text: str = files.read(f"/proc/{pid}/cmdline")
    return text.rstrip("\0").split("\0")


def one(pid: int | str) -> dict[str, Any] | None:
    """One process, or None when it is gone."""
    try:
        comm, fields = files.stat(pid)
        command = words(pid)
        status = dict(row.split(":\t", 1) for row in files.read(f"/proc/{pid}/status").splitlines() if ":\t" in row)
    except (OSError, ValueError):
        return None
    spaces = {name: files.link(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}
    return {
        "pid": int(pid),
        "ppid": int(fields[1]),
        "group": int(fields[2]),
        "comm": comm,
        "state": fields[0],
        "exe": files.link(f"/proc/{pid}/exe"),
        "command": [word for word in command if word],
        "inner_pid": int(status.get("NSpid", str(pid)).split()[-1]),
        "started": int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        "namespaces": {name: found for name, found in spaces.items() if found},
    }


def processes(_request: Any, pids: list[int] | None = None) -> list[dict[str, Any]]:
    """All processes, or the given ones; those that end while being read are left out."""
    wanted = pids if pids is not None else [name for name in os.listdir("/proc") if name.isdigit()]
    return [found for found in map(one, wanted) if found]


def _glance(pid: str) -> tuple[int, int, str, list[str]] | None:
    """Parent, start (ticks), name and command line of one process; None when it is gone."""
    try:
        (comm, fields), command = files.stat(pid), words(pid)
    except (OSError, ValueError):
        return None
    if fields[0] in "ZX":
        return None  # it has ended; only its number is left
    return int(fields[1]), int(fields[19]), comm, command


def watch(request: Any) -> dict[str, float]:
    """Stream the processes that appear, turn into another program and end, by looking again and again.

    Rows are ``[seconds on the monotonic clock, pid, parent, name, command line]``; the command line is
    None when the process was gone. Those that were there before are left out. What lives shorter than
    one look takes may be missed. Ends with the count of looks and the longest time between two (s).
    """
    before = {name for name in os.listdir("/proc") if name.isdigit()}
    young: dict[str, tuple[int, int, str, list[str]]] = {}
    looks, longest, last = 0, 0.0, time.monotonic()
    request.more({"ready": True})
    while not request.stopped.is_set():
        now = time.monotonic()
        looks, longest, last = looks + 1, max(longest, now - last), now
        there = {name for name in os.listdir("/proc") if name.isdigit()}
        before &= there
        request.rows()
        for pid in sorted((there - before) | set(young)):
            found = _glance(pid)
            if found is None:
                if young.pop(pid, None):
                    request.rows((now, int(pid), 0, "", None))
            elif young.get(pid) != found:
                young[pid] = found
                request.rows((now, int(pid), found[0], found[2], found[3]))
        request.stopped.wait(0.001)
    return {"looks": looks, "longest": longest}


OPERATIONS = {"processes": processes, "watch": watch}
