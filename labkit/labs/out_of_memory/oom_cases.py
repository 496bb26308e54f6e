"""Out of memory with more than one to choose from, and what Docker's flags write."""

import contextlib
import functools
import itertools
import re
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import EngineGone
from ...observe.observer import Steward
from ...observe.rows import Rows, Sample, Sampled
from ...units import MIB
from ...waiting import wait_until
from .oom import SAMPLES_PER_SECOND, check_limit, grow, program

# Each grower names itself and sets its own score, so that the kernel's log tells them apart and
# nothing but the grower is offered. Raising one's own oom_score_adj takes no privilege.
_CANDIDATE = (
    "(mkfifo /{name}; (n=0; while [ $n -lt {count} ]; do echo; n=$((n+1)); usleep {pause}; done; sleep 60) > /{name} &"
    ' awk \'BEGIN {{ printf "{name}" > "/proc/self/comm"; printf "{adjust}" > "/proc/self/oom_score_adj" }}'
    ' {{ kept[NR] = sprintf("%1048576s", "") }}\' < /{name}; echo {name}) &'
)


class TwoCandidates(Result):
    """Who died first. ``order`` has the names in the order in which the kernel chose them; ``log`` the kernel's lines."""

    limit: int
    adjust: int
    order: list[str]
    log: list[str]

    def facts(self) -> str:
        small = "offered first" if self.adjust else "left alone"
        return f"the small one was {small} (oom_score_adj {self.adjust}) · first victim: the {self.order[0]} one"


