"""The models of isolation and the disk: writing a file, and reading from random places.

As in :mod:`labkit.labs.isolation_models.isolation_work`: a folder of the machine (a volume), a container's own
layer, and a small virtual machine whose disk is a file of the notebook's machine.
"""

import contextlib
import functools
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ... import debian
from ...course.benchmark import Benchmark, Subject, check_budget
from ...course.context import Context
from ...engine.embedded.initramfs import cpio
from ...engine.embedded.small import SmallVM
from ...errors import LabError
from ...observe.workshop import tools
from ...paths import cache_dir
from ...units import MIB
from .isolation import VM, density, memory, start_latency
from .isolation_work import cpu, network, shell_in, system_calls, timed

#: The reader and the C library that it is linked with.
IOPING = {
    "ioping": ("usr/bin/ioping",),
    "libc6": ("usr/lib/*/ld-linux*.so.*", "usr/lib/*/libc.so.6", "usr/lib/*/libm.so.6"),
}
# By its own loader: neither the busybox image nor the small machine has a C library.
_READ = (
    "L=$(echo /usr/lib/*/ld-linux*); $L --library-path ${L%%/*} /usr/bin/ioping"
    " -D -B -q -i 0 -s 4k -S %dm -c %d %s"
)  # fmt: skip


@contextlib.contextmanager
def _places(on: Context, mib: int, **machine: Any) -> Iterator[dict[str, tuple[str, Callable[[str], str], str, bool]]]:
    """Model, runner of a script, path and whether emulated, by label; for the length of a ``with`` block."""
    image = Path(cache_dir("small-vm"), f"disk-{on.session.id}")
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: image.unlink(missing_ok=True))
        with open(image, "wb") as handle:
            # Really written: places of a file that were only reserved are read without a disk.
            for _ in range(mib):
                handle.write(bytes(MIB))
            os.fsync(handle.fileno())
        volume = on.docker.volumes.create(on.session.name("bench"))
        stack.callback(lambda: volume.remove(force=True))
        volumes = {volume.name: {"bind": "/volume", "mode": "rw"}}
        box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], network_mode="none", volumes=volumes))
        if machine:
            box.put_archive("/", tools(on.facts.architecture, IOPING, name="ioping"))
        vm = stack.enter_context(SmallVM(devices=True, disk=image, **machine))
        inside = functools.partial(shell_in, box)
        yield {
            "volume": ("bare metal", inside, "/volume/file", on.facts.emulated),
            "container's own layer": ("container", inside, "/file", on.facts.emulated),
            VM: ("virtual machine", functools.partial(vm.run, timeout=120), "/dev/vda", vm.emulated),
        }


def disk(on: Context, budget: float = 60.0, *, n: int = 10, size_mib: int = 96) -> Benchmark:
    """Writing a file, forced to the disk.

    Method: ``dd`` writes 96 MiB and waits until they are on the disk (fsync). Container: into its
    writable layer. Volume: from the same container into a volume, which is a folder of the machine. Virtual machine: to a
    virtio disk that is a file of the notebook's machine, whose QEMU passes the flush on. Timed inside,
    by that kernel's own clock, from the start to the end of dd. Warm, n = 10 (fewer where emulated), in turn.
    """
    check_budget(budget)
    write = f"dd if=/dev/zero of=%s bs=1M count={size_mib} conv=fsync 2>/dev/null"
    method = f"dd writes {size_mib} MiB and waits for the disk (fsync); timed inside, start to end. Warm, in turn."

    def written(run: Callable[[str], str], path: str) -> float:
        return size_mib / timed(run, write % path)

    with _places(on, size_mib) as places:
        subjects = [
            Subject(label, model, functools.partial(written, run, path), n=n, emulated=emulated)
            for label, (model, run, path, emulated) in places.items()
        ]
        return Benchmark.of(
            on.facts, "disk", "Writing to disk", "MiB/s", method, subjects, budget, less_is_better=False
        )


def random_read(on: Context, budget: float = 30.0, *, n: int = 10, size_mib: int = 48) -> Benchmark:
    """Reading 4 KiB from random places of a file.

    Method: ``ioping`` reads 400 times (emulated: 100), one after the other, past the page cache (O_DIRECT), from
    48 MiB that were written before; reads a second, timed inside by ioping itself. Volume, container's layer and
    virtual machine as in :func:`disk`; QEMU reads past the notebook's page cache, too, where the file system
    allows it. Warm, n = 10 (fewer where emulated), in turn.

    Raises:
        LabError: the distribution has no ioping, or a file system doesn't read past its cache.
    """
    check_budget(budget)
    own = tools(debian.architecture(), IOPING, name="ioping")
    direct = _reads_directly(cache_dir("small-vm"))
    with _places(on, size_mib, extra=_archive(own), direct=direct) as places:
        for _, run, path, _ in places.values():
            if not path.startswith("/dev"):
                run(f"dd if=/dev/zero of={path} bs=1M count={size_mib} conv=fsync 2>/dev/null")
        subjects = [
            Subject(label, model, functools.partial(_reads, run, _READ % (size_mib, 100 if emulated else 400, path)), n=n,
                    emulated=emulated)
            for label, (model, run, path, emulated) in places.items()
        ]  # fmt: skip
        method = "ioping reads 4 KiB at random places, one after the other, past the page cache; timed inside. Warm, in turn."
        note = "Published: 128 reads at a time, from flash disks; ours: one at a time."
        note += "" if direct else " The virtual machine's file was read through the notebook's page cache."
        return Benchmark.of(on.facts, "random-read", "Random reads", "IOPS", method, subjects, budget,
                            less_is_better=False, note=note)  # fmt: skip


def _reads(run: Callable[[str], str], script: str) -> float:
    """Reads a second, from the raw line that ioping prints: count, nanoseconds, reads a second, …"""
    words = run(script).split()
    if len(words) < 3 or not words[0].isdigit() or not words[2].isdigit():
        raise LabError("Reading from random places failed.", cause=" ".join(words)[-300:])
    return float(words[2])


def _reads_directly(folder: Path) -> bool:
    """Whether files there can be read past this machine's page cache; not on a tmpfs, say."""
    probe = folder / f"probe-{os.getpid()}"
    try:
        probe.touch()
        os.close(os.open(probe, os.O_RDONLY | getattr(os, "O_DIRECT", 0)))
        return hasattr(os, "O_DIRECT")
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _archive(tar: bytes) -> bytes:
    """The same files as a cpio archive, which a kernel unpacks at its start."""
    entries = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        for entry in found:
            content = found.extractfile(entry)  # None for a folder
            if content or entry.isdir():
                entries.append((entry.name, 0o100755 if content else 0o040755, content.read() if content else b""))
    return cpio(entries)


#: For ``labkit bench NAME``: each takes (on, budget) and returns a :class:`Benchmark`.
BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "start-latency": start_latency,
    "memory": memory,
    "density": density,
    "cpu": cpu,
    "system-calls": system_calls,
    "network": network,
    "disk": disk,
    "random-read": random_read,
}
