"""What the notebook's machine can give: QEMU, an accelerator that works, memory and processors."""

import math
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadInput, LabError, NotPossibleHere
from . import packages, programs

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
    """The QEMU found here: paths of its programs, and the first line of what it says of itself."""

    path: str
    version: str
    img: str


def machine_type(arch: str = "") -> str:
    """A processor's name as QEMU spells it in its programs' names; this machine's, or that of Debian's ``arch``."""
    name = arch or platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _qemu_names(arch: str) -> tuple[str, str]:
    return f"qemu-system-{machine_type(arch)}", "qemu-img"


def qemu_kit(arch: str = "") -> programs.Kit:
    """labkit's own QEMU for a processor: 31 MB to fetch, without sound, windows, smart cards and boot by network."""
    system, img = _qemu_names(arch)
    firmware = ("-L", "{root}/usr/share/qemu", "-L", "{root}/usr/share/seabios")
    return programs.Kit(
        name="qemu",
        title="QEMU",
        packages=(packages.qemu_package(machine_type(arch)), "qemu-utils"),
        programs=(
            (f"bin/{system}", programs.Program(f"usr/bin/{system}", options=firmware)),
            (f"bin/{img}", programs.Program(f"usr/bin/{img}")),
        ),
        skip=r"^(ipxe-qemu|libnss3|libnspr4|libsqlite3-0|libcacard0|libpcsclite1|libasound2.*|libusb.*|libbrlapi.*"
        r"|libncursesw6|libtinfo6|login.*|base-passwd|libpam.*|libaudit.*|libsemanage.*|libsepol2|libdb5.*|libcap-ng0"
        r"|libsasl2-modules.*|openssl-provider.*|libbsd0|libmd0|libdebconfclient0|libexecs1|libsystemd0|libbz2-1.0"
        r"|libacl1|libattr1)$",
    )


#: labkit's own mke2fs, 4 MB to fetch.
MKE2FS = programs.Kit(
    name="e2fsprogs",
    title="mke2fs",
    packages=("e2fsprogs",),
    programs=(
        (
            "bin/mke2fs",
            programs.Program("usr/sbin/mke2fs", check=("-V",), settings=(("MKE2FS_CONFIG", "{root}/etc/mke2fs.conf"),)),
        ),
    ),
)


def qemu_installed_as(arch: str = "") -> str:
    """The names by which packages bring QEMU, for a sentence."""
    return f"{packages.qemu_package(machine_type(arch))} and qemu-utils; with Homebrew: qemu"


def have_qemu(arch: str = "") -> Qemu | None:
    """The QEMU that would be used, without fetching one: the system's where all of it is there and runs, else
    labkit's own.
    """
    names = _qemu_names(arch)
    paths = [path for path in map(shutil.which, names) if path and programs.version_of(path)]
    if len(paths) < len(names):
        place = programs.existing(qemu_kit(arch))
        if place is None:
            return None
        paths = [str(place / "bin" / name) for name in names]
    version = programs.version_of(paths[0])
    return Qemu(paths[0], version, paths[1]) if version else None


def find_qemu(arch: str = "") -> Qemu:
    """The QEMU for this processor, or for that of Debian's ``arch``; labkit's own is fetched first where there is none.

    Raises:
        NotPossibleHere: there is none, and none can be fetched: this system has no package client.
        LabError: no mirror, a full disk.
    """
    found = have_qemu(arch)
    if found is None:
        _fetch(qemu_kit(arch), qemu_installed_as(arch))
        found = have_qemu(arch)
    if found is None:
        raise LabError(
            "labkit's own QEMU does not start here any more.",
            next_step=f"Remove {programs.folder(qemu_kit(arch))}: it is made anew.",
        )
    return found


def find_mke2fs() -> str:
    """The path of ``mke2fs``; labkit's own is fetched first where there is none.

    Raises: as :func:`find_qemu`.
    """
    here = shutil.which("mke2fs", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    return here or str(_fetch(MKE2FS, "e2fsprogs") / "bin/mke2fs")


def _fetch(kit: programs.Kit, installed_as: str) -> Path:
    try:
        return programs.ensure(kit)
    except NotPossibleHere as reason:
        raise NotPossibleHere(
            f"The embedded engine needs {kit.title}, which can't be found here.",
            cause=f"labkit can't bring its own: {reason.what}",
            next_step=f"Install it as your system does ({installed_as}).",
        ) from reason


def run_tool(command: list[str], folder: Path) -> None:
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
        return path.read_text(encoding="utf-8").strip()
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
