"""Which accelerator really works here: tried once against a time limit, then remembered."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from ...files import write_whole
from ...paths import cache_dir
from ...saying import say
from . import qemu, store
from .host import MIB, Qemu, machine_type

#: Seconds that a tried accelerator gets for reaching the first program of its machine.
PROBE_LIMIT = 5.0

#: What the initramfs prints first; see guest/initramfs.sh.
_SIGN = b"labkit: initramfs"


def candidates() -> list[str]:
    """The hardware accelerators worth trying on this system, best first."""
    if sys.platform == "darwin":
        return ["hvf"]
    # Opening the device proves nothing (a machine can hang on it), but without that it can't work.
    return ["kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []


def _circumstances(name: str, found: Qemu) -> str:
    device = ""
    if name == "kvm":
        device = str(os.stat("/dev/kvm").st_rdev)
    return store.key(name, device, platform.release(), platform.version(), found.version)


def choose(found: Qemu, kernel: Path, initrd: Path, *, arch: str = "") -> str:
    """``kvm`` or ``hvf`` where it works, ``tcg`` (software emulation) otherwise.

    ``LABKIT_ACCELERATOR`` decides, when set. The first call for a kernel, a device and a QEMU takes
    up to five seconds; the finding is kept in the cache. A machine of another architecture than this one's
    (``arch``) can only be emulated.
    """
    if machine_type(arch) != machine_type():
        return "tcg"
    forced = os.environ.get("LABKIT_ACCELERATOR")
    if forced:
        return forced
    for name in candidates():
        remembered = recall(name, found)
        if remembered is None:
            say(f"Trying {name} (at most {PROBE_LIMIT:.0f} s)")
            remembered = works(name, found, kernel, initrd)
            _remember(name, found, remembered)
        if remembered:
            return name
    return "tcg"


def _memory() -> Path:
    return cache_dir("embedded") / "accelerators.json"


def recall(name: str, found: Qemu) -> bool | None:
    """What an earlier try found; None when there was none in these circumstances."""
    try:
        known: bool | None = json.loads(_memory().read_text(encoding="utf-8")).get(_circumstances(name, found))
        return known
    except (OSError, ValueError, AttributeError):
        return None


def _remember(name: str, found: Qemu, worked: bool) -> None:
    try:
        known = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known[_circumstances(name, found)] = worked
    with contextlib.suppress(OSError):  # a cache that can't be written costs a few seconds at the next start
        write_whole(_memory(), json.dumps(known))


def works(name: str, found: Qemu, kernel: Path, initrd: Path, limit: float = PROBE_LIMIT) -> bool:
    """Whether a small machine reaches its first program under this accelerator in time."""
    shape = qemu.Shape(128 * MIB, 1, name)
    process = subprocess.Popen(
        qemu.bare_command(found.path, shape, kernel, initrd, "panic=-1 labkit.probe quiet"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return _SIGN in output
