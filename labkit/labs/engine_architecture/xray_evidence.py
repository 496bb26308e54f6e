"""What is known of one ``docker run``, from every source on one clock, and what it is called.

:mod:`labkit.labs.engine_architecture.xray` makes the runs; here their evidence is read.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from ...course.context import Context
from ...engine.faults import explained
from ...observe.clock import Clock
from ...observe.trail import Process, Trail
from ...observe.wiretap import Exchange

LANES = ("client", "dockerd", "containerd", "shim", "runc", "kernel", "program")

KERNEL, ENGINE, TAP, CLIENT = "kernel tracepoint", "engine event", "wiretap", "client's clock"
#: What stands in for the tracepoints where the kernel may not be traced.
SCAN = "process scan"

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

#: The same where the kernel may not be traced: only what the wiretap and the engine's events tell.
COARSE = (
    ("client and create", "start asked"),
    ("start", "start answered"),
    ("until the program has ended", "died"),
    ("clean up", "client done"),
)


_ITSELF = ("/proc/self/exe", "/proc/self/fd/", "/dev/fd/")


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
    start: float
    source: str


@dataclass(frozen=True)
class Seen:
    """What this side saw of a run: its requests, the engine's events, and when it ended on the clock.

    ``clock`` was read before the run; it counts from the moment in which the client was started.
    """

    command: str
    status: int
    clock: Clock
    ended: float
    exchanges: list[Exchange]
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)

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


def events(on: Context, seen: Seen) -> list[dict[str, Any]]:
    """The engine's events about this container."""
    since, until = seen.clock.to_wall(-0.01), seen.clock.to_wall(seen.ended + 0.05)
    with explained(on.session.engine.endpoint):
        rows = list(on.docker.api.events(since=f"{since:.6f}", until=f"{until:.6f}", decode=True))
    ours = seen.container
    return [row for row in rows if ours and ours in (row["Actor"]["ID"], row["Actor"]["Attributes"].get("container"))]


def segments(moments: dict[str, float], traced: bool = True) -> dict[str, float]:
    """Seconds by segment; empty when a moment is missing, for then a sum would hide something.

    Only the network hook may be missing: newer engines, and ``--network host``, have none. Not traced,
    the segments are the few that need no look into the kernel.
    """
    wanted = SEGMENTS if traced else COARSE
    if any(end not in moments for _, end in wanted if end != "hook done"):
        return {}
    found, since = {}, 0.0
    for name, end in wanted:
        if end not in moments:
            found[name] = 0.0
            continue
        # A moment may come a little before the one it should follow: two clocks, or work side by side.
        found[name] = max(0.0, moments[end] - since)
        since = max(since, moments[end])
    return found


class Reader:
    """Names what a container's processes did; each span comes from events that the kernel recorded."""

    def __init__(self, trail: Trail, seen: Seen):
        self.trail, self.container = trail, seen.container
        self._at = seen.clock.of_machine
        self.spans: list[Span] = []
        self.marks: list[Mark] = []
        self.moments: dict[str, float] = {}

    def _span(self, lane: str, name: str, start: float, end: float | None, detail: str = "") -> None:
        if end is not None:
            self.spans.append(Span(lane, name, self._at(start), self._at(end), KERNEL, detail))

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
            # runc runs itself again as init: by that path, since 1.2 from a sealed copy of itself in memory.
            inits = (one.born for one in below if one.programs and one.programs[0][1].startswith(_ITSELF))
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
        if made:
            joined = (event.time for event in self.trail.in_cgroup("cgroup_attach_task", self.container))
            last = max([made[-1].time, *(at for at in joined if at < made[0].time + 5)])
            self._span("kernel", "cgroup", made[0].time, last)
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
