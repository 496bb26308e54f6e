"""The models of isolation, measured side by side: start, memory, density (what they do once they run: isolation_work).

A *plain process* runs on the engine's machine, in that machine's own namespaces and control group, without a
filter (:meth:`labkit.observe.Observer.outside`). *runc alone* is started by the workshop, *docker run* by the
engine, and the *virtual machine* by QEMU on the notebook's machine. All run the same static busybox. Where QEMU has no
usable hardware support it emulates the processor, and every number of the virtual machine is marked as emulated.
"""

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
from docker.models.containers import Container

from ...course.benchmark import Benchmark, Subject
from ...course.context import Context
from ...engine.client import remove_container
from ...engine.embedded.small import SmallVM, accelerator
from ...errors import BadInput, LabError
from ...paths import text_beside
from ...units import MIB, show_size, size

PLAIN, RUNC, DOCKER, VM = "plain process", "runc alone", "docker run", "virtual machine"

_numbers = itertools.count(1)

# A bundle as the OCI runtime specification has it: a folder with rootfs/ and config.json. The group
# lies below the workshop's own, so that it goes with it.
_BUNDLE = text_beside(__file__, "bundle.sh")


def bundle(on: Context, command: Sequence[str] = ("/bin/busybox", "true")) -> None:
    """Make a bundle in the workshop that runs a command, ready for ``runc run --bundle /bundle``."""
    on.workshop.shell(_BUNDLE, ARGUMENTS=json.dumps(list(command)))


def docker_run(on: Context, **network: str) -> float:
    """Seconds from asking the engine to run ``true`` until its end is known; the removal is not timed."""
    began = time.perf_counter()
    container = on.docker.containers.create(on.image(), ["true"], **network, **on.facts.stock)
    try:
        container.start()
        container.wait(timeout=60)
        return time.perf_counter() - began
    finally:
        remove_container(container)


@contextlib.contextmanager
def bridge(on: Context) -> Iterator[str]:
    """A bridge network for the length of a ``with`` block."""
    name = on.session.name("bench")
    try:
        yield on.network(name)
    finally:
        on.drop_network(name)


def _vm_once(on: Context) -> float:
    with SmallVM() as vm:
        return vm.boot_seconds


def start_latency(on: Context, budget: float = 30.0, *, n: int = 10) -> Benchmark:
    """How long it takes to start something that ends at once.

    Method: timed is from asking until the end of ``true`` is known. Plain process: posix_spawn and
    wait, by a plain process. runc alone: ``runc run`` of a prepared bundle with namespaces and a control
    group, no network set up. docker run: create, start and wait over the API, on a bridge network of the
    lab's own; removal is not timed. Virtual machine: from starting QEMU to the first line of the guest's first
    program, firmware and kernel included. Warm: one run of each before, uncounted. n = 10 (fewer where
    emulated), in turn.
    """
    on.image()
    bundle(on)
    emulated = on.facts.emulated
    with bridge(on) as network:
        subjects = [
            Subject(PLAIN, "bare metal", lambda: float(on.observer.outside("spawn", "busybox", "true", count=1)[0]), n=n,
                    emulated=emulated),
            Subject(RUNC, "runc", lambda: spawned(on, f"/usr/bin/runc run --bundle /bundle start-{next(_numbers)}"), n=n,
                    emulated=emulated),
            Subject(DOCKER, "container", lambda: docker_run(on, network=network), n=n, emulated=emulated),
            Subject(VM, "virtual machine", lambda: _vm_once(on), n=n, emulated=accelerator() == "tcg"),
        ]  # fmt: skip
        method = (
            "From asking until the end of `true` is known; docker run over the API on a bridge network, without the "
            "removal; VM from starting QEMU to its first program's first line. Warm, in turn."
        )
        # It boots beside the engine's machine, not in it: where that is emulated, docker run may well take longer.
        note = "The virtual machine runs beside the engine's machine, which is itself emulated." if emulated else ""
        return Benchmark.of(on.facts, "start-latency", "Time to start", "s", method, subjects, budget, note=note,
                            clear_order=True, apart=(VM,))  # fmt: skip


def spawned(on: Context, command: str, timeout: float = 60) -> float:
    """Seconds that a program took in the workshop, from asking for it to its end."""
    return float(on.workshop.call("spawn", timeout=timeout, command=command.split())[0])


#: How many instances run side by side while their memory is read.
_BATCH = {PLAIN: 200, DOCKER: 4, VM: 1}

#: Readings that may be spoilt by others in a row: in a class, or with labs side by side, memory comes and goes.
_PATIENCE = 25


