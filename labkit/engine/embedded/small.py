"""A virtual machine at its smallest: a kernel, one static program, a serial line. No engine in it.

It runs on the notebook's machine as an ordinary user's process (QEMU). Its first program is a
shell script that reports on the serial console and then runs what it is sent. With KVM or HVF the
processor is real; without, QEMU emulates it, which is slower by an order: ``emulated`` says so.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import lzma
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path

from ... import debian
from ...errors import EngineGone, LabError, NotPossibleHere
from ...paths import cache_dir
from . import accel, packages
from .host import find_qemu, machine_type
from .initramfs import cpio

#: Memory of the machine in MiB.
MEMORY = 96

#: Seconds within which a machine must have reached its first program.
PATIENCE = 60.0

# Load order: what a module needs stands before it.
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
            "failover", "net_failover", "virtio_net", "virtio_blk")  # fmt: skip

_INIT = """#!/bin/busybox sh
/bin/busybox echo labkit-up
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mkdir -p /tmp
exec < /dev/CONSOLE > /dev/CONSOLE 2>&1
stty -echo -onlcr
hostname small-vm
ip link set lo up
if grep -q labkit.devices /proc/cmdline; then
  while read -r module; do insmod /modules/$module; done < /modules/order
  ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
fi
echo labkit-ready
while read -r line; do
  sh -c "$line" < /dev/null
  echo "labkit-end $?"
