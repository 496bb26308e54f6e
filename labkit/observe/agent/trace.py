"""Kernel tracepoints, through a private tracefs instance that disappears with us.

Format of a line: Documentation/trace/ftrace.rst of the Linux kernel.
"""

import os
import re
import select
import subprocess
import time
from typing import Any

from files import read, write

#: Whose the rest of its root is, differs: with userns-remap not the one as whom it runs.
MOUNT = "/dev/shm/tracing"
LINE = re.compile(r"^\s*(.+)-(\d+)\s+\[\d+\]\s+\S+\s+(\d+\.\d+):\s+(.*)$")
NAMED = re.compile(r"^(\w+):\s?(.*)$")
# System calls have a form of their own: ``sys_unshare(unshare_flags: 6c020000)``, then ``sys_unshare -> 0x0``.
SYSCALL = re.compile(r"^sys_(\w+)(\(| -> )(.*?)\)?$")
ARGUMENT = re.compile(r"(\w+): ([^,]+)")
PAIR = re.compile(r"([\w-]+)=(\"[^\"]*\"|\S+)")


def mount() -> None:
    if not os.path.isdir(f"{MOUNT}/instances"):
        os.makedirs(MOUNT, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tracefs", "none", MOUNT], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(f"tracefs can't be mounted: {done.stderr.strip()}")


def parse(line: str) -> list[Any] | None:
    """One trace line as [seconds, task, comm, event, fields], or None."""
    match = LINE.match(line)
    if not match:
        return None
    comm, task, stamp, rest = match.groups()
    call = SYSCALL.match(rest)
    if call:
        name, sign, text = call.groups()
        event = f"sys_enter_{name}" if sign == "(" else f"sys_exit_{name}"
        fields = dict(ARGUMENT.findall(text)) if sign == "(" else {"ret": text}
    else:
        named = NAMED.match(rest)
        if not named:
            return None
        event, text = named.groups()
        fields = dict(PAIR.findall(text))
    return [float(stamp), int(task), comm, event, fields]


def lost(instance: str) -> int:
    """Events that the ring buffers had no room for."""
    stats = [read(f"{instance}/per_cpu/{cpu}/stats") for cpu in os.listdir(f"{instance}/per_cpu")]
    return sum(int(number) for text in stats for number in re.findall(r"^(?:overrun|dropped)[^:]*: (\d+)", text, re.M))


def trace(request: Any, events: list[str], size_kb: int, rest: float = 0.0) -> dict[str, int]:
    """Stream tracepoint events on the monotonic clock until stopped.

    ``events`` are ``system/name``; one that this kernel lacks is reported as missing.
    ``rest`` is how many seconds to leave the events in the kernel's buffer between looks, so that reading
    them does not slow down what is traced. Ends with the count of lost events.
    """
    mount()
    instance = f"{MOUNT}/instances/labkit-{os.getpid()}-{request.number}"
    os.mkdir(instance)
    there = [event for event in events if os.path.isdir(f"{instance}/events/{event}")]
    try:
        write(f"{instance}/trace_clock", "mono")
        write(f"{instance}/buffer_size_kb", str(size_kb))
        for event in there:
            write(f"{instance}/events/{event}/enable", "1")
        pipe = os.open(f"{instance}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        request.more({"ready": True, "missing": [event for event in events if event not in there]})
        text, tail, stopping = "", "", 0.0
        with open(pipe, "rb", buffering=0) as handle:
            while True:
                if rest and not text:
                    request.stopped.wait(rest)
                select.select([pipe], [], [], 0 if rest else 0.05)
                text = (handle.read(1 << 16) or b"").decode("utf-8", "replace")
                *lines, tail = (tail + text).split("\n")
                request.rows(*filter(None, map(parse, lines)))
                if request.stopped.is_set():
                    # What happened up to the stop is still in the pipe: read until it is empty.
                    stopping = stopping or time.monotonic()
                    if not text or time.monotonic() - stopping > 5:
                        break
        return {"count": request.count, "lost": lost(instance)}
    finally:
        for event in there:
            write(f"{instance}/events/{event}/enable", "0")
        os.rmdir(instance)


OPERATIONS = {"trace": trace}
