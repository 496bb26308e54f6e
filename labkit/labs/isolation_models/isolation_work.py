"""The models of isolation once they run: processor, system calls, network (the disk: isolation_disk).

As in :mod:`labkit.labs.isolation_models.isolation`, with the same programs in a plain process, in a container
and in a small virtual machine.
"""

from __future__ import annotations

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
from ...engine.faults import explained
from ...errors import LabError
from .isolation import VM, bridge

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

    with contextlib.ExitStack() as stack, explained(on.session.engine.endpoint):
        vm = stack.enter_context(borrowed(progress=on.progress))
        places = [subject("plain process", "bare metal", functools.partial(_by_observer, on), on.facts.emulated)]
        for label, options in {"container": {}, **more}.items():
            box = stack.enter_context(on.container(on.image(), ["sleep", "3600"], network_mode="none", **options))
            places.append(subject(label, "container", functools.partial(shell_in, box), on.facts.emulated))
        yield [*places, subject(VM, "virtual machine", functools.partial(vm.run, timeout=120), vm.emulated)]


def _by_observer(on: Context, script: str) -> str:
    return str(on.observer.call("run", timeout=130, script=script, limit=120)["output"])


def shell_in(box: Container, script: str) -> str:
    """Run a shell script in a container that runs; its output, errors mixed in."""
    return str(box.exec_run(["sh", "-c", script]).output.decode())


def cpu(on: Context, budget: float = 20.0, *, n: int = 5) -> Benchmark:
    """The same calculation in each model.

    Method: busybox awk adds numbers, 800,000 of them (an eighth where the processor is
    emulated); the time is divided by their number. Timed inside, by that kernel's own clock, from the
    start to the end of awk. Warm, n = 5, in turn.
    """
    script = "awk 'BEGIN { for (i = 0; i < %d; i++) s += i }'"
    method = (
        "busybox awk adds 800,000 numbers (an eighth of it where emulated); timed inside, start to end. Warm, in turn."
    )
    check_budget(budget)
    with _three_places(on, script, 800_000, lambda s: s * 1e9, n) as places:
        return Benchmark.of(on.facts, "cpu", "Time for one addition", "ns", method, places, budget)


def system_calls(on: Context, budget: float = 20.0, *, n: int = 5) -> Benchmark:
    """What one system call costs in each model.

    Method: ``dd`` copies 400,000 single bytes (an eighth where the processor is emulated) from /dev/zero
    to /dev/null, two system calls each; the time is divided by their number. Timed inside, by that
    kernel's own clock, from the start to the end of dd. One container has the engine's usual seccomp
    filter, another none: the difference is what the filter costs. Warm, n = 5, in turn.
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


def network(on: Context, budget: float = 20.0, *, n: int = 20) -> Benchmark:
    """A round trip from each model to its nearest neighbour.

    Method: busybox ping, 56 bytes. Plain process: over the loopback interface. Container: to another
    container, across the bridge and two virtual cables. Virtual machine: through its virtual network
    card to QEMU's gateway. One ping before, uncounted; n = 20 each, 50 ms apart.
    """
    check_budget(budget)
    n = min(n, max(1, int(float(budget) / 3 / 0.06)))
    began, interrupted = time.monotonic(), False
    rows: list[Series] = []
    ping = f"ping -c {n + 1} -i 0.05"

    def loopback() -> str:
        return on.workshop.shell(f"ip link set lo up; {ping} 127.0.0.1")

    def across() -> str:
        image, sleep = on.image(), ["sleep", "600"]
        with explained(on.session.engine.endpoint), bridge(on) as net:
            with on.container(image, sleep, network=net) as left, on.container(image, sleep, network=net) as right:
                return shell_in(left, f"{ping} {address_in(right, net)}")

    def machine() -> str:
        with borrowed(progress=on.progress) as vm:
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
    method = "busybox ping, 56 bytes, 50 ms apart, the first not counted: loopback; across the engine's bridge; through a virtual card."
    return Benchmark(
        on.facts, "network", "Round trip", "µs", method, rows, budget, time.monotonic() - began, interrupted
    )
