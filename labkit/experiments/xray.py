"""X-ray of one ``docker run``: who did what and when, on one clock.

Three sources are merged: the kernel's tracepoints (through the observer), the engine's events,
and the client's requests as the wiretap sees them. Every span and mark names its source.
"""

from __future__ import annotations

import dataclasses
import shlex
import statistics
import subprocess
import time
from dataclasses import dataclass

from .. import images
from ..engine.dockercli import with_labels
from ..errors import BadInput, LabError, NotPossibleHere
from ..observe.trail import EVENTS, Trail
from ..observe.wiretap import Wiretap
from .context import Context
from .result import Result
from .xray_evidence import (
    CHAIN,
    CLIENT,
    ENGINE,
    TAP,
    Mark,
    Reader,
    Seen,
    Span,
    clocks,
    events,
    segments,
)  # fmt: skip

__all__ = ["Mark", "Series", "Span", "Xray", "compare", "many", "overhead", "run"]


@dataclass(frozen=True)
class Xray(Result):
    """One ``docker run``, seen through.

    ``segments`` are seconds by name, in order; ``lost`` counts trace events that the kernel had no
    room for; ``traced`` is False where the kernel may not be traced, and then ``why`` says why.
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

    @property
    def complete(self) -> bool:
        """Whether every link of the chain was seen."""
        return self.traced and not self.missing

    def facts(self) -> str:
        if not self.traced:
            return f"seen: client, engine events · kernel: not traced ({self.why})"
        whole = "yes" if not self.missing else f"no, missing: {', '.join(self.missing)}"
        return f"client → dockerd → containerd → shim → runc → kernel → program · every link seen: {whole}"

    def order(self) -> str:
        """The links of the chain, one a line, in the order in which they began."""
        first: dict[str, tuple[float, str]] = {}
        for thing in [*self.spans, *self.marks]:
            began = thing.start if isinstance(thing, Span) else thing.time
            if thing.name in CHAIN and began < first.get(thing.name, (float("inf"), ""))[0]:
                first[thing.name] = (began, thing.lane)
        rows = sorted((began, name, lane) for name, (began, lane) in first.items())
        return "\n".join(f"{number:>2}  {lane:<11} {name}" for number, (_, name, lane) in enumerate(rows, 1))


def run(on: Context, flags: str = "", *, image: str = images.BUSYBOX, command: str = "true") -> Xray:
    """Run ``docker run --rm FLAGS IMAGE COMMAND`` through the real client, and see through it.

    Args:
        flags: such as ``"--network none"`` or ``"--memory 64m"``.
        image: a lab image's reference.
        command: what runs in the container.

    Raises:
        BadInput: the command line was refused; its own words are in the message.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    with Wiretap(on.session.engine) as tap, _Tracer(on) as tracer:
        seen = _see(on, tap, flags, on.image(image), command)
    return _xray(on, seen, tracer)


def _see(on: Context, tap: Wiretap, flags: str, image: str, command: str) -> Seen:
    """One run by the real client, with all that this side sees of it."""
    words = _words(on, flags, image, command)
    before = clocks(on)
    first = len(tap.exchanges)
    began = time.monotonic()
    done = _client(on, words, tap)
    ended = time.monotonic()
    seen = Seen(shlex.join(words), done.returncode, began, ended, tap.exchanges[first:], before)
    started = seen.asked("start")
    if started is None or started.status >= 400:
        raise BadInput(f"docker run was refused: {done.stderr.strip()}", engine=on.session.engine.endpoint)
    # At once: the engine keeps only the last few hundred events.
    return dataclasses.replace(seen, events=events(on, seen))


def _words(on: Context, flags: str, image: str, command: str) -> list[str]:
    if on.session.engine.cli_path() is None:
        raise NotPossibleHere(
            "This machine has no docker command line to look through.",
            next_step="Install it (Debian: docker.io or docker-cli).",
        )
    on.session.show_life()
    return ["docker", "run", "--rm", *shlex.split(flags), image, *shlex.split(command)]


