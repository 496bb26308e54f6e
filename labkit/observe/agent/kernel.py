"""The kernel's log and what the machine says of itself."""

import os
import re
import time


def kmsg(_request, since=0.0, pattern="", wait=0.0):
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
                    found.append([stamp, line])
        finally:
            os.close(handle)
        if found or time.monotonic() >= patience:
            return found
        time.sleep(0.02)


def machine(_request):
    """Kernel, boot id and memory of the engine's machine; sizes in bytes."""
    with open("/proc/meminfo") as lines:
        memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.split()[1].isdigit()}
    with open("/proc/sys/kernel/random/boot_id") as handle:
        boot_id = handle.read().strip()
    system = os.uname()
    return {
        "kernel": system.release,
        "architecture": system.machine,
        "boot_id": boot_id,
        "cpus": os.cpu_count(),
        "memory": memory["MemTotal"],
        "available": memory["MemAvailable"],
        "swap": memory.get("SwapTotal", 0),
    }


def read_file(_request, path, limit=65536):
    """The text of one file on the engine's machine, as its process 1 sees it."""
    with open(f"/proc/1/root{path}", errors="replace") as handle:
        return handle.read(limit)


def disk(_request, path):
    """Free and whole size, in bytes, of the file system that holds a path of the engine's machine."""
    while True:
        try:
            stat = os.statvfs(f"/proc/1/root{path}")
            return {"free": stat.f_bavail * stat.f_frsize, "size": stat.f_blocks * stat.f_frsize}
        except FileNotFoundError:
            path = os.path.dirname(path)


OPERATIONS = {"disk": disk, "kmsg": kmsg, "machine": machine, "read_file": read_file}
