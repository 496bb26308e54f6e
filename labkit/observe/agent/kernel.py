"""The kernel's log and what the machine says of itself."""

import os
import re
import stat
import time
from typing import Any

import files


def kmsg(_request: Any, since: float, pattern: str, wait: float = 0.0) -> list[tuple[float, str]]:
    """Kernel log records at or after a monotonic time (seconds), matching a pattern.

    ``wait`` is how long, in seconds, to look for a first match. Record format:
    Documentation/ABI/testing/dev-kmsg of the Linux kernel.
    """
    looking = re.compile(pattern)
    patience = time.monotonic() + wait
    while True:
        found = []
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                try:
                    record = os.read(handle, 8192).decode("utf-8", "replace")
                except BlockingIOError:
                    break
                except BrokenPipeError:
                    continue  # the ring buffer overtook us: go on with what is there
                head, _, text = record.partition(";")
                stamp = int(head.split(",")[2]) / 1e6
                line = text.split("\n", 1)[0]
                if stamp >= since and looking.search(line):
                    found.append((stamp, line))
        finally:
            os.close(handle)
        if found or time.monotonic() >= patience:
            return found
        time.sleep(0.02)


def machine(_request: Any) -> dict[str, Any]:
    """Kernel, boot id and memory of the engine's machine; sizes in bytes."""
    memory = {name: int(kib) * 1024 for name, kib in re.findall(r"(\w+): +(\d+) kB", files.read("/proc/meminfo"))}
    return {
        "kernel": os.uname().release,
        "boot_id": files.read("/proc/sys/kernel/random/boot_id"),
        "cpus": os.cpu_count(),
        "memory": memory["MemTotal"],
        "available": memory["MemAvailable"],
    }


def file_facts(_request: Any, path: str) -> dict[str, str]:
    """What ``ls -l`` would say of a file on the engine's machine: type, mode, owner and group by name."""
    root = f"/proc/{host_pid()}/root"
    found = os.stat(f"{root}{path}")
    kinds = {stat.S_ISSOCK: "socket", stat.S_ISREG: "file", stat.S_ISDIR: "directory"}
    kind = next((word for test, word in kinds.items() if test(found.st_mode)), "other")

    def name(number: int, listing: str) -> str:
        try:
            with open(f"{root}/etc/{listing}") as lines:
                rows = [line.strip().split(":") for line in lines]
            return next((row[0] for row in rows if len(row) > 2 and row[2] == str(number)), str(number))
        except OSError:
            return str(number)

    return {
        "kind": kind,
        "mode": stat.filemode(found.st_mode),
        "owner": name(found.st_uid, "passwd"),
        "group": name(found.st_gid, "group"),
    }


def host_pid() -> int:
    """The process that sees the machine as this container's engine does: the one that started this container.

    A machine may hold several engines, each with a root and a network of its own, so nothing is looked for
    by name: a shim (or Podman's conmon) lives in its engine's namespaces and is its container's parent.
    """
    pid, own = os.getpid(), os.stat("/")
    while pid:
        pid = int(files.stat(pid)[1][1])
        try:
            if os.stat(f"/proc/{pid}/root/") != own:
                return pid
        except OSError:
            continue  # a sandbox may guard its first process even from CAP_SYS_PTRACE
    raise PermissionError("no process shows the machine's root directory")


def disk(_request: Any) -> dict[str, int]:
    """Free bytes of the file system that holds the engine's containers."""
    system = os.statvfs("/")  # our own overlay reports the file system that it lies on
    return {"free": system.f_bavail * system.f_frsize}


def memory_sample(request: Any, hz: float) -> dict[str, int]:
    """Stream [monotonic seconds, available, free, free swap] of the whole machine, in bytes, until stopped."""
    wanted = re.compile(rb"^(MemAvailable|MemFree|SwapFree):\s+(\d+)", re.M)
    request.more({"ready": True})
    with open("/proc/meminfo", "rb", buffering=0) as handle:
        while not request.stopped.wait(1 / hz):
            now = time.monotonic()
            found = {key: int(value) * 1024 for key, value in wanted.findall(os.pread(handle.fileno(), 8192, 0))}
            request.rows([round(now, 4), found[b"MemAvailable"], found[b"MemFree"], found.get(b"SwapFree", 0)])
    return {"count": request.count}


OPERATIONS = {
    "disk": disk,
    "file_facts": file_facts,
    "kmsg": kmsg,
    "machine": machine,
    "memory_sample": memory_sample,
}
