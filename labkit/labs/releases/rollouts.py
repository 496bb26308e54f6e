"""A new release under load: which requests are lost, by the way in which it takes the old one's place."""

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable

from ...course.benchmark import rounds
from ...course.context import Context
from ...course.result import Result
from ...observe.visitor import Visit
from ...units import yes_no
from .kiosk import BAD, WAYS, open_kiosk, pace

#: Called with the requests that have ended so far.
Watch = Callable[[list[Visit]], object]

#: Seconds after which a comparison begins no other round where the processor is emulated.
PATIENT = 30.0


class Rollout(Result):
    """One rollout and all requests around it.

    ``visits`` are the requests, in the order of their begin; ``began`` and ``ended`` are when the rollout did, in
    seconds on their clock (to within the time of an answer). ``release`` is what was rolled out, ``before`` and
    ``after`` are what served then; ``found`` is why it was given up, "" where it was not.
    """

    way: str
    before: str
    release: str
    after: str
    visits: list[Visit]
    began: float
    ended: float
    every: float
    found: str = ""

    @property
    def lost(self) -> list[Visit]:
        """The requests without a good answer: refused, broken, or answered with an error."""
        return [visit for visit in self.visits if visit.status != 200]

    def answers(self) -> str:
        """Which answers came from whom, and how often: HTTP status, server and its release; 0 where none came."""
        counted = Counter((visit.status, visit.server or "nobody") for visit in self.visits)
        return " · ".join(f"{status} from {server}: {count}" for (status, server), count in sorted(counted.items()))

    def facts(self) -> str:
        end = f"given up, release {self.after} serves" if self.found else f"release {self.after} serves"
        return f"{self.way}: {end} · requests lost: {some(self.lost)}"


def release_of(visit: Visit) -> str:
    """Which release answered; "" where it was none."""
    name, _, release = visit.server.partition(" ")
    return release if name != "door" else ""


def some(rows: list[Visit]) -> str:
    """``some`` or ``none``: how many, differs from run to run."""
    return "some" if rows else "none"


def rollout(
    on: Context, way: str = "rolling", release: str = "", *, look: bool = True, watch: Watch | None = None
) -> Rollout:
    """Roll a release out while customers ask without pause.

    Method: a visitor in the kiosk's network begins a GET at the door every 50 ms (emulated 400 ms), each on a
    connection of its own and whether those before were answered or not, from ten requests (four) before the rollout
    until as many after it. Images are built before. Lost is what was not answered with 200.

    Args:
        way: ``"stop and start"``, ``"rolling"`` or ``"blue/green"``.
        release: what to roll out; by default 2 after 1 and 1 after 2.
        look: wait for the health check before a new server is asked; give up and go back where it fails.
        watch: called with the requests so far, now and then.

    Raises:
        BadInput: no such way.
    """
    kiosk, times = open_kiosk(on), pace(on)
    before = kiosk.release
    release = release or ("2" if before == "1" else "1")
    kiosk.prepare(way, release)
    visitor = on.visitor(kiosk.network)
    with visitor.steady(kiosk.url, times.every, timeout=2 * times.timeout) as load:

        def meanwhile() -> None:
            load.look()
            if watch:
                watch(load.rows)

        def pass_by() -> None:
            enough = len(load.look()) + times.around
            while len(load.look(times.every)) < enough and not load.ended:
                meanwhile()

        kiosk.meanwhile = meanwhile
        try:
            pass_by()
            began = load.now()
            on.say(f"{way}: release {release}")
            found = kiosk.replace(way, release, look=look)
            ended = load.now()
            pass_by()
        finally:
            kiosk.meanwhile = lambda: None
    if watch:
        watch(load.rows)
    return Rollout(on.facts, way, before, release, kiosk.release, load.rows, began, ended, times.every, found)


class Comparison(Result):
    """Several rollouts in each way, in the order in which they were done, and the answers in each."""

    rollouts: dict[str, list[Rollout]]
    answers: dict[str, list[str]]

    @property
    def n(self) -> int:
        """Rollouts in each way."""
        return min(len(rows) for rows in self.rollouts.values())

    def lost(self, way: str) -> list[int]:
        """Requests lost in each rollout."""
        return [len(one.lost) for one in self.rollouts[way]]

    def facts(self) -> str:
        lines = [f"{'':<16}{'rollouts that lost requests':<29}all reached the new release"]
        for way, rows in self.rollouts.items():
            losers = sum(bool(count) for count in self.lost(way))
            which = {0: "none", len(rows): "every one"}.get(losers, f"{losers} of {len(rows)}")
            lines.append(f"{way:<16}{which:<29}{yes_no(all(not row.found for row in rows))}")
        return "\n".join(lines)

    def table(self) -> list[tuple[str, float, int, int, float]]:
        """For each way: median, smallest and largest number of lost requests, and the median rollout's seconds."""
        return [
            (way, statistics.median(lost), min(lost), max(lost), statistics.median(one.ended - one.began for one in rows))
            for way, rows in self.rollouts.items()
            for lost in [self.lost(way)]
        ]  # fmt: skip


def compare(on: Context, n: int | None = None) -> Comparison:
    """Roll out under load in each way, in turn, n = 5 times: release 2, then 1, then 2 again.

    Method: as for :func:`rollout`; nothing else differs between the ways. Where the processor is emulated n is 3 at
    most, and no round begins after half a minute, unless n was asked for.
    """
    limit = PATIENT if on.facts.emulated and n is None else math.inf
    n, began = rounds(on.facts, n, 5), time.monotonic()
    found: dict[str, list[Rollout]] = {way: [] for way in WAYS}
    for number in itertools.takewhile(lambda number: not number or time.monotonic() - began < limit, range(n)):
        for place, way in enumerate(WAYS):
            on.say(f"{way}, {number + 1} of {n}", (number + place / len(WAYS)) / n)
            found[way].append(rollout(on, way))
    return Comparison(on.facts, found, {way: [run.answers() for run in rows] for way, rows in found.items()})


class BadRelease(Result):
    """The same bad release rolled out without a look at its health, and with one; ``back`` is how the first was undone.

    ``answers`` are those in each of the three; ``found`` is why the last one was given up.
    """

    blind: Rollout
    back: Rollout
    looking: Rollout
    answers: list[str]
    found: str

    def facts(self) -> str:
        return "\n".join([
            f"without a look   all servers renewed: {yes_no(not self.blind.found)} · requests lost: {some(self.blind.lost)} "
            f"· mended by: a second rollout",
            f"with a look      given up: {yes_no(bool(self.looking.found))} · release {self.looking.after} serves "
            f"· requests lost: {some(self.looking.lost)} · mended by: itself",
        ])  # fmt: skip


def bad(on: Context) -> BadRelease:
    """Roll a release out that can't sell anything: first without a look at its health, and back; then with one.

    Method: rolling, as for :func:`rollout`. Its tests pass; whoever asks it gets a 500.
    """
    good = open_kiosk(on).release
    blind = rollout(on, "rolling", BAD, look=False)
    back = rollout(on, "rolling", good)
    looking = rollout(on, "rolling", BAD)
    return BadRelease(on.facts, blind, back, looking, [run.answers() for run in (blind, back, looking)], looking.found)
