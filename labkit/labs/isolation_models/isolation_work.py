"""The models of isolation once they run: processor, system calls, network (the disk: isolation_disk).

As in :mod:`labkit.labs.isolation_models.isolation`, with the same programs in a plain process, in a container
and in a small virtual machine.
"""

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from docker.models.containers import Container

from ...course.benchmark import Benchmark, Series, Subject, check_budget
from ...course.context import Context
from ...engine.client import address_in
from ...engine.embedded.small import accelerator, borrowed
from ...errors import LabError
from .isolation import VM, bridge

# Timed where it runs, by the clock of that kernel in microseconds (gettimeofday(2)): getting there costs more than
# the work itself, and varies more. busybox's ts is what reads it; what its own start takes is taken off.
_TIMED = "tick() {{ echo | ts 'clock %.s'; }}; tick; tick; {}; tick"


def timed(run: Callable[[str], str], script: str) -> float:
    """Seconds that a line of shell took, as the place where ``run`` runs it tells.

    Raises:
        LabError: it did not get to its end, or ended sooner than the clock can be read.
    """
    text = run(_TIMED.format(script))
    ticks = [float(found) for found in re.findall(r"^clock ([\d.]+)", text, re.M)]
    if len(ticks) != 3 or ticks[2] - ticks[1] <= ticks[1] - ticks[0]:
        raise LabError("A measured program did not get to its end.", cause=text.strip()[-200:])
    return ticks[2] - ticks[1] - (ticks[1] - ticks[0])


@contextlib.contextmanager
def _three_places(
    on: Context, script: str, count: int, value: Callable[[float], float], n: int, **more: dict[str, Any]
) -> Iterator[list[Subject]]:
    """The same script as a plain process, in a container and in a virtual machine, for the length of a ``with`` block.

    ``script`` has a ``%d`` for how often; where the processor is emulated that is an eighth of ``count``.
    ``value`` makes the benchmark's unit of the seconds for one. ``more`` are other containers, their
    options by label.
    """

    def subject(label: str, model: str, run: Callable[[str], str], emulated: bool) -> Subject:
        often = count // 8 if emulated else count
        return Subject(label, model, lambda: value(timed(run, script % often) / often), n=n, emulated=emulated)

    with contextlib.ExitStack() as stack:
        vm = stack.enter_context(borrowed())
        places = [subject("plain process", "bare metal", functools.partial(plain, on), on.facts.emulated)]
        for label, options in {"container": {}, **more}.items():
            box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], network_mode="none", **options))
            places.append(subject(label, "container", functools.partial(shell_in, box), on.facts.emulated))
        yield [*places, subject(VM, "virtual machine", functools.partial(vm.run, timeout=120), vm.emulated)]


def plain(on: Context, script: str, **more: Any) -> str:
    """Run a shell script as a plain process of the machine, by the busybox of containers; its output, errors mixed in."""
    return str(on.observer.outside("run", "busybox", "sh", "-c", script, limit=120, **more)["output"])


def shell_in(box: Container, script: str) -> str:
    """Run a shell script in a container that runs; its output, errors mixed in."""
    return str(box.exec_run(["sh", "-c", script]).output.decode())


def cpu(on: Context, budget: float = 20.0, *, n: int = 10) -> Benchmark:
    """The same calculation in each model.

    Method: busybox awk goes 800,000 times round a loop that counts and adds (an eighth where the processor is
    emulated); the time is divided by their number. It is what an interpreter takes, hundreds of instructions,
    not one addition. Timed inside, by that kernel's own clock, from the start to the end of awk. Warm, n = 10
    (fewer where emulated), in turn.
    """
    script = "awk 'BEGIN { for (i = 0; i < %d; i++) s += i }'"
    method = (
        "busybox awk goes 800,000 times round a loop that counts and adds (an eighth where emulated); timed inside, "
        "start to end, in microseconds. Warm, in turn."
    )
    check_budget(budget)
    with _three_places(on, script, 800_000, lambda s: s * 1e9, n) as places:
        return Benchmark.of(on.facts, "cpu", "Time for one turn of a loop", "ns", method, places, budget)


def system_calls(on: Context, budget: float = 20.0, *, n: int = 10) -> Benchmark:
    """What one system call costs in each model.

    Method: ``dd`` copies 400,000 single bytes (an eighth where the processor is emulated) from /dev/zero
    to /dev/null, two system calls each; the time is divided by their number. Timed inside, by that
    kernel's own clock, from the start to the end of dd. One container has the engine's usual seccomp
    filter, another none: the difference is what the filter costs. Warm, n = 10 (fewer where emulated), in turn.
    """
    script = "dd if=/dev/zero of=/dev/null bs=1 count=%d 2>/dev/null"
    method = (
        "dd copies 400,000 single bytes (an eighth of it where emulated), two system calls each; timed inside, "
        "start to end; one container without its seccomp filter. Warm, in turn."
    )
    check_budget(budget)
    more = {"container, no filter": {"security_opt": ["seccomp=unconfined"]}}
    with _three_places(on, script, 400_000, lambda s: s / 2 * 1e6, n, **more) as places:
        return Benchmark.of(on.facts, "system-calls", "Time per system call", "µs", method, places, budget)


def network(on: Context, budget: float = 20.0, *, n: int = 50) -> Benchmark:
    """A round trip from each model to its nearest neighbour.

    Method: busybox ping, 56 bytes, each as soon as the last one is answered: with pauses between them it would
    be measured how a processor wakes up. Timed by ping itself, in microseconds, from sending to receiving. Plain
    process: over the machine's loopback interface. Container: to another container, across the bridge and two
    virtual cables. Virtual machine: through its virtual network card to QEMU's gateway. One ping before,
    uncounted; n = 50 each, one place after the other.
    """
    check_budget(budget)
    began, interrupted = time.monotonic(), False
    rows: list[Series] = []
    ping = f"ping -A -c {n + 1}"

    def loopback() -> str:
        return plain(on, f"{ping} 127.0.0.1", user=0)

    def across() -> str:
        image, sleep = on.image(), ["sleep", "600"]
        with bridge(on) as net:
            with on.container(image, sleep, network=net) as left, on.container(image, sleep, network=net) as right:
                return shell_in(left, f"{ping} {address_in(right, net)}")

    def machine() -> str:
        with borrowed() as vm:
            return vm.run(f"{ping} 10.0.2.2")

    here, there = on.facts.emulated, accelerator() == "tcg"
    places = [("plain process, loopback", "bare metal", loopback, here), ("container to container", "container", across, here),
              ("virtual machine to its gateway", "virtual machine", machine, there)]  # fmt: skip
    try:
        for label, model, pinged, emulated in places:
            on.say(label, len(rows) / 3)
            text = pinged()
            values = [float(found) * 1000 for found in re.findall(r"time=([\d.]+)", text)][1:]
            if not values:
                raise LabError(f"No answer to ping ({label}).", cause=text.strip()[-200:])
            rows.append(Series(label, model, values, n, emulated))
    except KeyboardInterrupt:
        if not rows:
            raise
        interrupted = True
    method = (
        "busybox ping, 56 bytes, each when the last one is answered, the first not counted: loopback; across the engine's "
        "bridge; through a virtual card."
    )
    note = "All within one machine: published figures, between two machines, have no place on this axis."
    return Benchmark(
        on.facts, "network", "Round trip", "µs", method, rows, budget, time.monotonic() - began, interrupted, note=note
    )
