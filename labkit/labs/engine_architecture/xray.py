"""X-ray of one ``docker run``: who did what and when, on one clock.

Three sources are merged: the kernel's tracepoints (through the observer), the engine's events,
and the client's requests as the wiretap sees them. Every span and mark names its source. Where the
kernel may not be traced (a rootless engine, gVisor, a locked-down kernel), looking through ``/proc``
again and again stands in for the tracepoints, and every span of it says so.
"""

import contextlib
import dataclasses
import shlex
import statistics
import subprocess
import time
from typing import Self, TypeVar

from ... import images
from ...course.benchmark import rounds
from ...course.context import Context
from ...course.result import Result
from ...engine.dockercli import command_line, read_words
from ...errors import BadInput, LabError
from ...observe.clock import Clock
from ...observe.rows import Ending, Event, Look, Rows
from ...observe.trail import EVENTS, Trail
from ...observe.wiretap import Wiretap
from .xray_evidence import CHAIN, CLIENT, ENGINE, TAP, Mark, Reader, Seen, Span, events, segments
from .xray_scan import spans as scanned

T = TypeVar("T", Event, Look)


class Xray(Result):
    """One ``docker run``, seen through.

    ``segments`` are seconds by name, in order; ``lost`` counts trace events that the kernel had no
    room for, ``lacking`` names tracepoints that this kernel doesn't have. ``traced`` is False where the
    kernel may not be traced: then ``why`` says why, and ``looks`` and ``longest`` are how often ``/proc``
    was looked through instead (0: not at all) and the longest pause between two looks in seconds.
    """

    command: str
    container: str
    status: int
    spans: list[Span]
    marks: list[Mark]
    segments: dict[str, float]
    missing: list[str]
    total: float
    traced: bool
    lost: int
    why: str
    lacking: tuple[str, ...] = ()
    looks: int = 0
    longest: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every link of the chain was seen."""
        return self.traced and not self.missing

    def facts(self) -> str:
        if not self.traced:
            instead = "processes by scanning, and" if self.looks else "only"
            return f"the kernel may not be traced here: {self.why}\nseen: {instead} client, wiretap and engine events"
        whole = "yes" if not self.missing else f"no, missing: {', '.join(self.missing)}"
        return f"client → dockerd → containerd → shim → runc → kernel → program · every link seen: {whole}"

    def order(self) -> str:
        """The links of the chain, one a line, in the order in which they began."""
        first: dict[str, str] = {}
        things: list[Span | Mark] = [*self.spans, *self.marks]
        for one in sorted(things, key=lambda one: (one.start, one.name)):
            if one.name in CHAIN:
                first.setdefault(one.name, one.lane)
        return "\n".join(f"{number:>2}  {lane:<11} {name}" for number, (name, lane) in enumerate(first.items(), 1))


def run(on: Context, flags: str = "", *, image: str = images.BUSYBOX, command: str = "true") -> Xray:
    """Run ``docker run --rm FLAGS IMAGE COMMAND`` through the real client, and see through it.

    Raises:
        BadInput: the command line was refused; its own words are in the message.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    with Wiretap(on.session.engine) as tap, _Tracer(on) as tracer:
        seen = _see(on, tap, flags, on.image(image), command)
    return _xray(on, seen, tracer)


def _see(on: Context, tap: Wiretap, flags: str, image: str, command: str) -> Seen:
    """One run by the real client, with all that this side sees of it."""
    words, line = _line(on, flags, image, command)
    environment = tap.environment(on.session.engine)
    try:
        clock = on.observer.clock()
    except LabError:  # nobody is there to be asked
        clock = Clock.ours()
    first = len(tap.exchanges)
    clock = clock.since(clock.of_here(time.monotonic()))
    done = _client(line, environment)
    ended = clock.of_here(time.monotonic())
    seen = Seen(shlex.join(words), done.returncode, clock, ended, tap.exchanges[first:])
    started = seen.asked("start")
    if started is None or started.status >= 400:
        raise BadInput(f"docker run was refused: {done.stderr.strip()}", engine=on.session.engine.endpoint)
    # At once: the engine keeps only the last few hundred events.
    return dataclasses.replace(seen, events=events(on, seen))


