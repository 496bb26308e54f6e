"""A limit on processor time: the quota that stops a container, and the weights that only divide."""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError
from ...paths import data_file
from ...units import yes_no
from ...waiting import wait_until

#: The kernel's period for a quota, in microseconds; Docker's default, too.
PERIOD = 100_000
#: Seconds on a processor that one request takes.
COST = 0.02
#: Seconds by the clock after which a round, or a quarrel, is given up.
PATIENCE = 180.0

# By the version of control groups: what holds the quota, and what it is counted in.
_FILES = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.stat"), 2: ("cpu.max", "cpu.stat")}


@dataclass(frozen=True)
class Quota:
    """A group's quota and what the kernel counted: periods in which it wanted to run, and those that stopped it.

    ``quota`` and ``period`` are microseconds; ``quota`` is None where there is no limit. ``stopped`` is the seconds
    for which its threads were held back, added up; ``files`` are the kernel's files as they were read at last.
    """

    quota: int | None
    period: int
    periods: int
    throttled: int
    stopped: float
    files: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Round:
    """A round of requests inside a quota of ``cpus``, None for none.

    ``seconds`` has each request's length by the clock; ``trace`` is (seconds by the clock, seconds on a processor).
    ``quota`` is what the kernel has and counted in this round.
    """

    cpus: float | None
    seconds: list[float]
    trace: list[tuple[float, float]]
    quota: Quota


class Throttled(Result):
    """One round of requests inside one quota."""

    round: Round

    @property
    def files(self) -> dict[str, str]:
        """The kernel's files of its quota, after the round."""
        return self.round.quota.files

    def facts(self) -> str:
        quota = self.round.quota
        has = "none" if quota.quota is None else f"{quota.quota} µs of every {quota.period} µs"
        return f"the kernel's quota: {has} · throttled: {yes_no(quota.throttled > 0)}"


class LatencyCurve(Result):
    """The same requests inside one quota after the other; ``cost`` is what each takes on a processor, in seconds."""

    cost: float
    rounds: list[Round]

    @property
    def counted(self) -> dict[str, str]:
        """What the kernel counted in each round, by its quota."""
        return {
            "no quota" if row.cpus is None else f"--cpus {row.cpus:g}":
            f"nr_periods {row.quota.periods}, nr_throttled {row.quota.throttled}"
            for row in self.rounds
        }  # fmt: skip

    def facts(self) -> str:
        # Between the ends of the curve it depends on who else wants the processors.
        free = [row for row in self.rounds if row.cpus is None]
        least = min((row for row in self.rounds if row.cpus), key=lambda row: row.cpus or 0)
        return (
            f"throttled without a quota: {yes_no(any(row.quota.throttled for row in free))}"
            f" · with --cpus {least.cpus:g}: {yes_no(least.quota.throttled > 0)}"
        )


class _Server:
    """A container that answers rounds of requests, and whose quota is changed while it runs."""

    def __init__(self, on: Context, container: Container):
        self._on, self._container, self._answers = on, container, 0
        self._lines(1)

    def _lines(self, count: int) -> list[str]:
        def look() -> list[str]:
            lines: list[str] = self._container.logs().decode().splitlines()
            if len(lines) < count:
                self._container.reload()
                if self._container.status == "exited":
                    raise LabError("The program that serves requests has ended.", cause=" ".join(lines[-1:]))
                return []
            return lines

        return wait_until(look, PATIENCE, "The requests were not done in time.")

    def round(self, cpus: float | None, *, stopped: bool = False) -> Round:
        """A round inside a quota of so many processors.

        Args:
            cpus: the quota; None for none.
            stopped: further rounds, five at most, until the kernel has stopped one: on a busy machine a container
                may get less than its quota, and then nobody needs to.
        """
        self._container.update(cpu_period=PERIOD, cpu_quota=-1 if cpus is None else int(cpus * PERIOD))
        for _ in range(5):
            before = read_quota(self._on, self._container.id)
            self._answers += 1
            self._container.kill(signal="USR1")
            answer = json.loads(self._lines(1 + self._answers)[self._answers])
            now = read_quota(self._on, self._container.id)
            counted = Quota(now.quota, now.period, now.periods - before.periods, now.throttled - before.throttled,
                            now.stopped - before.stopped, now.files)  # fmt: skip
            if counted.throttled or not stopped:
                break
        return Round(cpus, answer["seconds"], [(x, y) for x, y in answer["trace"]], counted)


