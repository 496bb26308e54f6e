"""X-ray of one ``docker run``: who did what and when, on one clock.

Three sources are merged: the kernel's tracepoints (through the observer), the engine's events,
and the client's requests as the wiretap sees them. Every span and mark names its source.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import statistics
import subprocess
import time
from dataclasses import dataclass

from .. import images
from ..engine.dockercli import with_labels
from ..engine.faults import explained
from ..errors import BadInput, LabError, NotPossibleHere
from ..observe.trail import EVENTS, Event, Process, Trail
from ..observe.wiretap import Exchange, Wiretap
from .context import Context
from .result import Result

__all__ = ["Mark", "Series", "Span", "Xray", "compare", "many", "overhead", "run"]

LANES = ("client", "dockerd", "containerd", "shim", "runc", "kernel", "program")

KERNEL, ENGINE, TAP, CLIENT = "kernel tracepoint", "engine event", "wiretap", "client's clock"

#: What the chain consists of, in order; a run whose trace lacks one is not complete.
CHAIN = (
    "docker", "POST create", "POST start", "shim start", "shim", "runc create", "runc init", "cgroup",
    "unshare", "new root", "runc start", "program", "runc delete", "die",
)  # fmt: skip

#: Where the time goes: each segment ends at the named moment and starts at the one before.
SEGMENTS = (
    ("client and create", "start asked"),
    ("dockerd prepares", "shim start"),
    ("shim starts", "runc create"),
    ("cgroup and namespaces", "namespaces made"),
    ("network hook", "hook done"),
    ("root filesystem", "runc create done"),
    ("runc start", "program"),
    ("the program", "program done"),
    ("clean up", "client done"),
)


@dataclass(frozen=True)
class Span:
    """Something that lasted; times in seconds since the client was started."""

    lane: str
    name: str
    start: float
    end: float
    source: str
    #: More about it, such as the system call's name.
    detail: str = ""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    lane: str
    name: str
    time: float
    source: str


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


def _see(on: Context, tap: Wiretap, flags: str, image: str, command: str) -> _Seen:
    """One run by the real client, with all that this side sees of it."""
    words = _words(on, flags, image, command)
    before = _clocks(on)
    first = len(tap.exchanges)
    began = time.monotonic()
    done = _client(on, words, tap)
    ended = time.monotonic()
    seen = _Seen(shlex.join(words), done.returncode, began, ended, tap.exchanges[first:], before)
    started = seen.asked("start")
    if started is None or started.status >= 400:
        raise BadInput(f"docker run was refused: {done.stderr.strip()}", engine=on.session.engine.endpoint)
    # At once: the engine keeps only the last few hundred events.
    return dataclasses.replace(seen, events=_events(on, seen))


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


@dataclass(frozen=True)
class _Clock:
    """Both clocks of the engine's machine and ours at one moment, as well as a round trip lets us know."""

    here: float
    there: float
    wall: float


def _clocks(on: Context) -> _Clock | None:
    """The best of a few round trips: the shortest one leaves the least doubt."""
    best, shortest = None, float("inf")
    try:
        for _ in range(4):
            sent = time.monotonic()
            there = on.observer.call("clocks")
            took = time.monotonic() - sent
            if took < shortest:
                shortest, best = took, _Clock(sent + took / 2, there["monotonic"], there["wall"])
    except LabError:
        return None
    return best


@dataclass(frozen=True)
class _Seen:
    """What this side saw of a run: the client's times, its requests, and the clocks on both sides."""

    command: str
    status: int
    began: float
    ended: float
    exchanges: list[Exchange]
    before: _Clock | None
    events: list[dict] = dataclasses.field(default_factory=list)

    def of(self, moment: float) -> float:
        """A time of our own clock, as seconds since the client's start."""
        return moment - self.began

    def of_machine(self, moment: float) -> float:
        """A monotonic time of the engine's machine, as seconds since the client's start."""
        clock = self.before
        return moment - clock.there + clock.here - self.began

    def of_wall(self, moment: float) -> float:
        """A wall-clock time of the engine's machine, as seconds since the client's start."""
        clock = self.before or _Clock(self.began, self.began, time.time() - (time.monotonic() - self.began))
        return moment - clock.wall + clock.here - self.began

    def asked(self, word: str) -> Exchange | None:
        """The POST request whose path ends with a word."""
        paths = ((one.path.split("?")[0], one) for one in self.exchanges if one.method == "POST")
        return next((one for path, one in paths if path.endswith(f"/{word}")), None)

    @property
    def container(self) -> str:
        """The container's id, from the answer to the create request."""
        made = self.asked("create")
        answer = made.answer() if made else None
        return answer.get("Id", "") if isinstance(answer, dict) else ""


def _events(on: Context, seen: _Seen) -> list[dict]:
    """The engine's events about this container."""
    clock = seen.before or _Clock(seen.began, 0.0, time.time() - (time.monotonic() - seen.began))
    since, until = clock.wall - 0.01, clock.wall + (seen.ended - clock.here) + 0.05
    with explained(on.session.engine.endpoint):
        rows = list(on.docker.api.events(since=f"{since:.6f}", until=f"{until:.6f}", decode=True))
    ours = seen.container
    return [row for row in rows if ours and ours in (row["Actor"]["ID"], row["Actor"]["Attributes"].get("container"))]


def _xray(on: Context, seen: _Seen, tracer: _Tracer) -> Xray:
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
        reader = _Reader(Trail(rows), seen, seen.container)
        reader.read()
        spans += reader.spans
        marks += reader.marks
        moments |= reader.moments
    names = {thing.name for thing in [*spans, *marks]}
    return Xray(
        engine=on.facts, command=seen.command, container=seen.container, status=seen.status, spans=spans, marks=marks,
        segments=_segments(moments), missing=[name for name in CHAIN if name not in names], total=whole,
        traced=not tracer.why, lost=tracer.lost, why=tracer.why,
    )  # fmt: skip