def memory(on: Context, budget: float = 60.0, *, n: int = 10) -> Benchmark:
    """How much memory one idle instance takes, of all that its machine has.

    Method: the difference of ``MemAvailable`` (proc_meminfo(5)), the kernel's own estimate of what can still be
    had, from before a batch is started until half a second after, divided by the batch: so the kernel's own
    share counts, the engine's and the shim's too. 200 plain processes, 4 containers, one virtual machine; each
    instance sleeps. Processes and containers are weighed on the engine's machine, virtual machines, guests of
    96 MiB after their boot, on the notebook's. Fresh batches, n = 10 (fewer where emulated), in turn. A reading
    that is not above zero, because others gave memory back meanwhile, is taken again.
    """

    def processes() -> float:
        try:
            return _taken(
                PLAIN, there, lambda: on.observer.outside("crowd", "busybox", "sleep", "600", count=_BATCH[PLAIN])
            )
        finally:
            on.observer.outside("crowd", count=0)

    def containers() -> float:
        with contextlib.ExitStack() as stack:
            return _taken(DOCKER, there, lambda: [stack.enter_context(_sleeper(on)) for _ in range(_BATCH[DOCKER])])

    def machine() -> float:
        with contextlib.ExitStack() as stack:
            start = SmallVM
            return _taken(VM, here, lambda: stack.enter_context(start()))

    def there() -> int:
        return on.observer.machine()["available"]

    def here() -> int:
        return int(psutil.virtual_memory().available)

    emulated = on.facts.emulated
    subjects = [
        Subject(PLAIN, "bare metal", _above_zero(processes), n, emulated, warm=False),
        Subject(DOCKER, "container", _above_zero(containers), n, emulated, warm=False),
        Subject(VM, "virtual machine", _above_zero(machine), n, accelerator() == "tcg", warm=False),
    ]
    method = (
        "Difference of MemAvailable, before and half a second after a batch of idle instances is started, divided by "
        f"their number ({', '.join(f'{label}: {count}' for label, count in _BATCH.items())}). Fresh ones, in turn."
    )
    note = "QEMU's memory includes room for translated code." if accelerator() == "tcg" else ""
    return Benchmark.of(on.facts, "memory", "Memory per instance", "MiB", method, subjects, budget, note=note,
                        clear_order=True)  # fmt: skip


def _taken(label: str, available: Callable[[], int], start: Callable[[], object]) -> float:
    """MiB that one instance of a batch took."""
    before = available()
    start()
    time.sleep(0.5)
    return (before - available()) / _BATCH[label] / MIB


def _above_zero(once: Callable[[], float]) -> Callable[[], float]:
    def again() -> float:
        for _ in range(_PATIENCE):
            if (value := once()) > 0:
                return value
        raise LabError(
            "The machine's free memory did not fall while instances were started.",
            cause="Something else gives memory back at the same time.", next_step="Run the cell again when it is quiet.",
        )  # fmt: skip

    return again


def _sleeper(on: Context) -> contextlib.AbstractContextManager[Container]:
    return on.container(on.image(), ["sleep", "600"], network_mode="none")


def density(
    on: Context, budget: float = 60.0, *, n: int = 10, space: str | int | None = None, measured: Benchmark | None = None
) -> Benchmark:
    """How many idle instances fit into an amount of memory.

    Method: the amount divided by what one instance took, value by value, as :func:`memory` measures it (there is one
    method for both); rounded down.

    Args:
        budget: seconds.
        n: rounds.
        space: the amount, such as ``"512m"``; by default 256 MiB, doubled until one of each fits.
        measured: what :func:`memory` found; measured anew when None.

    Raises:
        BadInput: more than the engine's machine has, or less than one instance takes.
    """
    room = size(space or "256m")
    if space and room > on.facts.memory:
        raise BadInput(
            f"{show_size(room)} is more than the {show_size(on.facts.memory)} that the engine's machine has.",
            next_step=f"Ask for space='{on.facts.memory // 4 // MIB}m'.",
        )
    found = measured or memory(on, budget, n=n)
    largest = max(row.median for row in found.series) * MIB
    while not space and largest > room:
        room *= 2
    for row in found.series:
        if row.median * MIB > room:
            raise BadInput(f"One {row.label} takes {show_size(int(row.median * MIB))}: more than the {show_size(room)} there are.",
                           next_step=f"Ask for space='{round(row.median * 2) + 1}m'.")  # fmt: skip
    series = [
        dataclasses.replace(row, values=[float(room // (value * MIB)) for value in row.values]) for row in found.series
    ]
    method = f"Reckoned: {show_size(room)} divided by what one instance took. {found.method}"
    return dataclasses.replace(
        found, name="density", title="Instances in the same memory", unit="instances", method=method, series=series,
        less_is_better=False, note=f"The memory: {show_size(room)}. {found.note}".strip(),
    )  # fmt: skip
