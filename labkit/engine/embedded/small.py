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
from collections.abc import Iterator
from pathlib import Path

from ... import debian
from ...errors import EngineGone, LabError
from ...files import kept_from_forks, write_whole
from ...paths import cache_dir, text_beside
from ...saying import say
from . import accel, packages, rootfs
from .host import MIB, find_qemu, machine_type
from .initramfs import cpio
from .qemu import Shape, bare_command, escape

#: Memory of the machine in MiB.
MEMORY = 96

#: Seconds within which a machine must have reached its first program. A processor that hangs was found out before
#: (see :func:`accelerator`); this is for machines that are busy beyond measure: 60 were too few with a load of 32.
PATIENCE = 180.0

#: The kernel's command line: no security modules, no self-tests of its ciphers, no audit.
KERNEL_ARGUMENTS = "quiet panic=-1 norandmaps random.trust_cpu=on nowatchdog lsm=capability cryptomgr.notests audit=0"

# Ends the machine when standard input closes, which the kernel does however the notebook ends.
_WATCH = 'read -r _; kill -KILL "$0"'

# Load order: what a module needs stands before it.
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
            "failover", "net_failover", "virtio_net", "virtio_blk")  # fmt: skip

_INIT = text_beside(__file__, "small-init.sh")


def mitigations(cmdline: Path = Path("/proc/cmdline")) -> list[str]:
    """What this machine's kernel was told of its mitigations: the small one is told the same, or nothing as well."""
    told = cmdline.read_text(encoding="utf-8").split() if cmdline.exists() else []
    return [word for word in told if word.startswith("mitigations=")]


def accelerator() -> str:
    """``kvm`` or ``hvf`` where a small machine was seen to work with it, ``tcg`` (emulation) otherwise.

    Tried once against a time limit and remembered, as for the embedded engine. A device node alone
    proves nothing: a machine can hang on it.
    """
    if not accel.candidates():
        return os.environ.get("LABKIT_ACCELERATOR") or "tcg"
    try:
        found = find_qemu()
    except LabError:
        return os.environ.get("LABKIT_ACCELERATOR") or "tcg"
    return accel.choose(found, *files())


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


def files() -> tuple[Path, Path]:
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
    say("Making a small virtual machine from Debian packages")
    kernel_package = packages.KERNEL.format(arch=debian.architecture())
    debs = debian.fetch([kernel_package, "busybox-static"], skip=packages.UNUSED)
    root = folder / f"root-{os.getpid()}"
    try:
        debian.unpack(debs, root)
        busybox = next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists())
        write_whole(initramfs, _initramfs(root, busybox.read_bytes()))
        write_whole(kernel, rootfs.kernel(root).read_bytes())
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return kernel, initramfs


def _with(initramfs: Path, extra: bytes) -> Path:
    """The initramfs with another archive behind it: the kernel unpacks both, one over the other."""
    if not extra:
        return initramfs
    target = initramfs.with_name(f"{initramfs.name}-{hashlib.sha256(extra).hexdigest()[:12]}")
    if not target.exists():
        write_whole(target, initramfs.read_bytes() + extra)
    return target


