"""The machine's root file system: packages in, a folder and then a disk image out. No root needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from ... import debian
from ...errors import LabError
from . import host, packages

_GUEST = Path(__file__).parent / "guest"

#: Size of the machine's disk in bytes. The image is sparse: only what is written takes space.
DISK_SIZE = 4 * 1024**3

#: Where the machine finds image archives at its first boot.
IMAGES = "/var/lib/labkit/images"

#: Files of guest/ and where they go; the mode says whether they are programs.
_FILES = {
    "inittab.conf": ("etc/inittab", 0o644),
    "boot.sh": ("usr/lib/labkit/boot", 0o755),
    "agent.sh": ("usr/lib/labkit/agent", 0o755),
    "service.sh": ("usr/lib/labkit/service", 0o755),
    "modules-load.conf": ("etc/modules-load", 0o644),
    "sysctl.conf": ("etc/sysctl.conf", 0o644),
    "containerd.toml": ("etc/containerd/config.toml", 0o644),
    "lxc.conf": ("etc/lxc/default.conf", 0o644),
}

_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\ndisk:x:6:\ndocker:x:999:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 labkit\n",
    "etc/hostname": "labkit\n",
    # No name server: the machine is on no network. Empty, or Docker would fall back to public ones.
    "etc/resolv.conf": "nameserver 127.0.0.1\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/fstab": "/dev/vda / ext4 noatime 0 0\n",
    "etc/subuid": "root:100000:65536\n",
    "etc/subgid": "root:100000:65536\n",
}

_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "srv", "opt", "home", "var/log", "var/tmp",
            "var/lib/docker", "var/lib/containerd", "var/lib/lxc", "etc/docker", "var/lib/labkit", "usr/local/bin",
            "usr/local/sbin")  # fmt: skip


def make(
    debs: Iterable[Path],
    root: Path,
    images: Iterable[Path] = (),
    *,
    busybox: Path,
    settings: Mapping[str, object] | None = None,
) -> Path:
    """Unpack the packages and set the machine up; returns the kernel's path below the root.

    Args:
        debs: the packages' files.
        root: an empty folder that becomes the root file system.
        images: image archives, to be loaded at the first boot.
        busybox: one that runs here and has the tools of the machine's.
        settings: more keys for dockerd's ``daemon.json``.
    """
    debian.unpack(list(debs), root)
    _trim(root)
    debian.merge_usr(root)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, (target, mode) in _FILES.items():
        _put(root / target, (_GUEST / name).read_bytes(), mode)
    for target, text in _TEXTS.items():
        _put(root / target, text.encode(), 0o644)
    daemon = json.loads((_GUEST / "daemon.json").read_text()) | (settings or {})
    _put(root / "etc/docker/daemon.json", json.dumps(daemon, indent=2).encode() + b"\n", 0o644)
    # No key is ever on this disk: dockerd starts with this until the machine has been given its own.
    local = {key: value for key, value in daemon.items() if not key.startswith("tls")}
    local["hosts"] = [host for host in daemon["hosts"] if host.startswith("unix:")]
    _put(root / "usr/lib/labkit/local.json", json.dumps(local, indent=2).encode() + b"\n", 0o644)
    _link_tools(root, busybox)
    for path in images:
        (root / IMAGES[1:]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / IMAGES[1:] / path.name)
    return kernel(root)


def _put(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _trim(root: Path) -> None:
    for pattern in packages.TRIMMED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _link_tools(root: Path, busybox: Path) -> None:
    # What maintainer scripts would have linked, and busybox for every tool that is still missing.
    binaries, system = root / "usr/bin", root / "usr/sbin"
    family = "xtables-nft-multi"
    for name in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            _link(system / f"{name}{suffix}", family)
    _link(binaries / "sh", "dash")
    _link(binaries / "awk", "mawk")
    _link(system / "init", "../bin/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if not any(os.path.lexists(folder / name) for folder in (binaries, system)):
            _link(binaries / name, "busybox")


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def kernel(root: Path) -> Path:
    """The newest kernel below a root file system: ``boot/vmlinuz-RELEASE``, or ``usr/lib/modules/RELEASE/vmlinuz``
    as packages since 2026 have it.

    Raises:
        LabError: none there.
    """
    found = {path.name.removeprefix("vmlinuz-"): path for path in root.glob("boot/vmlinuz-*")}
    found |= {path.parent.name: path for path in root.glob("usr/lib/modules/*/vmlinuz")}
    if not found:
        raise LabError(
            "The packages brought no kernel.",
            cause="Debian's kernel packages have changed since this labkit was written.",
            next_step="Choose a released suite: labkit engine build --suite trixie",
        )
    return found[max(found, key=lambda release: [int(part) for part in re.findall(r"\d+", release)])]


def kernel_release(path: Path) -> str:
    """The release of the kernel at a path that :func:`kernel` gave."""
    return path.parent.name if path.name == "vmlinuz" else path.name.removeprefix("vmlinuz-")


def disk_image(root: Path, image: Path, *, size: int = DISK_SIZE) -> None:
    """Write the folder into a sparse ext4 disk image.

    Args:
        root: the root file system.
        image: the file to write.
        size: the disk's size in bytes.

    Raises:
        LabError: no ``mke2fs`` to be had, or the disk is full.
    """
    command = [host.find_mke2fs(), "-q", "-F", "-t", "ext4", "-m", "0", "-L", "labkit"]
    # The disk is thrown away with its machine: no journal and no checksums, so nothing to emulate for them.
    command += ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0,lazy_itable_init=1"]
    command += ["-d", str(root), str(image), f"{size // 1024}k"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LabError(
            f"The disk image could not be written: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}.",
            cause=f"Most often the disk under {image.parent} is full.",
            next_step="Free about 2 GB, or set LABKIT_CACHE to a larger disk.",
        )