def _client(on: Context, words: list[str], tap: Wiretap | None) -> subprocess.CompletedProcess:
    engine = on.session.engine
    full = [engine.cli_path(), *with_labels(words, on.docker.lab_labels)[1:]]
    environment = tap.environment(engine) if tap else engine.process_environment()
    return subprocess.run(full, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


class _Tracer:
    """The kernel's trace for the length of a ``with`` block; ``why`` says why there is none.

    One trace serves a whole series: switching tracepoints off takes the kernel longer than a run.
    """

    def __init__(self, on: Context):
        self.why, self.rows, self.lost = "", [], 0
        self._stream = None
        try:
            stream = on.observer.stream("trace", events=list(EVENTS), size_kb=4096, rest=2.0)
            first = stream.next(15)
            if first and first.get("ready"):
                self._stream = stream
            else:
                self.why = "the trace did not start"
        except LabError as fault:
            self.why = fault.what

    def __enter__(self) -> _Tracer:
        return self

    def __exit__(self, *_) -> None:
        if self._stream is None:
            return
        self._stream.stop()
        for chunk in self._stream:
            self.rows += chunk.get("rows", ())
        self.lost = int(self._stream.result().get("lost", 0))

    def between(self, start: float, end: float) -> list[list]:
        """The events between two monotonic times of the engine's machine."""
        return [row for row in self.rows if start <= row[0] <= end]


def _xray(on: Context, seen: Seen, tracer: _Tracer) -> Xray:
    """All sources of one run, merged."""
    whole = seen.of(seen.ended)
    spans = [Span("client", "docker", 0.0, whole, CLIENT)]
    for word in ("create", "start"):
        one = seen.asked(word)
        if one is not None and one.answered is not None:
            spans.append(Span("dockerd", f"POST {word}", seen.of(one.began), seen.of(one.answered), TAP))
    marks = [
        Mark("dockerd", row["Action"] if row["Type"] == "container" else f"{row['Type']} {row['Action']}",
             seen.of_wall(row["timeNano"] / 1e9), ENGINE)
        for row in seen.events
    ]  # fmt: skip
    moments = {"start asked": seen.of(seen.asked("start").began), "client done": whole}
    if not tracer.why and seen.before:
        rows = tracer.between(seen.before.there, seen.before.there + seen.ended - seen.before.here + 0.1)
        reader = Reader(Trail(rows), seen, seen.container)
        reader.read()
        spans += reader.spans
        marks += reader.marks
        moments |= reader.moments
    names = {thing.name for thing in [*spans, *marks]}
    return Xray(
        engine=on.facts, command=seen.command, container=seen.container, status=seen.status, spans=spans, marks=marks,
        segments=segments(moments), missing=[name for name in CHAIN if name not in names], total=whole,
        traced=not tracer.why, lost=tracer.lost, why=tracer.why,
    )  # fmt: skip


@dataclass(frozen=True)
class Series(Result):
    """Several X-rays of one command each: ``runs`` by the flags they had."""

    runs: dict[str, list[Xray]]

    def medians(self) -> dict[str, dict[str, float]]:
        """Median seconds of each segment, by flags; only complete runs count."""
        found = {}
        for flags, runs in self.runs.items():
            good = [one.segments for one in runs if one.segments]
            if good:
                found[flags] = {name: statistics.median(one[name] for one in good) for name in good[0]}
        return found

    def facts(self) -> str:
        runs = [one for several in self.runs.values() for one in several]
        if not all(one.traced for one in runs):
            return "the kernel may not be traced here: no segments"
        whole = sum(one.complete for one in runs)
        lost = max(one.lost for one in runs)
        return f"the whole chain was seen in {whole} of {len(runs)} runs · trace events lost: {lost}"


def many(on: Context, n: int | None = None, flags: str = "") -> Series:
    """X-ray the same ``docker run`` several times.

    Args:
        n: runs; 20, or 5 on an emulated machine.
        flags: for ``docker run``.
    """
    return compare(on, flags, n=n or (5 if on.facts.emulated else 20))


def compare(on: Context, *flags: str, n: int | None = None) -> Series:
    """X-ray ``docker run`` with different flags, in turn, ``n`` times each.

    Method: each run is ``docker run --rm FLAGS labkit/busybox:1 true`` by the real client through
    the wiretap, warm (one run before, not counted). Segments go from one recorded event to the
    next; medians over complete runs.

    Args:
        flags: one string for each variant, such as ``""`` and ``"--network none"``.
        n: runs of each; 8, or 3 on an emulated machine.
    """
    n = n or (3 if on.facts.emulated else 8)
    found: dict[str, list[Xray]] = {one: [] for one in flags or ("",)}
    image = on.image()
    seen: list[tuple[str, Seen]] = []
    with Wiretap(on.session.engine) as tap, _Tracer(on) as tracer:
        for one in found:
            _see(on, tap, one, image, "true")
        for _ in range(n):
            seen += [(one, _see(on, tap, one, image, "true")) for one in found]
    for one, sight in seen:
        found[one].append(_xray(on, sight, tracer))
    return Series(on.facts, found)


def overhead(on: Context, n: int = 15) -> dict[str, list[float]]:
    """Seconds of ``docker run``, traced and not, in turn (for the benchmark).

    Timed is the client's process from start to end, warm. Untraced means neither tracepoints nor
    wiretap; traced means both.
    """
    image = on.image()
    words = _words(on, "", image, "true")
    seconds: dict[str, list[float]] = {"untraced": [], "traced": []}

    def timed(tap: Wiretap | None) -> float:
        began = time.perf_counter()
        done = _client(on, words, tap)
        if done.returncode:
            raise LabError(f"docker run failed: {done.stderr.strip()}")
        return time.perf_counter() - began

    with Wiretap(on.session.engine) as tap:
        timed(None)
        for _ in range(n):
            seconds["untraced"].append(timed(None))
            with _Tracer(on):
                seconds["traced"].append(timed(tap))
    return seconds