done
"""


def accelerator() -> str:
    """``kvm`` or ``hvf`` where a machine was seen to work with it, ``tcg`` (emulation) otherwise.

    The embedded engine tries an accelerator once against a time limit and remembers; that finding
    is used here. A device node alone proves nothing: a machine can hang on it.
    """
    forced = os.environ.get("LABKIT_ACCELERATOR")
    if forced:
        return forced
    try:
        found = find_qemu()
    except LabError:
        return "tcg"
    return next((name for name in accel.candidates() if accel.recall(name, found)), "tcg")


def _initramfs(folder: Path, busybox: bytes) -> bytes:
    console = "ttyAMA0" if machine_type() == "aarch64" else "ttyS0"
    entries = [(name, 0o040755, b"") for name in ("bin", "dev", "etc", "modules", "proc", "sys")]
    entries += [
        ("bin/busybox", 0o100755, busybox),
        ("init", 0o100755, _INIT.replace("CONSOLE", console).encode()),
        ("etc/passwd", 0o100644, b"root:x:0:0:root:/root:/bin/sh\n"),
    ]
    order = []
    for name in _MODULES:
        for path in sorted(folder.rglob(f"{name}.ko*")) or sorted(folder.rglob(f"{name.replace('_', '-')}.ko*")):
            data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            entries.append((f"modules/{name}.ko", 0o100644, data))
            order.append(f"{name}.ko")
            break
    entries.append(("modules/order", 0o100644, "".join(f"{name}\n" for name in order).encode()))
    return cpio(entries)


def files(*, progress=None) -> tuple[Path, Path]:
    """Kernel and initramfs, made from Debian packages once and kept in the cache.

    Raises:
        NotPossibleHere: no package client here, and nothing in the cache.
        LabError: the packages are out of reach, or the disk is full.
    """
    # The initramfs holds the script and the modules above: others, another file.
    mark = hashlib.sha256((_INIT + str(_MODULES)).encode()).hexdigest()[:12]
    folder = cache_dir("small-vm")
    kernel, initramfs = folder / "vmlinuz", folder / f"initramfs-{mark}"
    if kernel.exists() and initramfs.exists():
        return kernel, initramfs
    say = progress or (lambda line: None)
    say("Making a small virtual machine from Debian packages")
    arch = debian.architecture() if debian.available() else "amd64"
    kernel_package = packages.KERNELS[packages.distribution()].format(arch=arch)
    debs = [deb for deb in debian.fetch([kernel_package, "busybox-static"], progress=progress)
            if debian.package_name(deb).startswith(("linux-image-", "linux-modules-", "busybox-static"))]  # fmt: skip
    root = folder / f"root-{os.getpid()}"
    try:
        debian.unpack(debs, root)
        busybox = next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists())
        _write(initramfs, _initramfs(root, busybox.read_bytes()))
        _write(kernel, next(iter(sorted(root.glob("boot/vmlinuz-*")))).read_bytes())
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return kernel, initramfs


def _write(target: Path, data: bytes) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(target)


class SmallVM:
    """One running small machine; use it as a context manager.

    Args:
        devices: load drivers for a network card and, where ``disk`` is given, a disk.
        disk: a file of this machine that is the guest's ``/dev/vda``.
        progress: called with a line of text while kernel and initramfs are made.

    ``boot_seconds`` is the time from starting QEMU to the first line of the guest's first program.

    Raises:
        NotPossibleHere: no QEMU here.
        EngineGone: the machine ended or hung before its first program.
    """

    def __init__(self, *, devices: bool = False, disk: Path | None = None, progress=None):
        qemu = find_qemu().path
        kernel, initramfs = files(progress=progress)
        self.accelerator = accelerator()
        self.emulated = self.accelerator == "tcg"
        self._lines: queue.Queue[str | None] = queue.Queue()
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command(qemu, kernel, initramfs, devices, disk),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True, name="labkit-small-vm").start()
        try:
            self._until("labkit-up", PATIENCE)
            self.boot_seconds = time.perf_counter() - began
            self._until("labkit-ready", PATIENCE)
        except BaseException:
            self.close()
            raise

    def _command(self, qemu: str, kernel: Path, initramfs: Path, devices: bool, disk: Path | None) -> list[str]:
        cpu = "max" if self.emulated else "host"
        if machine_type() == "aarch64":
            machine, console, more = "virt,highmem=off", "ttyAMA0", ""
        else:
            machine, console = "q35,sata=off,smbus=off,vmport=off,hpet=off,i8042=off,graphics=off", "ttyS0"
            more = "clocksource=tsc tsc=reliable no_timer_check" if self.emulated else ""
        words = f"console={console} quiet panic=-1 norandmaps mitigations=off random.trust_cpu=on nowatchdog {more}"
        arguments = [
            qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "labkit-small",
            "-machine", machine, "-accel", self.accelerator, "-cpu", cpu, "-smp", "1", "-m", f"{MEMORY}M",
            "-kernel", str(kernel), "-initrd", str(initramfs), "-serial", "stdio",
        ]  # fmt: skip
        if devices:
            words += " labkit.devices"
            arguments += ["-netdev", "user,id=net,restrict=on,ipv6=off"]
            arguments += ["-device", "virtio-net-pci,netdev=net,romfile="]
        if disk is not None:
            path = str(disk).replace(",", ",,")
            arguments += ["-drive", f"if=none,id=disk,file={path},format=raw,cache=writeback"]
            arguments += ["-device", "virtio-blk-pci,drive=disk"]
        return [*arguments, "-append", words]

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        self._lines.put(None)

    def _until(self, sign: str, seconds: float) -> list[str]:
        deadline, before = time.monotonic() + seconds, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise EngineGone(
                    f"The small virtual machine did not answer within {seconds:.0f} s.",
                    cause="Its processor hangs (a KVM device that fails does that), or this machine is too busy.",
                    next_step="Set LABKIT_ACCELERATOR=tcg and try again.",
                ) from None
            if line is None:
                raise EngineGone(
                    "The small virtual machine ended early.", cause=" ".join(before[-3:]),
                    next_step="Check that this machine has 256 MiB of free memory, then run the cell again.",
                )  # fmt: skip
            if sign in line:
                return [*before, line[line.index(sign) :]]
            before.append(line)

    @property
    def pid(self) -> int:
        """QEMU's process id on the notebook's machine."""
        return self._process.pid

    def run(self, script: str, *, timeout: float = 60.0) -> str:
        """Run a shell script in the machine, as root; returns its output.

        Raises:
            LabError: it ended with another status than 0.
            EngineGone: the machine did not answer in time.
        """
        # One line of at most 4096 bytes is what a serial console takes: longer scripts go in pieces.
        code = base64.b64encode(script.encode()).decode()
        pieces = [code[place : place + 2000] for place in range(0, len(code), 2000)]
        for number, piece in enumerate(pieces):
            self._send(f"echo {piece} {'>' if number == 0 else '>>'} /tmp/script")
            self._until("labkit-end", 30)
        self._send("base64 -d /tmp/script | sh 2>&1")
        *output, end = self._until("labkit-end", timeout)
        text = "\n".join(output)
        if end.split()[1:2] != ["0"]:
            raise LabError(f"A command in the small virtual machine failed: {text[-300:] or 'no reason given'}.")
        return text

    def _send(self, line: str) -> None:
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def memory(self) -> int:
        """Bytes of this machine's memory that the virtual machine takes (its process's own share).

        Raises:
            NotPossibleHere: this system doesn't tell (not Linux).
        """
        try:
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        except OSError as fault:
            raise NotPossibleHere("This system does not tell how much memory a process takes.") from fault
        return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))

    def close(self) -> None:
        """Switch it off: there's nothing in it that must be saved."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def __enter__(self) -> SmallVM:
        return self

    def __exit__(self, *_) -> None:
        self.close()
