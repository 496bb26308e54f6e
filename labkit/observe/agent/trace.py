"""Kernel tracepoints, through a private tracefs instance that disappears with us.

Format of a line: Documentation/trace/ftrace.rst of the Linux kernel.
"""

import os
import re
import select
import subprocess
import time
from typing import Any

MOUNT = "/run/tracing"
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


def write(path: str, text: str) -> None:
    with open(path, "w") as handle:
        handle.write(text)


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
    total = 0
    for cpu in os.listdir(f"{instance}/per_cpu"):
        with open(f"{instance}/per_cpu/{cpu}/stats") as lines:
            total += sum(int(line.split(":")[1]) for line in lines if line.startswith(("overrun", "dropped")))
    return total


def trace(request: Any, events: list[str], size_kb: int, rest: float = 0.0, batch: float = 0.05) -> dict[str, int]:
    """Stream tracepoint events on the monotonic clock until stopped.

    ``events`` are ``system/name``; one that this kernel lacks is reported as missing.
    ``rest`` is how many seconds to leave the events in the kernel's buffer between looks, so that reading
    them does not slow down what is traced. Ends with the count of lost events.
    """
    mount()
    instance = f"{MOUNT}/instances/labkit-{os.getpid()}-{request.number}"
    os.mkdir(instance)
    try:
        write(f"{instance}/trace_clock", "mono")
        write(f"{instance}/buffer_size_kb", str(size_kb))
        missing = []
        for event in events:
            if not os.path.isdir(f"{instance}/events/{event}"):
                missing.append(event)
                continue
            write(f"{instance}/events/{event}/enable", "1")
        pipe = os.open(f"{instance}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        request.more({"ready": True, "missing": missing})
        rows: list[list[Any]] = []
        text, tail, count, stopping = "", "", 0, 0.0
        try:
            while True:
                if rest and not text:
                    request.stopped.wait(rest)
                select.select([pipe], [], [], 0 if rest else batch)
                try:
                    text = os.read(pipe, 1 << 16).decode("utf-8", "replace")
                except BlockingIOError:
                    text = ""
                *lines, tail = (tail + text).split("\n")
                rows += [row for row in map(parse, lines) if row]
                if rows and (len(rows) > 200 or not text):
                    count += len(rows)
                    request.more({"rows": rows})
                    rows = []
                if request.stopped.is_set():
                    # What happened up to the stop is still in the pipe: read until it is empty.
                    stopping = stopping or time.monotonic()
                    if not text or time.monotonic() - stopping > 5:
                        break
        finally:
            os.close(pipe)
        return {"count": count, "lost": lost(instance)}
    finally:
        for event in events:
            if os.path.isdir(f"{instance}/events/{event}"):
                write(f"{instance}/events/{event}/enable", "0")
        os.rmdir(instance)


OPERATIONS = {"trace": trace}