def _line(on: Context, flags: str, image: str, command: str) -> tuple[list[str], list[str]]:
    """A ``docker run`` as one types it, and as it is started."""
    words = read_words(f"docker run --rm {flags} {image} {command}")
    on.session.engine.cli_path()  # fetched in sight
    return words, command_line(on.session, words)


def _client(line: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


class _Tracer:
    """The kernel's trace for the length of a ``with`` block, or a scan of its processes where that is refused.

    ``why`` says why there is no trace; then ``looks`` is the process scan, or None where even that fails.
    One trace serves a whole series: switching tracepoints off takes the kernel longer than a run.
    """

    def __init__(self, on: Context):
        self.trace: Rows[Event, Ending] | None = None
        self.looks: Rows[Look, Ending] | None = None
        self.why, self.end, self.lacking = "", Ending(), ()
        try:
            self.trace = on.observer.trace(EVENTS, size_kb=4096, rest=2.0)
            self.lacking = tuple(self.trace.first["missing"])
        except LabError as fault:
            self.why = fault.what
            with contextlib.suppress(LabError):
                self.looks = on.observer.watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.trace or self.looks or contextlib.nullcontext() as running:
            if running is not None and kind is None:
                self.end = running.end()


def _during(seen: Seen, rows: Rows[T, Ending] | None) -> list[T]:
    """The rows from the moment when the clocks were compared, before the run, until a little after its end."""
    start, end = seen.clock.machine, seen.ended + seen.clock.doubt + 0.1
    return [row for row in rows.rows if start <= row.time and seen.clock.of_machine(row.time) <= end] if rows else []


def _xray(on: Context, seen: Seen, tracer: _Tracer) -> Xray:
    """All sources of one run, merged."""
    clock, whole = seen.clock, seen.ended
    spans = [Span("client", "docker", 0.0, whole, CLIENT)]
    moments = {"client done": whole}
    for word in ("create", "start"):
        one = seen.asked(word)
        if one is not None and one.answered is not None:
            asked, answered = clock.of_here(one.began), clock.of_here(one.answered)
            spans.append(Span("dockerd", f"POST {word}", asked, answered, TAP))
            moments |= {f"{word} asked": asked, f"{word} answered": answered}
    marks = [
        Mark("dockerd", row["Action"] if row["Type"] == "container" else f"{row['Type']} {row['Action']}",
             clock.of_wall(row["timeNano"] / 1e9), ENGINE)
        for row in seen.events
    ]  # fmt: skip
    if tracer.why:
        spans += scanned(_during(seen, tracer.looks), seen)
        moments |= [("died", mark.start) for mark in reversed(marks) if mark.name == "die"]
    else:
        reader = Reader(Trail(_during(seen, tracer.trace)), seen)
        reader.read()
        spans += reader.spans
        marks += reader.marks
        moments |= reader.moments
    names = {one.name for one in spans} | {one.name for one in marks}
    return Xray(
        engine=on.facts, command=seen.command, container=seen.container, status=seen.status, spans=spans, marks=marks,
        segments=segments(moments, "" if tracer.why else on.facts.version), missing=[name for name in CHAIN if name not in names], total=whole,
        traced=not tracer.why, lost=tracer.end.get("lost", 0), why=tracer.why, lacking=tracer.lacking,
        looks=tracer.end.get("looks", 0), longest=tracer.end.get("longest", 0.0),
    )  # fmt: skip


class Series(Result):
    """Several X-rays of one command each: ``runs`` by the flags they had."""

    runs: dict[str, list[Xray]]

    def medians(self) -> dict[str, dict[str, float]]:
        """Median seconds of each segment, by flags; only runs with every moment count."""
        found = {}
        for flags, runs in self.runs.items():
            good = [one.segments for one in runs if one.segments]
            if good:
                found[flags] = {name: statistics.median(one[name] for one in good) for name in good[0]}
        return found

    def facts(self) -> str:
        runs = [one for several in self.runs.values() for one in several]
        if not all(one.traced for one in runs):
            return "the kernel may not be traced here: only the segments that wiretap and engine events tell"
        return f"{_seen(runs)} · trace events lost: {max(one.lost for one in runs)}"


def _seen(runs: list[Xray]) -> str:
    # How many there are depends on the time that a run takes, so on the engine.
    whole = sum(one.complete for one in runs)
    return f"the whole chain was seen in {'every run' if whole == len(runs) else f'{whole} of {len(runs)} runs'}"


def compare(on: Context, *flags: str, n: int | None = None) -> Series:
    """X-ray ``docker run`` with different flags, in turn, ``n`` times each.

    Method: each run is ``docker run --rm FLAGS labkit/busybox:1 true`` by the real client through
    the wiretap, warm (one run before, not counted). Segments go from one recorded event to the
    next; medians over complete runs. n = 20 of each (3 where emulated).

    Args:
        flags: one string for each variant, such as ``""`` and ``"--network none"``.
        n: runs of each; 20, or 3 on an emulated machine.
    """
    n = rounds(on.facts, n, 20)
    found: dict[str, list[Xray]] = {one: [] for one in flags or ("",)}
    image = on.image()
    seen: list[tuple[str, Seen]] = []
    with Wiretap(on.session.engine) as tap, _Tracer(on) as tracer:
        _see(on, tap, next(iter(found)), image, "true")
        for number in range(n):
            on.say(f"round {number + 1} of {n}")
            seen += [(one, _see(on, tap, one, image, "true")) for one in found]
    for one, sight in seen:
        found[one].append(_xray(on, sight, tracer))
    return Series(on.facts, found)


class Overhead(Result):
    """What the X-ray costs: seconds of the same ``docker run``, pair by pair; ``runs`` are the traced ones."""

    untraced: list[float]
    traced: list[float]
    runs: list[Xray]

    @property
    def ratio(self) -> float:
        """Median of the traced runs divided by the median of the untraced ones."""
        return statistics.median(self.traced) / statistics.median(self.untraced)

    def facts(self) -> str:
        return f"pairs: {len(self.runs)} · {_seen(self.runs)}"


def overhead(on: Context, n: int = 50) -> Overhead:
    """Measure what the X-ray costs.

    Method: ``n`` pairs of ``docker run --rm labkit/busybox:1 true``, one with neither tracepoints nor
    wiretap, one with both; every second pair the other way round. Timed is the client's process from
    start to end, warm; switching the tracepoints on and off lies outside. Each traced run is then read
    like any other X-ray, so that what was timed is what was seen.
    """
    image = on.image()
    _, line = _line(on, "", image, "true")
    environment = on.session.engine.process_environment()
    untraced: list[float] = []
    sights: list[tuple[Seen, _Tracer]] = []
    with Wiretap(on.session.engine) as tap:
        for number in range(-2, 2 * n):  # the first pair is a warm-up
            if number % 4 in (1, 2):
                began = time.monotonic()
                done = _client(line, environment)
                untraced.append(time.monotonic() - began)
                if done.returncode:
                    raise LabError(f"docker run failed: {done.stderr.strip()}")
            else:
                with _Tracer(on) as tracer:
                    sight = _see(on, tap, "", image, "true")
                sights.append((sight, tracer))
    runs = [_xray(on, sight, tracer) for sight, tracer in sights[1:]]
    return Overhead(on.facts, untraced[1:], [sight.ended for sight, _ in sights[1:]], runs)