@contextlib.contextmanager
def _server(on: Context, count: int) -> Iterator[_Server]:
    """A container that serves ``count`` requests a round, each of :data:`COST`."""
    program = data_file("apps", "limits", "requests.py").read_text()
    command = ["python3", "-u", "-c", program, str(count), str(COST)]
    with on.container(images.PYTHON, command, network_mode="none") as container:
        yield _Server(on, container)


def read_quota(on: Context, container: str) -> Quota:
    """A running container's quota and counters, from the kernel's files (``cpu.max`` or ``cpu.cfs_quota_us``)."""
    version = on.facts.cgroup_version
    files = on.observer.cgroup_files(container, _FILES[version], controller="cpu")["files"]
    if version == 1:
        limit, period = files["cpu.cfs_quota_us"], files["cpu.cfs_period_us"]
    else:
        limit, period = files["cpu.max"].split()
    count = {key: int(value) for key, value in re.findall(r"^(\w+) (\d+)$", files["cpu.stat"], flags=re.M)}
    stopped = count.get("throttled_usec", 0) / 1e6 + count.get("throttled_time", 0) / 1e9
    quota = None if limit in ("max", "-1") else int(limit)
    return Quota(quota, int(period), count.get("nr_periods", 0), count.get("nr_throttled", 0), stopped, files)


def _checked(on: Context, cpus: float | None) -> None:
    if cpus is not None and not 0.01 <= cpus <= on.facts.cpus:
        raise BadInput(
            f"--cpus {cpus:g} can't be: this engine's machine has {on.facts.cpus} processors.",
            next_step="Ask for 0.01 or more, and for no more than the machine has.",
        )


def throttle(on: Context, cpus: float | None = 0.3) -> Throttled:
    """Let a container work inside a quota (``--cpus``), None for none, and read how often the kernel stopped it.

    Method: fifteen requests, each of 20 ms on a processor, by one thread; warm. The program itself notes each gap of
    4 ms and more in which it did not run; ``nr_throttled`` is the kernel's, read before and after from outside.

    Raises:
        BadInput: more processors than the machine has, or next to none.
    """
    _checked(on, cpus)
    with _server(on, 15) as serves:
        return Throttled(on.facts, serves.round(cpus, stopped=cpus is not None and cpus < 0.5))


def latency(on: Context, quotas: Sequence[float | None] = (None, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1)) -> LatencyCurve:
    """Measure the same request inside several quotas (``--cpus``), None for none.

    Method: one container, its quota changed while it runs (``docker update --cpus``); twelve requests a quota, one
    after the other, each of 20 ms on a processor, timed inside from its start to its end; warm.

    Raises:
        BadInput: more processors than the machine has, or next to none.
    """
    for cpus in quotas:
        _checked(on, cpus)
    rounds = []
    with _server(on, 12) as serves:
        for number, cpus in enumerate(quotas):
            on.say(f"quota {number + 1} of {len(quotas)}", number / len(quotas))
            rounds.append(serves.round(cpus, stopped=cpus is not None and cpus < 0.2))
    return LatencyCurve(on.facts, COST, rounds)


