"""Was it the OOM killer? The five places that can tell, read after the fact.

They must agree, or the difference must be explained: ``State.OOMKilled`` says that *a*
process of the container was killed since its last start, exit code 137 only says SIGKILL,
and the flag is known to be wrong on some engine versions (moby issue 41929). What decides
is the kernel: the cgroup's own counter, or its log, where the group was gone before the counter
could be read once more.
"""

import re
from dataclasses import dataclass, field

from docker.models.containers import Container

from ...course.context import Context
from ...observe.clock import Clock
from ...observe.rows import Sampled
from ...waiting import wait_until

# Linux mm/oom_kill.c, dump_oom_summary() and __oom_kill_process().
_SUMMARY = r"oom-kill:.*(task_memcg|oom_memcg)=\S*{container}"
_KILLED = re.compile(r"(Memory cgroup out of memory|Out of memory): Killed process (\d+) \(([^)]*)\)")


@dataclass(frozen=True)
class Verdict:
    """The five places, as read.

    ``oom_killed``: the engine's flag. ``events``: the engine's events for this container, in
    order. ``cgroup_kills``: the cgroup's ``oom_kill`` counter (processes). ``counters``: all
    its counters. ``log``: the kernel's lines. ``log_readable`` is False where the helper may
    not read the kernel's log; ``log_time`` is on the machine's monotonic clock, in seconds.
    """

    oom_killed: bool
    exit_code: int
    events: list[str]
    cgroup_kills: int
    counters: dict[str, int]
    counter_file: str
    log: list[str] = field(default_factory=list)
    log_time: float | None = None
    victim_pid: int | None = None
    victim: str = ""

    @property
    def killed(self) -> bool:
        """Whether the kernel killed a process of the container, by what the kernel itself noted."""
        return self.cgroup_kills > 0 or bool(self.log)

    @property
    def oom_event(self) -> bool:
        return "oom" in self.events

    @property
    def agree(self) -> bool:
        """Whether flag, event and kernel tell the same, and the exit code doesn't contradict."""
        return self.oom_killed == self.killed and self.oom_event == self.killed

    @property
    def explanation(self) -> str:
        """One sentence: what happened, by what the kernel counted and how the main process ended."""
        if self.killed and self.exit_code == 137:
            return "The OOM killer chose the main process, and the container ended with it."
        if self.killed:
            return "The OOM killer chose a child; the main process lived on and ended by itself."
        if self.exit_code == 137:
            return "SIGKILL, but not from the OOM killer: somebody stopped this container."
        if self.exit_code == 0:
            return "It ended by itself, with the work done."
        return "It ended by itself: an allocation was refused, nothing was killed."

    def __str__(self) -> str:
        kernel_says = f"killed process ({self.victim})" if self.victim else "nothing about this container"
        missed = self.killed and not self.cgroup_kills
        rows = [
            ("State.OOMKilled", str(self.oom_killed).lower()),
            ("exit code", f"{self.exit_code}" + (" = 128 + 9 (SIGKILL)" if self.exit_code == 137 else "")),
            ("engine's event oom", "seen" if self.oom_event else "none"),
            ("cgroup's oom_kill", f"{self.cgroup_kills}" + (", read before the kill" if missed else "")),
            ("kernel's log", kernel_says),
        ]
        lines = [f"{place:<20} {says}" for place, says in rows]
        agreement = "All agree." if self.agree else "The engine missed the kill: trust the kernel."
        return "\n".join([*lines, agreement])

    def evidence(self) -> str:
        """The raw lines behind the verdict, with this run's own numbers."""
        counters = "  ".join(f"{key} {value}" for key, value in self.counters.items())
        log = "\n".join(f"  {line}" for line in self.log) or "  (nothing)"
        return f"events      {' → '.join(self.events)}\n{self.counter_file}\n  {counters}\nkernel log\n{log}"


def collect(on: Context, container: Container, cgroup: Sampled, clock: Clock) -> Verdict:
    """Read all five places for a container that has ended."""
    state = on.state(container)
    kills = cgroup["counters"].get("oom_kill", 0)
    # On a busy machine the group may be gone before its counter could be read after the kill.
    suspected = kills > 0 or bool(state["OOMKilled"]) or state["ExitCode"] == 137
    log, log_time, pid, victim = _kernel_log(on, container.id, clock.machine, expected=suspected)
    return Verdict(
        oom_killed=bool(state["OOMKilled"]),
        exit_code=int(state["ExitCode"]),
        events=_events(on, container.id, clock.wall, expect_oom=kills > 0 or bool(log)),
        cgroup_kills=kills,
        counters=cgroup["counters"],
        counter_file=cgroup["files"]["events"],
        log=log,
        log_time=log_time,
        victim_pid=pid,
        victim=victim,
    )


def _events(on: Context, container: str, since: float, *, expect_oom: bool) -> list[str]:
    """The engine's events of one container, oldest first."""
    found: list[str] = []

    def told() -> bool:
        until = on.observer.call("clocks")["wall"]
        found[:] = [row["Action"] for row in on.events(since - 1, until, container=container, type="container")]
        return not expect_oom or "oom" in found

    wait_until(told, 2)  # the oom event travels on its own path and may arrive after die
    return found


def _kernel_log(
    on: Context, container: str, since: float, *, expected: bool
) -> tuple[list[str], float | None, int | None, str]:
    """The kernel's lines on this container's victims: lines, time, pid, name."""
    pattern = _SUMMARY.format(container=container) + "|" + _KILLED.pattern
    rows = on.observer.kernel_log(since - 0.5, pattern, wait=1.0 if expected else 0.0)
    for index, (stamp, line) in enumerate(rows):
        if container not in line:
            continue
        # The summary names the cgroup; the next "Killed process" line belongs to it.
        for _, follower in rows[index:]:
            match = _KILLED.search(follower)
            if match:
                return [line, follower], stamp, int(match[2]), match[3]
    return [], None, None, ""