class SmallVM:
    """One running small machine; use it as a context manager.

    Args:
        devices: load drivers for a network card and, where ``disk`` is given, a disk.
        disk: a file of this machine that is the guest's ``/dev/vda``.
        direct: past this machine's page cache (what stands in it can't be what a disk is measured by).
        extra: more files for the guest, as a cpio archive that is unpacked over the first one.

    ``boot_seconds`` is the time from starting QEMU to the first line of the guest's first program.

    Raises:
        NotPossibleHere: no QEMU here.
        EngineGone: the machine ended or hung before its first program.
    """

    def __init__(self, *, devices: bool = False, disk: Path | None = None, direct: bool = False, extra: bytes = b""):
        qemu = find_qemu().path
        kernel, initramfs = files()
        initramfs = _with(initramfs, extra)
        self.accelerator = accelerator()
        self.emulated = self.accelerator == "tcg"
        #: False while it runs a command, and for good where that was interrupted.
        self.settled = True
        self._lines: queue.Queue[str | None] = queue.Queue()
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command(qemu, kernel, initramfs, devices, disk, "none" if direct else "writeback"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        kept_from_forks(self._watcher.stdin)
        self._reader = threading.Thread(target=self._read, daemon=True, name="labkit-small-vm")
        self._reader.start()
        try:
            self._until("labkit: initramfs", PATIENCE)
            self.boot_seconds = time.perf_counter() - began
            self._until("labkit-ready", PATIENCE)
        except BaseException:
            self.close()
            raise

    def _command(
        self, qemu: str, kernel: Path, initramfs: Path, devices: bool, disk: Path | None, cache: str
    ) -> list[str]:
        shape = Shape(MEMORY * MIB, 1, self.accelerator)
        words = " ".join([KERNEL_ARGUMENTS, *mitigations(), *(["labkit.devices"] if devices else [])])
        arguments = bare_command(qemu, shape, kernel, initramfs, words)
        if devices:
            arguments += ["-netdev", "user,id=net,restrict=on,ipv6=off"]
            arguments += ["-device", "virtio-net-pci,netdev=net,romfile="]
        if disk is not None:
            arguments += ["-drive", f"if=none,id=disk,file={escape(disk)},format=raw,cache={cache}"]
            arguments += ["-device", "virtio-blk-pci,drive=disk"]
        return arguments

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        self._lines.put(None)

    def _until(self, sign: str, seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        before: list[str] = []
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
                self._lines.put(None)  # for whoever asks once more
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

    def runs(self) -> bool:
        """Whether it is still there: a process can be asked for only once its last thread has ended."""
        return self._process.poll() is None and self._reader.is_alive()

    def run(self, script: str, *, timeout: float = 60.0) -> str:
        """Run a shell script in the machine, as root; returns its output.

        Raises:
            LabError: it ended with another status than 0.
            EngineGone: the machine did not answer in time.
        """
        # One line of at most 4096 bytes is what a serial console takes: longer scripts go in pieces.
        self.settled = False
        code = base64.b64encode(script.encode()).decode()
        pieces = [code[place : place + 2000] for place in range(0, len(code), 2000)]
        for number, piece in enumerate(pieces):
            self._send(f"echo {piece} {'>' if number == 0 else '>>'} /tmp/script")
            self._until("labkit-end", 30)
        self._send("base64 -d /tmp/script | sh 2>&1")
        *output, end = self._until("labkit-end", timeout)
        self.settled = True
        text = "\n".join(output)
        if end.split()[1:2] != ["0"]:
            raise LabError(f"A command in the small virtual machine failed: {text[-300:] or 'no reason given'}.")
        return text

    def _send(self, line: str) -> None:
        stdin = self._process.stdin
        with contextlib.suppress(OSError):  # what has ended says so when it is asked for its answer
            if stdin:
                stdin.write(line.encode() + b"\n")
                stdin.flush()

    def close(self) -> None:
        """Switch it off: there's nothing in it that must be saved."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._watcher.kill()
        self._watcher.wait()
        for end in (self._process.stdin, self._process.stdout, self._watcher.stdin):
            with contextlib.suppress(OSError):  # words that it did not hear any more
                if end:
                    end.close()

    def __enter__(self) -> SmallVM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: Seconds that a machine nobody uses is kept for the next experiment.
KEPT = 60.0

_idle: list[tuple[SmallVM, threading.Timer]] = []
_keeping = threading.Lock()


@contextlib.contextmanager
def borrowed() -> Iterator[SmallVM]:
    """A machine with its network card, for the length of a ``with`` block; kept a minute for the next one.

    What was done in it before is still there: for whoever asks what it sees or how fast it is, not for
    whoever measures its start or its memory.

    Raises:
        NotPossibleHere, EngineGone: as for :class:`SmallVM`.
    """
    machine = _waiting() or SmallVM(devices=True)
    try:
        yield machine
    except BaseException:
        machine.close()
        raise
    if not machine.settled:  # an experiment kept what it had when it was interrupted
        machine.close()
        return
    timer = threading.Timer(KEPT, _drop, [machine])
    timer.daemon = True
    with _keeping:
        _idle.append((machine, timer))
    timer.start()


def _waiting() -> SmallVM | None:
    """A machine that was kept and still runs: one may have ended while nobody looked."""
    while True:
        with _keeping:
            if not _idle:
                return None
            machine, timer = _idle.pop()
        timer.cancel()
        if machine.runs():
            return machine
        machine.close()


def _drop(machine: SmallVM) -> None:
    with _keeping:
        mine = [entry for entry in _idle if entry[0] is machine]
        for entry in mine:
            _idle.remove(entry)
    for _ in mine:
        machine.close()