def _segments(moments: dict[str, float]) -> dict[str, float]:
    """Seconds by segment; empty when a moment is missing, for then a sum would hide something.

    Only the network hook may be missing: newer engines, and ``--network host``, have none.
    """
    if any(end not in moments for _, end in SEGMENTS if end != "hook done"):
        return {}
    found, since = {}, 0.0
    for name, end in SEGMENTS:
        if end not in moments:
            found[name] = 0.0
            continue
        # A moment may come a little before the one it should follow: two clocks, or work side by side.
        found[name] = max(0.0, moments[end] - since)
        since = max(since, moments[end])
    return found


class _Reader:
    """Names what a container's processes did; each span comes from events that the kernel recorded."""

    def __init__(self, trail: Trail, seen: _Seen, container: str):
        self.trail, self.seen, self.container = trail, seen, container
        self.spans: list[Span] = []
        self.marks: list[Mark] = []
        self.moments: dict[str, float] = {}

    def _span(self, lane: str, name: str, start: float, end: float | None, detail: str = "") -> None:
        if end is not None:
            self.spans.append(Span(lane, name, self._at(start), self._at(end), KERNEL, detail))

    def _at(self, moment: float) -> float:
        return self.seen.of_machine(moment)

    def _keep(self, name: str, moment: float) -> None:
        self.moments[name] = self._at(moment)

    def read(self) -> None:
        root = self.trail.root_of(self.container)
        if root is None or not root.programs:
            return
        family = root.family()
        self.marks.append(Mark("containerd", "forks a shim", self._at(root.born), KERNEL))
        self._span("shim", "shim start", root.programs[0][0], root.ended)
        self._keep("shim start", root.programs[0][0])
        shim = next((one for one in family[1:] if one.runs("shim")), None)
        if shim is not None:
            self._span("shim", "shim", shim.programs[0][0], shim.ended)
        self._read_runtime(family)
        self._read_kernel({one.pid for one in family})

    def _read_runtime(self, family: list[Process]) -> None:
        makers = {self.trail.process_of(e.task) for e in self.trail.in_cgroup("cgroup_mkdir", self.container)}
        removers = {self.trail.process_of(e.task) for e in self.trail.in_cgroup("cgroup_rmdir", self.container)}
        create = next((one for one in family if one.pid in makers), None)
        if create is None or not create.programs:
            return
        runtime = create.programs[0][1].rsplit("/", 1)[-1]
        self._span("runc", "runc create", create.programs[0][0], create.ended)
        self._keep("runc create", create.programs[0][0])
        if create.ended is not None:
            self._keep("runc create done", create.ended)
        below = create.family()[1:]
        main = self._main(below)
        for one in below:
            # dockerd's own program, given as /proc/PID/exe: the hook that connects the network.
            if one.programs and re.match(r"/proc/\d+/exe$", one.programs[0][1]) and one.ended is not None:
                self._span("dockerd", "network hook", one.programs[0][0], one.ended)
                self._keep("hook done", one.ended)
        if main is not None:
            program = main.programs[-1][0]
            inits = (one.born for one in below if one.programs and one.programs[0][1] == "/proc/self/exe")
            born = next(inits, main.born)
            self._span("runc", "runc init", born, program)
            self.marks.append(Mark("kernel", "exec", self._at(program), KERNEL))
            self._span("program", "program", program, main.ended)
            self._keep("program", program)
            if main.ended is not None:
                self._keep("program done", main.ended)
        for one in family:
            if one is create or one in below or not one.programs or not one.programs[0][1].endswith("/" + runtime):
                continue
            if one.pid in removers:
                self._span("runc", "runc delete", one.programs[0][0], one.ended)
            elif main is None or one.programs[0][0] < main.programs[-1][0]:
                self._span("runc", "runc start", one.programs[0][0], one.ended)
            else:
                self._span("runc", "runc", one.programs[0][0], one.ended)

    @staticmethod
    def _main(below: list[Process]) -> Process | None:
        """Process 1 of the container: below ``runc init``, and its last program is a file, not /proc or /dev/fd."""
        for one in below:
            if one.programs and not one.programs[-1][1].startswith(("/proc/", "/dev/fd/")):
                return one
        return None

    def _read_kernel(self, pids: set[int]) -> None:
        made = self.trail.in_cgroup("cgroup_mkdir", self.container)
        joined = self.trail.in_cgroup("cgroup_attach_task", self.container)
        if made:
            last: Event = (joined or made)[-1] if not joined else max(
                (event for event in joined if event.time < made[0].time + 5), key=lambda event: event.time
            )  # fmt: skip
            self._span("kernel", "cgroup", made[0].time, max(last.time, made[-1].time))
        gone = self.trail.in_cgroup("cgroup_rmdir", self.container)
        if gone:
            self.marks.append(Mark("kernel", "cgroup gone", self._at(gone[-1].time), KERNEL))
        ends = []
        for entered, returned, _ in self.trail.calls("unshare", pids):
            self._span("kernel", "unshare", entered, returned)
            ends.append(returned)
        if ends:
            first_program = self.moments.get("program")
            before = [end for end in ends if first_program is None or self._at(end) < first_program]
            self._keep("namespaces made", max(before or ends))
        for call in ("pivot_root", "chroot"):
            found = self.trail.calls(call, pids)
            if found:
                entered, returned, _ = found[-1]
                self._span("kernel", "new root", entered, returned, call)
                break


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
    seen: list[tuple[str, _Seen]] = []
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
