"""Out of memory: a process grows inside a limit, and every trace of its end is collected.

:mod:`labkit.labs.out_of_memory.oom_cases` has those with several processes or containers.
"""

import contextlib
import threading
import time
from datetime import datetime
from typing import Any, Self

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.faults import explained
from ...errors import BadInput, LabError, NotPossibleHere
from ...observe.clock import Clock
from ...observe.rows import Ending, Event, Rows, Sample
from ...units import show_size, size, yes_no
from .oom_verdict import Verdict, collect

#: Samples a second that are asked for; an emulated machine has no time for more than a few hundred.
SAMPLES_PER_SECOND = {"native": 1000, "emulated": 200}

# awk keeps one string per line that it reads: each line is one step of memory that never comes
# back. The pace is set by whoever writes the lines.
_STEPS = "while [ $n -lt {count} ]; do echo; n=$((n+1)); usleep {pause}; done; sleep {hold}"
_GROW = 'awk \'{{ kept[NR] = sprintf("%{step}s", "") }}\''
_AS_MAIN = "mkfifo /steps; (sleep {lead}; n=0; {steps}) > /steps & exec {grow} < /steps"
# The kernel may choose again before the child's memory is free: then the one that paces it goes before the main one.
_AS_CHILD = (
    '(echo 300 > /proc/self/oom_score_adj; sleep {lead}; n=0; {steps}) | {grow}; echo "child ended with $?"; sleep 0.5'
)


class OomRun(Result):
    """One run of a growing process.

    ``limit``, ``peak`` and sizes are bytes; times are seconds since the container's cgroup
    appeared. ``peak`` is the kernel's own high-water mark (None before Linux 5.19 on v2),
    ``stats`` what ``docker stats`` would have shown, ``kill_time`` when the kernel chose its
    victim, as ``kill_seen_by`` saw it; ``machine_free`` what the machine had available before.
    """

    limit: int
    step: int
    grower: str
    command: str
    samples: list[Sample]
    stats: list[Sample]
    peak: int | None
    kill_time: float | None
    kill_seen_by: str
    machine_free: int
    verdict: Verdict

    @property
    def sampled_peak(self) -> int:
        """The highest reading among our samples, in bytes."""
        return max((sample.usage for sample in self.samples), default=0)

    @property
    def intervals(self) -> list[float]:
        """The time between one sample and the next, in seconds, as achieved."""
        return [later.time - sooner.time for sooner, later in zip(self.samples, self.samples[1:])]

    @property
    def samples_per_second(self) -> float:
        """Samples divided by the time they span."""
        span = self.samples[-1].time - self.samples[0].time if len(self.samples) > 1 else 0
        return len(self.samples) / span if span else 0.0

    def facts(self) -> str:
        within = self.peak is None or self.peak <= self.limit
        room = self.machine_free > self.limit
        return (
            f"killed by the kernel: {yes_no(self.verdict.killed)}"
            f" · exit code {self.verdict.exit_code}\n"
            f"peak within the limit: {yes_no(within)} · the machine had more than that free: {yes_no(room)}\n"
            f"{self.verdict.explanation}"
        )


def program(step: int, count: int, pace: float, grower: str, lead: float, hold: float) -> str:
    """The shell program that grows: ``count`` steps of ``step`` bytes, ``pace`` seconds apart."""
    if grower not in ("main", "child"):
        raise BadInput(f"{grower!r} can't grow.", next_step="Choose grower='main' or grower='child'.")
    for name, seconds in (("pace", pace), ("lead", lead), ("hold", hold)):
        if seconds < 0:
            raise BadInput(f"{name}={seconds} is before the start.", next_step="Give seconds, 0 or more.")
    steps = _STEPS.format(count=count, pause=int(pace * 1e6), hold=hold)
    template = _AS_MAIN if grower == "main" else _AS_CHILD
    return template.format(lead=lead, steps=steps, grow=_GROW.format(step=step))


