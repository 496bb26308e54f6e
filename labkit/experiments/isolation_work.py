"""The models of isolation once they run: processor, system calls, network, disk.

As in :mod:`labkit.experiments.isolation`, with the same programs in a plain process, in a container
and in a small virtual machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from docker.models.containers import Container

from ..engine.embedded.small import SmallVM
from ..engine.faults import explained
from ..errors import LabError
from ..paths import cache_dir
from ..units import MIB
from .benchmark import Benchmark, Series, Subject, check_budget, measure
from .context import Context
from .isolation import VM, Progress, bridge, density, memory, start_latency

__all__ = ["BENCHMARKS", "cpu", "disk", "network", "system_calls"]


# Timed where it runs, by the clock of that kernel: getting there costs more than the work itself, and
# varies more. The clock ticks 100 times a second, so the work takes some tenths of one.
_TIMED = "read -r before _ < /proc/uptime; {}; read -r after _ < /proc/uptime; echo seconds $before $after"


def timed(run: Callable[[str], str], script: str) -> float:
    """Seconds that a script took, as the place where it ran tells.

    Args:
        run: runs a script there and returns its output.
        script: one command line of shell.

    Raises:
        LabError: it did not get to its end.
    """
    text = run(_TIMED.format(script))
    words = text.split()[-3:]
    if len(words) != 3 or words[0] != "seconds":
        raise LabError("A measured program did not get to its end.", cause=text.strip()[-200:])
    return max(float(words[2]) - float(words[1]), 0.005)


def _three_places(
    on: Context,
    benchmark: Benchmark,
    script: str,
    count: int,
    value: Callable[[float], float],
    *,
    n: int,
    progress: Progress | None,
) -> Benchmark:
    """The same script as a plain process, in a container and in a virtual machine.

    ``script`` has a ``%d`` for how often; where the processor is emulated that is an eighth of ``count``.
    ``value`` makes the benchmark's unit of the seconds for one.
    """

    def subject(label: str, model: str, run: Callable[[str], str], emulated: bool) -> Subject:
        often = count // 8 if emulated else count
        return Subject(label, model, lambda: value(timed(run, script % often) / often), n=n, emulated=emulated)

    with contextlib.ExitStack() as stack, explained(on.session.engine.endpoint):
        box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], network_mode="none"))
        vm = stack.enter_context(SmallVM(devices=True, progress=on.progress))
        places = [
            subject("plain process", "bare metal", lambda text: _by_observer(on, text), on.facts.emulated),
            subject("container", "container", lambda text: _in(box, text), on.facts.emulated),
            subject(VM, "virtual machine", lambda text: vm.run(text, timeout=120), vm.emulated),
        ]
        series, seconds, interrupted = measure(places, benchmark.budget, progress=progress)
    return dataclasses.replace(benchmark, series=series, seconds=seconds, interrupted=interrupted)


def _by_observer(on: Context, script: str) -> str:
    return on.observer.call("run", timeout=130, script=script, limit=120)["output"]


def _in(box: Container, script: str) -> str:
    return box.exec_run(["sh", "-c", script]).output.decode()


def cpu(on: Context, budget: float = 20.0, *, n: int = 5, progress: Progress | None = None) -> Benchmark:
    """The same calculation in each model.

    Method: busybox awk adds numbers, 800,000 of them (an eighth where the processor is
    emulated); the time is divided by their number. Timed inside, by that kernel's own clock, from the
    start to the end of awk. Warm, n = 5, in turn.
    """
    script = "awk 'BEGIN { for (i = 0; i < %d; i++) s += i }'"
    method = (
        "busybox awk adds 800,000 numbers (an eighth of it where emulated); timed inside, start to end. Warm, in turn."
    )
    empty = Benchmark(on.facts, "cpu", "Time for one addition", "ns", method, [], check_budget(budget), 0.0)
    return _three_places(on, empty, script, 800_000, lambda s: s * 1e9, n=n, progress=progress)


def system_calls(on: Context, budget: float = 20.0, *, n: int = 5, progress: Progress | None = None) -> Benchmark:
    """What one system call costs in each model.

    Method: ``dd`` copies 600,000 single bytes (an eighth where the processor is emulated) from /dev/zero
    to /dev/null, two system calls each; the time is divided by their number. Timed inside, by that
    kernel's own clock, from the start to the end of dd. Warm, n = 5, in turn.
    """
    script = "dd if=/dev/zero of=/dev/null bs=1 count=%d 2>/dev/null"
    method = (
        "dd copies 600,000 single bytes (an eighth of it where emulated), two system calls each; timed inside, "
        "start to end. Warm, in turn."
    )
    empty = Benchmark(on.facts, "system-calls", "Time per system call", "µs", method, [], check_budget(budget), 0.0)
    return _three_places(on, empty, script, 600_000, lambda s: s / 2 * 1e6, n=n, progress=progress)


def _pings(text: str) -> list[float]:
    """Microseconds of each answer in what busybox ping prints."""
    return [
        float(part.split("=")[1]) * 1000
        for line in text.splitlines()
        for part in line.split()
        if part.startswith("time=")
    ]


def network(on: Context, budget: float = 20.0, *, n: int = 20, progress: Progress | None = None) -> Benchmark:
    """A round trip from each model to its nearest neighbour.

    Method: busybox ping, 56 bytes. Plain process: over the loopback interface. Container: to another
    container, across the bridge and two virtual cables. Virtual machine: through its virtual network
    card to QEMU's gateway. One ping before, uncounted; n = 20 each, 50 ms apart.
    """
    check_budget(budget)
    n = min(n, max(1, int(float(budget) / 3 / 0.06)))
    began, rows = time.monotonic(), []

    def add(label: str, model: str, text: str, emulated: bool) -> None:
        values = _pings(text)[1:]
        if not values:
            raise LabError(f"No answer to ping ({label}).", cause=text.strip()[-200:])
        rows.append(Series(label, model, values, n, emulated))
        if progress:
            progress(len(rows) / 3, label)

    ping = f"ping -c {n + 1} -i 0.05"
    add(
        "plain process, loopback",
        "bare metal",
        on.workshop.shell(f"ip link set lo up; {ping} 127.0.0.1"),
        on.facts.emulated,
    )
    with explained(on.session.engine.endpoint):
        with bridge(on) as net:
            with on.container(on.image(), ["sleep", "600"], network=net) as left:
                with on.container(on.image(), ["sleep", "600"], network=net) as right:
                    right.reload()
                    address = right.attrs["NetworkSettings"]["Networks"][net]["IPAddress"]
                    text = left.exec_run(["sh", "-c", f"{ping} {address}"]).output.decode()
            add("container to container", "container", text, on.facts.emulated)
    with SmallVM(devices=True, progress=on.progress) as vm:
        add("virtual machine to its gateway", "virtual machine", vm.run(f"{ping} 10.0.2.2"), vm.emulated)
    method = "busybox ping, 56 bytes, 50 ms apart, the first not counted: loopback; across the engine's bridge; through a virtual card."
    return Benchmark(on.facts, "network", "Round trip", "µs", method, rows, budget, time.monotonic() - began)


def disk(
    on: Context, budget: float = 30.0, *, n: int = 3, size_mib: int = 96, progress: Progress | None = None
) -> Benchmark:
    """Writing a file, forced to the disk.

    Method: ``dd`` writes 96 MiB and waits until they are on the disk (fsync). Container: into its
    writable layer. Volume: into a volume, which is a folder of the machine. Virtual machine: to a
    virtio disk that is a file of the notebook's machine, whose QEMU passes the flush on. Timed inside,
    by that kernel's own clock, from the start to the end of dd. Warm, n = 3, in turn.
    """
    write = f"dd if=/dev/zero of=%s bs=1M count={size_mib} conv=fsync 2>/dev/null"
    image = Path(cache_dir("small-vm"), f"disk-{on.session.id}")
    with contextlib.ExitStack() as stack, explained(on.session.engine.endpoint):
        stack.callback(lambda: image.unlink(missing_ok=True))
        with open(image, "wb") as handle:
            handle.truncate((size_mib + 1) * MIB)
        volume = on.docker.volumes.create(on.session.name("bench"))
        stack.callback(lambda: volume.remove(force=True))
        options = {"network_mode": "none", "volumes": {volume.name: {"bind": "/volume", "mode": "rw"}}}
        box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], **options))
        vm = stack.enter_context(SmallVM(devices=True, disk=image, progress=on.progress))

        def subject(label: str, model: str, run: Callable[[str], str], place: str, emulated: bool) -> Subject:
            return Subject(label, model, lambda: size_mib / timed(run, write % place), n=n, emulated=emulated)

        here = on.facts.emulated
        subjects = [
            subject("volume", "bare metal", lambda text: _in(box, text), "/volume/file", here),
            subject("container's own layer", "container", lambda text: _in(box, text), "/file", here),
            subject(
                "virtual machine", "virtual machine", lambda text: vm.run(text, timeout=120), "/dev/vda", vm.emulated
            ),
        ]
        series, seconds, interrupted = measure(subjects, budget, progress=progress)
    method = f"dd writes {size_mib} MiB and waits for the disk (fsync); timed inside, start to end. Warm, in turn."
    return Benchmark(
        on.facts, "disk", "Writing to disk", "MiB/s", method, series, budget, seconds, interrupted, less_is_better=False
    )  # fmt: skip


#: For ``labkit bench NAME``: each takes (on, budget) and returns a :class:`Benchmark`.
BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "start-latency": start_latency,
    "memory": memory,
    "density": density,
    "cpu": cpu,
    "system-calls": system_calls,
    "network": network,
    "disk": disk,
}
