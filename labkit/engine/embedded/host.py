"""What the notebook's machine can give: QEMU, an accelerator that works, memory and processors."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...errors import BadInput, LabError, NotPossibleHere
from . import packages

MIB = 1024**2

#: Memory of the machine in bytes, where nothing else is asked for.
DEFAULT_MEMORY = 512 * MIB
#: The least with which dockerd and a small container live.
LEAST_MEMORY = 320 * MIB
#: What QEMU needs beside the machine's own memory: translated code, devices, itself.
OVERHEAD = 160 * MIB
#: What a notebook's kernel with labkit takes beside it.
NOTEBOOK = 192 * MIB


@dataclass(frozen=True)
class Qemu:
    """The QEMU found here."""

    path: str
    version: str
    img: str


def machine_type(arch: str = "") -> str:
    """A processor's name as QEMU spells it in its programs' names; this machine's, or that of Debian's ``arch``."""
    name = arch or platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def find_qemu(arch: str = "") -> Qemu:
    """The QEMU for this processor, or for that of Debian's ``arch``.

    Raises:
        NotPossibleHere: it is not installed; the sentence says which packages bring it.
    """
    program, img = f"qemu-system-{machine_type(arch)}", "qemu-img"
    path, tool = shutil.which(program), shutil.which(img)
    if not path or not tool:
        missing = " and ".join(name for name, found in ((program, path), (img, tool)) if not found)
        raise NotPossibleHere(
            f"The embedded engine needs QEMU, and {missing} can't be found here.",
            next_step="Install it: sudo apt-get install --no-install-recommends "
            f"{packages.qemu_package(machine_type(arch))} qemu-utils",
        )
    return Qemu(path, _version(path, os.stat(path).st_mtime_ns), tool)


@lru_cache
def _version(path: str, _changed: int) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True)
    if done.returncode:
        raise NotPossibleHere(
            f"{path} does not run here: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}.",
            next_step="Install QEMU anew: sudo apt-get install --reinstall " + packages.qemu_package(),
        )
    # The whole line, distribution's revision included: a snapshot is only good for the same build.
    return done.stdout.splitlines()[0].strip()


def run_tool(command: list, folder: Path) -> None:
    """Run one of QEMU's tools in a folder.

    Raises:
        LabError: it failed; most often the disk is full.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise LabError(
            f"{Path(command[0]).name} could not {command[1]} a disk: {done.stderr.strip() or 'no reason given'}.",
            cause="Most often this machine's disk is full.",
            next_step="Free some space, or set LABKIT_CACHE to a larger disk.",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _own_groups(root: Path, own: Path) -> list[tuple[str, Path]]:
    # The cgroups that this process is in, from its own up to the visible root: ("v1" or "v2", folder).
    folders = []
    for line in _read(own).splitlines():
        _, controllers, name = line.split(":", 2)
        for kind, base in (("v2", root), ("v1", root / "memory"), ("v1", root / "cpu")):
            if (kind == "v2") != (controllers == ""):
                continue
            if kind == "v1" and base.name not in controllers.split(","):
                continue
            folder = base / name.lstrip("/")
            while base in (folder, *folder.parents):
                folders.append((kind, folder))
                if folder == base:
                    break
                folder = folder.parent
    return folders


def memory_limit(
    root: Path = Path("/sys/fs/cgroup"),
    own: Path = Path("/proc/self/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> int:
    """The most memory in bytes that this process's machine or container may use."""
    total = re.search(r"^MemTotal:\s+(\d+) kB", _read(meminfo), flags=re.M)
    limit = int(total[1]) * 1024 if total else 2**63
    for kind, folder in _own_groups(root, own):
        text = _read(folder / ("memory.max" if kind == "v2" else "memory.limit_in_bytes"))
        if text.isdigit():
            limit = min(limit, int(text))
    return limit


def cpu_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """How many processors this process may keep busy (at least 1)."""
    try:
        limit = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        limit = os.cpu_count() or 1
    for kind, folder in _own_groups(root, own):
        if kind == "v2":
            quota, _, period = _read(folder / "cpu.max").partition(" ")
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) > 0:
            limit = min(limit, math.ceil(int(quota) / int(period)))
    return max(1, limit)


def fits(memory: int, limit: int) -> bool:
    """Whether a machine of ``memory`` bytes and a notebook have room in a container of ``limit`` bytes."""
    return memory + OVERHEAD + NOTEBOOK <= limit


def fitting_memory(limit: int) -> int:
    """The machine's memory in bytes for a container limited to ``limit`` bytes.

    Raises:
        NotPossibleHere: too little for any machine beside the notebook.
    """
    for size in (DEFAULT_MEMORY, 448 * MIB, 384 * MIB, LEAST_MEMORY):
        if fits(size, limit):
            return size
    raise NotPossibleHere(
        f"The embedded engine needs about {(LEAST_MEMORY + OVERHEAD + NOTEBOOK) // MIB} MiB of memory, "
        f"and only {limit // MIB} MiB may be used here.",
        next_step="Give this container or machine more memory, or use another engine (LABKIT_ENGINE).",
    )


def refuse_memory(memory: int) -> None:
    """Raises BadInput: that little memory makes no engine."""
    raise BadInput(
        f"{memory // MIB} MiB are too little for the embedded engine's machine.",
        next_step=f"Give it at least {LEAST_MEMORY // MIB} MiB.",
    )