def check_limit(on: Context, limit: str | int) -> int:
    """A limit in bytes that this engine's machine can have.

    Raises:
        BadInput: not a size, below what the engine takes, or more memory than the machine has.
        NotPossibleHere: the engine can't limit memory.
    """
    if not on.facts.limits_memory:
        raise NotPossibleHere(
            "This engine can't limit memory.",
            cause="Its machine hands it no control groups, as a rootless one gets none with version 1.",
            next_step="Use the embedded one: LABKIT_ENGINE=embedded.",
        )
    value = size(limit)
    if value < 6 * 1024**2:
        raise BadInput(
            f"A limit of {show_size(value)} is below the engine's minimum of 6 MiB.",
            cause="The runtime itself needs a few MiB inside the limit to start the program.",
            next_step="Ask for 8m or more.",
        )
    if value > on.facts.memory:
        raise BadInput(
            f"A limit of {show_size(value)} is above the machine's memory ({show_size(on.facts.memory)}).",
            cause="The machine would run out before the limit is reached.",
            next_step="Choose a limit well below the machine's memory.",
        )
    return value


class LiveRun:
    """A growing process while it grows: ``poll`` gives new samples, ``stop`` ends it.

    Use it as a context manager, or call :meth:`finish`; either removes the container, and stops what looks on.
    """

    def __init__(self, on: Context, limit: int, step: int, grower: str, command: str, options: dict[str, Any]):
        self.limit, self.step, self.grower, self.command = limit, step, grower, command
        #: All samples so far.
        self.samples: list[Sample] = []
        self._on = on
        rate = SAMPLES_PER_SECOND["emulated" if on.facts.emulated else "native"]
        host = {"mem_limit": limit, "network_mode": "none", **options}
        with contextlib.ExitStack() as undo:
            self.container = undo.enter_context(
                on.container(images.BUSYBOX, ["sh", "-c", command], start=False, **host)
            )
            self._clock = on.observer.clock()
            self._free = on.observer.machine()["available"]
            self._kills: Rows[Event, Ending] | None = None
            with contextlib.suppress(LabError):  # tracing is not permitted everywhere
                self._kills = undo.enter_context(on.observer.trace(["oom/mark_victim"]))
            self._cgroup = undo.enter_context(on.observer.sample(self.container.id, rate))
            self._stats = _StatsWatch(on, self.container.id)
            self.container.start()
            self._undo = undo.pop_all()

    @property
    def ended(self) -> bool:
        """Whether the container's control group is gone."""
        return self._cgroup.ended

    def poll(self, timeout: float = 0.1) -> list[Sample]:
        """Samples that came in since the last call; waits up to ``timeout`` seconds for one batch."""
        fresh = self._cgroup.poll(timeout)
        if fresh and not self.samples:
            self._clock = self._clock.since(fresh[0].time)
        fresh = [one._replace(time=self._clock.of_machine(one.time)) for one in fresh]
        self.samples += fresh
        return fresh

    def stop(self) -> None:
        """``docker kill``: SIGKILL from a person, not from the kernel's OOM killer."""
        with explained(self._on.session.engine.endpoint):
            self.container.kill()

    def finish(self, timeout: float = 120.0) -> OomRun:
        """Wait for the end, collect all evidence, remove the container.

        Raises:
            LabError: the run did not end within ``timeout`` seconds.
        """
        with self:
            patience = time.monotonic() + timeout
            while not self.ended:
                self.poll(0.2)
                if time.monotonic() > patience:
                    raise LabError(f"The run did not end within {timeout:.0f} seconds.")
            cgroup = self._cgroup.end()
            with explained(self._on.session.engine.endpoint):
                self.container.wait(timeout=30)
                verdict = collect(self._on, self.container, cgroup, self._clock)
            kill_time, seen_by = self._kill_time(verdict)
            return OomRun(
                self._on.facts, self.limit, self.step, self.grower, self.command, samples=self.samples,
                stats=self._stats.samples(self._clock), peak=cgroup["peak"], kill_time=kill_time,
                kill_seen_by=seen_by, machine_free=self._free, verdict=verdict,
            )  # fmt: skip

    def _kill_time(self, verdict: Verdict) -> tuple[float | None, str]:
        """When the kernel chose this run's victim, and what saw it."""
        if not verdict.killed:
            return None, ""
        if self._kills is not None:
            self._kills.end()
            for event in self._kills.rows:
                # Tracing sees the whole machine: only our own victim counts.
                if verdict.victim_pid in (None, int(event.fields.get("pid", -1))):
                    return self._clock.of_machine(event.time), "tracepoint oom:mark_victim"
        if verdict.log_time is not None:
            return self._clock.of_machine(verdict.log_time), "kernel log"
        return None, "not visible on this engine"

    def close(self) -> None:
        """Remove the container, whatever state the run is in."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(
    on: Context,
    /,
    limit: str | int = "32m",
    *,
    step: str | int = "1m",
    pace: float = 0.02,
    grower: str = "main",
    swap: str | int | None = 0,
    reach: str | int | None = None,
    lead: float = 0.2,
    hold: float = 0.0,
    **options: Any,
) -> LiveRun:
    """Start a growing process and return at once; :func:`grow` explains the arguments."""
    memory, step_bytes = check_limit(on, limit), size(step)
    goal = size(reach) if reach is not None else memory * 4
    if swap is not None:
        # 0: no swap at all, which Docker says by giving both limits the same value.
        options["memswap_limit"] = memory + (size(swap) if swap else 0)
    command = program(step_bytes, max(1, goal // step_bytes), pace, grower, lead, hold)
    return LiveRun(on, memory, step_bytes, grower, command, options)


def grow(on: Context, /, limit: str | int = "32m", **arguments: Any) -> OomRun:
    """Grow a process inside a memory limit until it ends, and collect the evidence.

    Method: a busybox awk keeps one string of ``step`` bytes per line that it reads, one line
    every ``pace`` seconds. A helper outside the cgroup reads the cgroup's usage, peak and
    counters up to 1000 times a second (CLOCK_MONOTONIC), from the cgroup's first moment to its
    removal. The time of the kill is the kernel's own (tracepoint ``oom:mark_victim``, or its log).

    Args:
        limit: ``--memory``, such as ``"32m"``.
        step: how much each step keeps.
        pace: seconds between steps.
        grower: ``"main"`` (process 1 grows) or ``"child"`` (a child grows, process 1 looks on).
        swap: memory beyond the limit that may be swapped; 0 for none, None for Docker's default.
        reach: stop growing at this much, and live; four times the limit by default.
        lead: seconds before the first step.
        hold: seconds to stay at ``reach`` before ending.
        options: anything docker-py's ``containers.create`` takes.

    Raises:
        BadInput: a limit or step that can't be.
        LabError: the engine's refusal, or its end.
    """
    with start(on, limit, **arguments) as live:
        return live.finish()


def stop_by_hand(on: Context, limit: str | int = "64m", *, at: str | int = "16m") -> OomRun:
    """Grow well below the limit, then ``docker kill``: exit code 137 without any OOM."""
    with start(on, limit, reach=at, hold=30) as live:
        reached = size(at)
        while not live.ended and not any(sample.usage >= reached for sample in live.poll(0.05)):
            pass
        live.stop()
        return live.finish()


def refused(on: Context, limit: str | int = "64m", *, at: str | int = "16m") -> OomRun:
    """An allocation that is refused instead of killed: the process has a limit of its own.

    ``ulimit -v`` bounds the address space, so ``mmap`` fails with ENOMEM and the program can
    react. The cgroup is never full and its OOM killer never asked.
    """
    memory = check_limit(on, limit)
    step = 1024**2
    grown = program(step, memory // step, 0.005, "main", 0.2, 0.0)
    command = f"ulimit -v {size(at) // 1024}; {grown}"
    options = {"memswap_limit": memory}
    with LiveRun(on, memory, step, "main", command, options) as live:
        return live.finish()


class _StatsWatch:
    """What ``docker stats`` would show: the engine's own samples, one a second."""

    def __init__(self, on: Context, container: str):
        self._rows: list[dict[str, Any]] = []
        threading.Thread(target=self._watch, args=(on, container), daemon=True).start()

    def _watch(self, on: Context, container: str) -> None:
        # In a thread of its own, for the stream blocks until the container has ended.
        with contextlib.suppress(LabError), explained():  # either went away: what came before counts
            for row in on.docker.api.stats(container, decode=True, stream=True):
                self._rows.append(row)

    def samples(self, clock: Clock) -> list[Sample]:
        """As run time and bytes; readings from before the start or after the end have no usage."""
        found = []
        for row in list(self._rows):
            usage = (row.get("memory_stats") or {}).get("usage")
            if usage:
                wall = datetime.fromisoformat(row["read"].rstrip("Z")[:26] + "+00:00").timestamp()
                found.append(Sample(clock.of_wall(wall), usage))
        return [sample for sample in found if sample.time >= 0]
