"""The models of isolation, measured side by side: start, memory, density (what they do once they run: isolation_work).

A *plain process* and *runc alone* are started by helpers on the engine's machine, *docker run* by
that engine, and the *virtual machine* by QEMU on the notebook's machine. All run the same static
busybox. Where QEMU has no usable hardware support it emulates the processor, and every number of
the virtual machine is marked as emulated.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from docker.models.containers import Container

from ...course.benchmark import Benchmark, Series, Subject, check_budget
from ...course.context import Context
from ...engine.client import remove_container
from ...engine.embedded.small import SmallVM, accelerator
from ...engine.faults import explained
from ...errors import BadInput
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
    container = on.docker.containers.create(on.image(), ["true"], **network)
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
    with SmallVM(progress=on.progress) as vm:
        return vm.boot_seconds


def start_latency(on: Context, budget: float = 30.0, *, n: int = 10) -> Benchmark:
    """How long it takes to start something that ends at once.

    Method: timed is from asking until the end of ``true`` is known. Plain process: posix_spawn and
    wait. runc alone: ``runc run`` of a prepared bundle with namespaces and a control group, no
    network set up. docker run: create, start and wait over the API, on a bridge network of the
    lab's own; removal is not timed. Virtual machine: from starting QEMU to the first line of the guest's first
    program, firmware and kernel included. Warm: one run of each before, uncounted. n = 10 or more
    each, half as many for the virtual machine, in turn.
    """
    on.image()
    bundle(on)
    emulated = on.facts.emulated
    with explained(on.session.engine.endpoint), bridge(on) as network:
        subjects = [
            Subject(PLAIN, "bare metal", lambda: spawned(on, "/usr/bin/busybox true"), n=max(n, 30), emulated=emulated),
            Subject(RUNC, "runc", lambda: spawned(on, f"/usr/bin/runc run --bundle /bundle start-{next(_numbers)}"), n=n,
                    emulated=emulated),
            Subject(DOCKER, "container", lambda: docker_run(on, network=network), n=n, emulated=emulated),
            Subject(VM, "virtual machine", lambda: _vm_once(on), n=max(1, n // 2), emulated=accelerator() == "tcg"),
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


def _share_of(on: Context, container: Container) -> float:
    """MiB of a container: its process and the shim that only it has."""
    container.reload()
    main = container.attrs["State"]["Pid"]
    rows = {row["pid"]: row for row in on.observer.processes()}
    shim = rows.get(rows[main]["ppid"]) if main in rows else None
    pids = [main, shim["pid"]] if shim and "shim" in " ".join([shim["comm"], *shim["command"][:1]]) else [main]
    return float(sum(on.observer.call("memory_of", pids=pids).values()) / MIB)


def memory(on: Context, budget: float = 20.0, *, n: int = 3) -> Benchmark:
    """How much memory one idle instance takes.

    Method: an instance that only sleeps is started; its proportional set size (pages, shared ones
    divided by their users) is read a moment later. Plain process: that process. docker run: the
    process and its shim. Virtual machine: the whole QEMU process, a guest of 96 MiB after its boot.
    Memory that the kernel itself spends is not in it. n = 3 or more each, fresh instances, in turn.
    """

    def docker() -> float:
        with _sleeper(on) as container:
            time.sleep(0.1)
            return _share_of(on, container)

    def machine() -> float:
        with SmallVM(progress=on.progress) as vm:
            return vm.memory() / MIB

    emulated = on.facts.emulated
    subjects = [
        Subject(PLAIN, "bare metal", lambda: _crowd_shares(on, 1)[0], n=max(n, 5), emulated=emulated, warm=False),
        Subject(DOCKER, "container", docker, n=max(n, 5), emulated=emulated, warm=False),
        Subject(VM, "virtual machine", machine, n=n, emulated=accelerator() == "tcg", warm=False),
    ]
    method = (
        "Proportional set size of one idle instance: the process; the process and its shim; the QEMU process with a "
        "guest of 96 MiB. The kernel's own memory is not in it."
    )
    note = "QEMU's own share includes room for translated code." if accelerator() == "tcg" else ""
    with explained(on.session.engine.endpoint):
        return Benchmark.of(on.facts, "memory", "Memory per instance", "MiB", method, subjects, budget, note=note,
                            clear_order=True)  # fmt: skip


def _sleeper(on: Context) -> contextlib.AbstractContextManager[Container]:
    return on.container(on.image(), ["sleep", "600"], network_mode="none")


def density(on: Context, budget: float = 30.0, *, space: str | int = "256m", most: int = 12) -> Benchmark:
    """How many idle instances fit into an amount of memory.

    Method: instances are started one after the other and their shares of memory added up, as in
    :func:`memory`, until the next would not fit, enough have been started (100 plain processes, ``most``
    containers, a quarter of it virtual machines), or the time is up. Each one that ran gives a value: how
    many of its size fit. It never uses more than ``space``, nor more than half of what the engine's machine
    has free; what did not run is reckoned from what did. n: 100, ``most``, ``most`` / 4.

    Raises:
        BadInput: more space than the machine has, or too little for one of each; a budget that is
            over before one of each was started.
    """
    room, began = size(space), time.monotonic()
    budget = check_budget(budget)
    free = on.observer.machine()["available"]
    if room > on.facts.memory:
        raise BadInput(
            f"{show_size(room)} is more than the {show_size(on.facts.memory)} that the engine's machine has.",
            cause="The test stops at its budget, never at the machine's end.",
            next_step=f"Ask for space='{max(1, free // 4 // MIB)}m' or less.",
        )
    shares: dict[str, list[float]] = {}

    def fill(label: str, wanted: int, start: Callable[[contextlib.ExitStack], float], until: float) -> None:
        """Start instances until the next would not fit; ``start`` returns the share of a fresh one in MiB."""
        found = shares.setdefault(label, [])
        with contextlib.ExitStack() as stack:
            while len(found) < wanted and (not found or time.monotonic() - began < budget * until):
                if found and (sum(found) + statistics.mean(found)) * MIB > min(room, free // 2):
                    return
                if time.monotonic() - began > budget:
                    raise BadInput(f"A budget of {budget:g} s was over before one {label} was started.",
                                   next_step=f"Ask for budget={round(budget * 3 + 10)}.")  # fmt: skip
                found.append(start(stack))
                if found[0] * MIB > room:
                    raise BadInput(f"One {label} takes {show_size(int(found[0] * MIB))}: more than the {show_size(room)} there are.",
                                   next_step=f"Ask for space='{round(found[0] * 2) + 1}m'.")  # fmt: skip
                on.say(f"{label}: {len(found)} started", (len(shares) - 1 + len(found) / wanted) / 3)

    def container(stack: contextlib.ExitStack) -> float:
        return _share_of(on, stack.enter_context(_sleeper(on)))

    def machine(stack: contextlib.ExitStack) -> float:
        return stack.enter_context(SmallVM(progress=on.progress)).memory() / MIB

    wanted, interrupted = {PLAIN: 100, DOCKER: most, VM: max(1, most // 4)}, False
    try:
        shares[PLAIN] = _crowd_shares(on, wanted[PLAIN])
        with explained(on.session.engine.endpoint):
            fill(DOCKER, wanted[DOCKER], container, 0.6)
        fill(VM, wanted[VM], machine, 1.0)
    except KeyboardInterrupt:
        if not shares:
            raise
        interrupted = True
    models = {PLAIN: "bare metal", DOCKER: "container", VM: "virtual machine"}
    series, reckoned = [], []
    for label, each in shares.items():
        if not each:
            continue
        full = (sum(each) + statistics.mean(each)) * MIB > room
        if not full:
            reckoned.append(f"{label} (from {len(each)} that ran)")
        emulated = accelerator() == "tcg" if label == VM else on.facts.emulated
        values = [float(room // (share * MIB)) for share in each]
        series.append(Series(label, models[label], values, len(each) if full else wanted[label], emulated))
    method = (
        f"How many idle instances' shares of memory add up to at most {show_size(room)}: a value for each that ran."
    )
    note = f"Reckoned: {', '.join(reckoned)}." if reckoned else ""
    return Benchmark(on.facts, "density", f"Instances in {show_size(room)}", "instances", method, series, budget,
                     time.monotonic() - began, interrupted, less_is_better=False, note=note, clear_order=True)  # fmt: skip


def _crowd_shares(on: Context, count: int) -> list[float]:
    """MiB of each of many plain processes that sleep side by side."""
    pids = on.observer.call("crowd", command=["/usr/bin/busybox", "sleep", "600"], count=count)
    try:
        time.sleep(0.2)
        return [value / MIB for value in on.observer.call("memory_of", pids=pids).values()]
    finally:
        on.observer.call("crowd", command=[], count=0)