def candidates(on: Context, limit: str | int = "48m", *, adjust: int = 900) -> TwoCandidates:
    """A big and a small process fill one container; which does the kernel choose?

    The small one keeps 6 MiB, the big one grows until the limit is reached. ``adjust`` is
    written to the small one's ``oom_score_adj``: each 1000 adds the whole limit to its score
    (Linux ``mm/oom_kill.c``, oom_badness()).

    Args:
        limit: the container's ``--memory``.
        adjust: 0 (no difference) to 1000 (always chosen first).
    """
    memory = check_limit(on, limit)
    small = _CANDIDATE.format(adjust=adjust, count=6, pause=5000, name="small")
    big = _CANDIDATE.format(adjust=0, count=2 * memory // MIB, pause=15000, name="big")
    # The first to end is the first victim; then both are over, whatever the other one does.
    command = f"mkfifo /done; ( {small} {big} wait ) > /done & head -n 1 < /done"
    since = on.observer.clock().machine
    limits: dict[str, Any] = {"mem_limit": memory, "memswap_limit": memory, "network_mode": "none"}
    with on.container(images.BUSYBOX, ["sh", "-c", command], **limits) as container:
        container.wait(timeout=120)
        order = container.logs(stdout=True, stderr=False).decode().split()
        log = on.observer.kernel_log(since, rf"oom-kill:.*{container.id}|Killed process \d+ \((big|small)\)")
    lines = [line.text for line in log]
    # Newer kernels may choose again before the first victim's memory is free, and a small process is gone sooner:
    # the order of the choices is the kernel's to tell, where its log can be read.
    chosen = [found[1] for line in lines if (found := re.search(r"Killed process \d+ \((big|small)\)", line))]
    return TwoCandidates(engine=on.facts, limit=memory, adjust=adjust, order=chosen or order, log=lines)


class SharedRun(Result):
    """Containers that share their parent's limit.

    ``goals`` (bytes) and ``samples`` by container name; ``killed`` has the names of those that
    the kernel killed, in the order in which it chose them, or, where its log can't be read, of their
    ends. More than one can be: until the lab stops the rest, the greedy one grows on. ``log`` has its lines.
    """

    limit: int
    adjust: int
    goals: dict[str, int]
    samples: dict[str, list[Sample]]
    killed: list[str]
    log: list[str]

    def facts(self) -> str:
        first = self.killed[0] if self.killed else "nobody"
        return f"the first to be killed: {first} · the parent was full, no container had a limit of its own"


def shared_parent(on: Context, limit: str | int = "48m", *, adjust: int = 0) -> SharedRun:
    """Three containers without limits under one parent cgroup that has one.

    ``small`` and ``middle`` reach 6 and 12 MiB and stay; ``greedy`` grows until the parent is
    full. The kernel looks for its victim among all processes below the parent.

    Args:
        limit: the parent's limit.
        adjust: ``--oom-score-adj`` of ``small``; 0 to 1000.
    """
    memory = check_limit(on, limit)
    goals = {"small": 6 * MIB, "middle": 12 * MIB, "greedy": 2 * memory}
    systemd = on.facts.cgroup_driver == "systemd"
    name = f"labkit{on.session.id}.slice" if systemd else f"labkit-{on.session.id}"
    parent = name if systemd else f"/{name}"
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    limits = {names[on.facts.cgroup_version]: memory}
    # No way out into swap, where the machine has some: on v1 that is a limit on the sum of both.
    no_swap = {"memory.memsw.limit_in_bytes": memory, "memory.swap.max": 0}
    rate = SAMPLES_PER_SECOND["emulated" if on.facts.emulated else "native"] // 5
    with contextlib.ExitStack() as stack:
        steward = stack.enter_context(contextlib.closing(Steward(on.session)))
        make = functools.partial(steward.call, "parent_cgroup", name=name)
        make() if systemd else make(files=limits, optional=no_swap)
        stack.callback(make, remove=True)
        made: dict[str, Container] = {}
        memory_of: dict[str, Rows[Sample, Sampled]] = {}
        for who, goal in goals.items():
            # The greedy one comes last and slowly, when the others have what they want.
            pace, lead, hold = (0.03, 1.0, 0) if who == "greedy" else (0.02, 0.1, 600)
            made[who] = container = stack.enter_context(on.container(
                images.BUSYBOX, ["sh", "-c", program(MIB, goal // MIB, pace, "main", lead, hold)], start=False,
                network_mode="none", cgroup_parent=parent, oom_score_adj=adjust if who == "small" else 0,
                name=on.session.name(who),
            ))  # fmt: skip
            memory_of[who] = stack.enter_context(on.observer.sample(container.id, rate, parent=f"/{name}"))
        clock = on.observer.clock()
        for container in made.values():
            container.start()
        if systemd:
            make(files=limits, optional=no_swap)
        # Offered or not, one of these two is the first: whoever is killed first ends the wait.
        first_two = [made["small"].id, made["greedy"].id]
        states = (on.docker.api.inspect_container(one)["State"] for one in itertools.cycle(first_two))
        late = EngineGone("Nothing was killed within 240 seconds.", next_step="Run the cell again.")
        wait_until(lambda: not next(states)["Running"], 240, lambda: late)
        ended: dict[str, str] = {}
        for who, container in made.items():
            state = on.state(container)
            if state["Running"]:
                container.kill()
            elif state["ExitCode"] == 137:
                ended[who] = state["FinishedAt"]
        for one in memory_of.values():
            one.end(stop=False)
        names_by_id = {container.id: who for who, container in made.items()}
        ids = "|".join(names_by_id)
        log = [line.text for line in on.observer.kernel_log(clock.machine, rf"oom-kill:.*({ids})")]
        # A loaded machine may choose a second victim before the first one's end is known: its order counts.
        chosen = [names_by_id[found] for found in re.findall(rf"task_memcg=\S*({ids})", "\n".join(log))]
    clock = clock.since(min(one.rows[0].time for one in memory_of.values() if one.rows))
    samples = {
        who: [row._replace(time=clock.of_machine(row.time)) for row in one.rows] for who, one in memory_of.items()
    }
    killed = list(dict.fromkeys(chosen)) or sorted(ended, key=ended.__getitem__)
    return SharedRun(on.facts, memory, adjust, goals, samples, killed, log)


@dataclass(frozen=True)
class Flag:
    """One of Docker's memory flags: the file it ends in, by both names, and what was read there."""

    flag: str
    v1: str
    v2: str
    value: str


class FlagsView(Result):
    """What a container's memory flags wrote, read from the kernel's files on the engine's machine."""

    flags: list[Flag]
    path: str

    def facts(self) -> str:
        width = max(len(row.flag) for row in self.flags)
        lines = [f"{'flag':<{width}}  {'v1 file':<32}v2 file"]
        return "\n".join([*lines, *(f"{row.flag:<{width}}  {row.v1:<32}{row.v2}" for row in self.flags)])


# Docker's flags and the files they end in: moby daemon_unix.go, opencontainers/cgroups fs and fs2.
_FLAGS = (
    ("--memory 64m", "memory.limit_in_bytes", "memory.max"),
    ("--memory-swap 64m", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("--memory-reservation 32m", "memory.soft_limit_in_bytes", "memory.low"),
    ("(the use now)", "memory.usage_in_bytes", "memory.current"),
    ("(the highest use)", "memory.max_usage_in_bytes", "memory.peak"),
    ("(how often it was full)", "memory.failcnt", "memory.events"),
    ("(processes killed)", "memory.oom_control", "memory.events"),
)


def flags(on: Context) -> FlagsView:
    """Start a container with every memory flag and read the files they ended in."""
    with on.container(
        images.BUSYBOX, ["sleep", "30"], network_mode="none",
        mem_limit="64m", memswap_limit="64m", mem_reservation="32m",
    ) as container:  # fmt: skip
        column = 1 if on.facts.cgroup_version == 1 else 2
        names = sorted({row[column] for row in _FLAGS})
        seen = on.observer.cgroup_files(container.id, names)
    rows = []
    for flag, v1, v2 in _FLAGS:
        text = seen["files"].get(v1 if column == 1 else v2)
        rows.append(Flag(flag, v1, v2, _brief(flag, text)))
    return FlagsView(engine=on.facts, flags=rows, path=seen["path"])


def _brief(flag: str, text: str | None) -> str:
    if text is None:
        return "not on this kernel"
    if "\n" not in text:
        return text
    wanted = "oom_kill" if "killed" in flag else "max"
    match = re.search(rf"^{wanted} \d+$", text, flags=re.M)
    return match[0] if match else text.replace("\n", ", ")


def job(on: Context) -> list[str]:
    """The command of the lab's job: it works its way up to a certain memory and then ends well."""
    return ["sh", "-c", program(MIB, 19, 0.005, "main", 0.0, 0.1)]


class Series(Result):
    """Several runs alike; ``afterlife`` is the time from each kill to the cgroup's removal, in seconds.

    ``kernel`` is what the kernel noted of each: its log's last line, or the counter where the log can't be read.
    """

    limit: int
    kills: int
    kernel: list[str]
    afterlife: list[float]
    rates: list[float]

    def facts(self) -> str:
        return f"every run was killed: {'yes' if self.kills == len(self.rates) else 'no'}"


def repeat(on: Context, n: int | None = None, *, limit: str | int = "16m") -> Series:
    """Grow ``n`` times into the same limit, and time how long the container outlives its victim.

    Method: from the kernel's choice of the victim (tracepoint, or kernel log) to the last moment
    at which the cgroup could be read, both on the machine's monotonic clock; warm; a run whose
    kill no time stamp was seen for has no dot. n = 10, or 4 on an emulated machine.
    """
    n = n or (4 if on.facts.emulated else 10)
    runs = []
    for number in range(n):
        on.say(f"run {number + 1} of {n}")
        runs.append(grow(on, limit, pace=0.004, lead=0.05))
    return Series(
        engine=on.facts,
        limit=runs[0].limit,
        kills=sum(run.verdict.killed for run in runs),
        kernel=[(run.verdict.log or [f"oom_kill {run.verdict.cgroup_kills}"])[-1] for run in runs],
        afterlife=[run.samples[-1].time - run.kill_time for run in runs if run.kill_time is not None],
        rates=[run.samples_per_second for run in runs],
    )