class Quarrel(Result):
    """Two containers on one processor.

    ``rows`` are (seconds by the clock, the light one's seconds on the processor, the heavy one's); ``parts`` has the
    first and the last time of three parts: one alone, two with different weights, two with the same. ``weights`` are
    ``--cpu-shares`` of the light and of the heavy one; ``files`` is what the kernel had for each at first, by its name.
    """

    weights: tuple[int, int]
    rows: list[tuple[float, float, float]]
    parts: list[tuple[float, float]]
    files: tuple[str, str]
    throttled: int

    @property
    def got(self) -> list[tuple[float, float]]:
        """The seconds on the processor that the light one and the heavy one got in each part."""
        parts = [[row for row in self.rows if since <= row[0] <= until] for since, until in self.parts]
        return [(rows[-1][1] - rows[0][1], rows[-1][2] - rows[0][2]) for rows in parts]

    def share(self, part: int) -> float:
        """What the light one got of all that both got in a part, 0 to 1."""
        return self.got[part][0] / sum(self.got[part])

    def facts(self) -> str:
        light, heavy = self.weights
        alone, beside, equal = map(self.share, range(3))
        return (
            f"alone, weight {light}: it gets all there is: {yes_no(alone > 0.99)}\n"
            f"beside one of weight {heavy}: it gets much less than half: {yes_no(beside < 0.3)}\n"
            f"with the same weight: about half: {yes_no(0.35 < equal < 0.65)}\n"
            f"throttled in all that time: {self.throttled} times"
        )


def shares(on: Context, light: int = 128, heavy: int = 1024) -> Quarrel:
    """Let two containers quarrel for one processor, with weights (``--cpu-shares``, 2 to 262144).

    Method: both loop, bound to processor 0. The light one begins alone; the heavy one joins; then the light one gets
    the same weight (``docker update``). Each part lasts until the two have had 1.5 s of the processor together, so it
    is about the same on a busy machine. Read from the kernel's counters, ten times a second.
    """
    loop: dict[str, Any] = {"network_mode": "none", "cpuset_cpus": "0"}
    command = ["sh", "-c", "while :; do :; done"]
    rows: list[tuple[float, float, float]] = []
    with (
        on.container(images.BUSYBOX, command, cpu_shares=light, **loop) as first,
        on.container(images.BUSYBOX, command, cpu_shares=heavy, start=False, **loop) as second,
    ):
        began = time.monotonic()

        def part(both: bool) -> tuple[float, float]:
            """Let them run until they have had enough; the times of the first and of the last look."""
            looks = len(rows)

            def look() -> bool:
                used = (_used(on, first), _used(on, second) if both else 0.0)
                rows.append((time.monotonic() - began, *used))
                return sum(rows[-1][1:]) - sum(rows[looks][1:]) >= 1.5

            wait_until(look, PATIENCE, "Two containers got next to no processor time.", every=0.1)
            return rows[looks][0], rows[-1][0]

        on.say("one alone", 0.0)
        parts = [part(False)]
        second.start()
        on.say("two with different weights", 0.3)
        files = (_weight(on, first), _weight(on, second))
        parts.append(part(True))
        first.update(cpu_shares=heavy)
        on.say("two with the same weight", 0.6)
        parts.append(part(True))
        throttled = read_quota(on, first.id).throttled
    return Quarrel(on.facts, (light, heavy), rows, parts, files, throttled)


def _used(on: Context, container: Container) -> float:
    """Seconds that a container has had on processors."""
    if on.facts.cgroup_version == 1:
        files = on.observer.cgroup_files(container.id, ["cpuacct.usage"], controller="cpuacct")["files"]
        return int(files["cpuacct.usage"]) / 1e9
    text = on.observer.cgroup_files(container.id, ["cpu.stat"], controller="cpu")["files"]["cpu.stat"]
    return int(text.split()[1]) / 1e6  # the first line: usage_usec


def _weight(on: Context, container: Container) -> str:
    name = {1: "cpu.shares", 2: "cpu.weight"}[on.facts.cgroup_version]
    return f"{name} {on.observer.cgroup_files(container.id, [name], controller='cpu')['files'][name]}"
