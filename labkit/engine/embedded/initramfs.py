"""The first file system of the machine: one static busybox, an init script, the disk's modules."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

from ...errors import LabError
from . import packages

_GUEST = Path(__file__).parent / "guest"


def _entry(name: str, mode: int, data: bytes = b"", inode: int = 0) -> bytes:
    # One record of a "newc" cpio archive, as the kernel's buffer-format document has it.
    fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    head = header + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive of (path, mode with file type, content), all owned by root."""
    body = b"".join(_entry(name, mode, data, number + 1) for number, (name, mode, data) in enumerate(entries))
    return body + _entry("TRAILER!!!", 0)


def dependencies(modules_dep: str) -> dict[str, list[str]]:
    """``modules.dep`` as a mapping from each module's path to the paths it needs loaded before."""
    table = {}
    for line in modules_dep.splitlines():
        path, _, needs = line.partition(":")
        table[path] = needs.split()
    return table


def module_name(path: str) -> str:
    """``kernel/drivers/block/virtio_blk.ko.xz`` → ``virtio_blk``."""
    return re.sub(r"\.ko(\.\w+)?$", "", path.rsplit("/", 1)[-1]).replace("-", "_")


def load_order(names: tuple[str, ...], table: dict[str, list[str]]) -> list[str]:
    """Paths of the named modules and all they need, in an order in which each can be loaded.

    Names that the kernel has built in (no such module) are left out.
    """
    by_name = {module_name(path): path for path in table}
    order: list[str] = []
    for name in names:
        path = by_name.get(name)
        if path is None:
            continue
        # modules.dep lists needs nearest first: the last must be loaded first.
        for each in [*reversed(table[path]), path]:
            if each not in order:
                order.append(each)
    return order


def trim_modules(
    root: Path, release: str, busybox: Path, keep: tuple[str, ...] = packages.MODULES
) -> dict[str, list[str]]:
    """Delete the kernel modules that no lab uses; returns the table of those left.

    Compressed modules are unpacked, so that the smallest loader can load them.

    Args:
        root: the machine's root file system, its ``/usr`` merged.
        release: the kernel's release, the name of the modules' folder.
        busybox: one that runs here: the notebook's machine may have no depmod.
        keep: patterns of paths below ``kernel/``.
    """
    folder = root / "usr/lib/modules" / release
    _depmod(root, release, busybox)
    table = dependencies((folder / "modules.dep").read_text())
    pattern = re.compile(r"kernel/(.*/)?(" + "|".join(keep) + r")(\.\w+)?$")
    kept = {path for path in table if pattern.fullmatch(path)}
    kept |= {need for path in kept for need in table[path]}
    for path in table:
        if path not in kept:
            (folder / path).unlink()
    for path in kept:
        _uncompress(folder / path, root)
    _depmod(root, release, busybox)
    return dependencies((folder / "modules.dep").read_text())


def _depmod(root: Path, release: str, busybox: Path) -> None:
    folder = root / "usr/lib/modules" / release
    done = subprocess.run([busybox, "depmod", "-b", root / "usr", release], capture_output=True, text=True, cwd=folder)
    if done.returncode or not (folder / "modules.dep").exists():
        raise LabError(f"The kernel's modules could not be listed: {done.stderr.strip() or 'no reason given'}.")


def _uncompress(path: Path, root: Path) -> None:
    if path.suffix == ".ko":
        return
    plain = path.with_suffix("")
    if path.suffix == ".xz":
        import lzma

        plain.write_bytes(lzma.decompress(path.read_bytes()))
    elif path.suffix == ".gz":
        plain.write_bytes(gzip.decompress(path.read_bytes()))
    else:
        tool = root / "usr/bin/zstd"
        subprocess.run([tool if tool.exists() else "zstd", "-q", "-d", path, "-o", plain], check=True)
    path.unlink()


def make(root: Path, release: str, table: dict[str, list[str]]) -> bytes:
    """The initramfs for a root file system and its kernel, ready to be written to a file."""
    folder = root / "usr/lib/modules" / release
    order = load_order(packages.DISK_MODULES, table)
    directories = ["bin", "dev", "proc", "sys", "disk", "modules"]
    entries = [(name, 0o040755, b"") for name in directories]
    entries.append(("bin/busybox", 0o100755, (root / "usr/bin/busybox").read_bytes()))
    entries.append(("init", 0o100755, (_GUEST / "initramfs.sh").read_bytes()))
    for path in order:
        entries.append((f"modules/{module_name(path)}.ko", 0o100644, (folder / path).read_bytes()))
    listed = "".join(f"{module_name(path)}.ko\n" for path in order)
    entries.append(("modules/order", 0o100644, listed.encode()))
    # Level 1: the image is read once per cold boot, and unpacked by an emulated processor.
    return gzip.compress(cpio(entries), compresslevel=1, mtime=0)
