"""The models of isolation once they run: processor, system calls, network, disk.

As in :mod:`labkit.experiments.isolation`, with the same programs in a plain process, in a container
and in a small virtual machine.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from ..engine.embedded.small import SmallVM
from ..engine.faults import explained
from ..errors import LabError
from ..paths import cache_dir
from ..units import MIB
from .benchmark import Benchmark, Series, Subject, check_budget, measure
from .context import Context
from .isolation import VM, Progress, bridge, density, memory, start_latency

__all__ = ["BENCHMARKS", "cpu", "disk", "network", "system_calls"]


def _three_places(
    on: Context, name: str, title: str, unit: str, script: str, value: Callable[[float], float], method: str,
    *, n: int, budget: float, progress: Progress | None, plain_script: str | None = None,
) -> Benchmark:  # fmt: skip
    """The same shell script as a plain process, in a container and in a virtual machine, timed outside."""

    def timed(run: Callable[[], object]) -> float:
        began = time.perf_counter()
        run()
        return value(time.perf_counter() - began)

    def plain() -> float:
        return value(on.observer.call("run", script=script, limit=120, timeout=130)["seconds"])

    with contextlib.ExitStack() as stack, explained(on.session.engine.endpoint):
        box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], network_mode="none"))
        vm = stack.enter_context(SmallVM(devices=True, progress=on.progress))
        # The way into a running container and into the machine costs time itself: it is taken off.
        inside = statistics.median(timed(lambda: box.exec_run(["true"])) / value(1.0) for _ in range(5))
        across = statistics.median(timed(lambda: vm.run("true")) / value(1.0) for _ in range(5))

        def container() -> float:
            began = time.perf_counter()
            box.exec_run(["sh", "-c", script])
            return value(max(1e-6, time.perf_counter() - began - inside))

        def machine() -> float:
            began = time.perf_counter()
            vm.run(script, timeout=120)
            return value(max(1e-6, time.perf_counter() - began - across))

        subjects = [
            Subject("plain process", "bare metal", plain, n=n, emulated=on.facts.emulated),
            Subject("container", "container", container, n=n, emulated=on.facts.emulated),
            Subject(VM, "virtual machine", machine, n=n, emulated=vm.emulated),
        ]
        series, seconds, interrupted = measure(subjects, budget, progress=progress)
    return Benchmark(on.facts, name, title, unit, method, series, budget, seconds, interrupted)


def cpu(on: Context, budget: float = 20.0, *, n: int = 5, progress: Progress | None = None) -> Benchmark:
    """The same calculation in each model.

    Method: busybox awk adds the numbers up to 300,000; timed on the notebook's machine from start to
    end, the cost of getting into the container and the machine taken off. Warm, n = 5, in turn.
    """
    script = "awk 'BEGIN { for (i = 0; i < 300000; i++) s += i; print s }'"
    method = "busybox awk adds 300,000 numbers; timed from outside, the way in taken off. Warm, in turn."
    return _three_places(
        on, "cpu", "Time for one calculation", "s", script, lambda s: s, method, n=n, budget=budget, progress=progress
    )


def system_calls(on: Context, budget: float = 20.0, *, n: int = 5, progress: Progress | None = None) -> Benchmark:
    """What one system call costs in each model.

    Method: ``dd`` copies 100,000 single bytes from /dev/zero to /dev/null, two system calls each;
    the time is divided by their number. Timed from outside, the way in taken off. Warm, n = 5.
    """
    count = 100_000
    script = f"dd if=/dev/zero of=/dev/null bs=1 count={count} 2>/dev/null"
    method = f"dd copies {count:,} single bytes: two system calls each. Timed from outside, the way in taken off. Warm, in turn."
    per_call = lambda seconds: seconds / (2 * count) * 1e6  # noqa: E731
    return _three_places(
        on,
        "system-calls",
        "Time per system call",
        "µs",
        script,
        per_call,
        method,
        n=n,
        budget=budget,
        progress=progress,
    )


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
    on: Context, budget: float = 30.0, *, n: int = 3, size_mib: int = 32, progress: Progress | None = None
) -> Benchmark:
    """Writing a file, forced to the disk.

    Method: ``dd`` writes 32 MiB and waits until they are on the disk (fsync). Container: into its
    writable layer. Volume: into a volume, which is a folder of the machine. Virtual machine: to a
    virtio disk that is a file of the notebook's machine, whose QEMU passes the flush on. Timed from
    outside, the way in taken off. Warm, n = 3, in turn.
    """
    write = f"dd if=/dev/zero of=%s bs=1M count={size_mib} conv=fsync 2>/dev/null"
    image = Path(cache_dir("small-vm"), f"disk-{on.session.id}")
    image.write_bytes(b"")
    with contextlib.ExitStack() as stack, explained(on.session.engine.endpoint):
        stack.callback(image.unlink)
        with open(image, "r+b") as handle:
            handle.truncate((size_mib + 1) * MIB)
        volume = on.docker.volumes.create(on.session.name("bench"))
        stack.callback(lambda: volume.remove(force=True))
        options = {"network_mode": "none", "volumes": {volume.name: {"bind": "/volume", "mode": "rw"}}}
        box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], **options))
        vm = stack.enter_context(SmallVM(devices=True, disk=image, progress=on.progress))

        def through(run: Callable[[str], object]) -> Callable[[str], float]:
            def timed(script: str) -> float:
                began = time.perf_counter()
                run(script)
                return time.perf_counter() - began

            way = statistics.median(timed("true") for _ in range(3))
            return lambda script: size_mib / max(1e-6, timed(script) - way)

        in_box = through(lambda script: box.exec_run(["sh", "-c", script]))
        in_vm = through(vm.run)
        subjects = [
            Subject("container, volume", "bare metal", lambda: in_box(write % "/volume/file"), n=n, emulated=on.facts.emulated),
            Subject("container, its own layer", "container", lambda: in_box(write % "/file"), n=n, emulated=on.facts.emulated),
            Subject("virtual machine, virtio disk", "virtual machine", lambda: in_vm(write % "/dev/vda"), n=n, emulated=vm.emulated),
        ]  # fmt: skip
        series, seconds, interrupted = measure(subjects, budget, progress=progress)
    method = f"dd writes {size_mib} MiB and waits for the disk (fsync); timed from outside, the way in taken off. Warm, in turn."
    return Benchmark(
        on.facts, "disk", "Writing to disk", "MiB/s", method, series, budget, seconds, interrupted, less_is_better=False
    )


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
