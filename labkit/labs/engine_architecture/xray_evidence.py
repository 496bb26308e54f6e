"""What is known of one ``docker run``, from every source on one clock, and what it is called.

:mod:`labkit.labs.engine_architecture.xray` makes the runs; here their evidence is read.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from ...course.context import Context
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


def sections(version: str) -> list[tuple[str, str]]:
    """Where the time goes: each segment ends at the named moment and starts at the one before.

    Until Engine 27 ``runc create`` called dockerd for the network, in a hook; since 28 dockerd makes it after
    ``runc create`` and before ``runc start`` (moby/moby issues 51077 and 52488).
    """
    hooked = int(version.partition(".")[0]) < 28
    network = ("network", "hook done" if hooked else "runc start")
    root = ("root filesystem", "runc create done")
    return [
        ("client and create", "start asked"),
        ("dockerd prepares", "shim start"),
        ("shim starts", "runc create"),
        ("cgroup and namespaces", "namespaces made"),
        *((network, root) if hooked else (root, network)),
        ("runc start", "program"),
        ("the program", "program done"),
        ("clean up", "client done"),
    ]


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
    rows = on.events(seen.clock.to_wall(-0.01), seen.clock.to_wall(seen.ended + 0.05))
    ours = seen.container
    return [row for row in rows if ours and ours in (row["Actor"]["ID"], row["Actor"]["Attributes"].get("container"))]


def segments(moments: dict[str, float], version: str = "") -> dict[str, float]:
    """Seconds by segment; empty when a moment is missing, for then a sum would hide something.

    Only the network's hook may be missing: ``--network host`` has none.

    Args:
        moments: seconds by name.
        version: the engine's; without it (not traced) the segments are the few that need no look into the kernel.
    """
    wanted = sections(version) if version else COARSE
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

    def _span(self, lane: str, name: str, start: float, end: float | None, *, detail: str = "",
              begins: str = "", ends: str = "") -> None:  # fmt: skip
        """A span, where its end was seen, and the moments at which it begins and ends."""
        if begins:
            self.moments[begins] = self._at(start)
        if end is not None:
            self.spans.append(Span(lane, name, self._at(start), self._at(end), KERNEL, detail))
        if ends and end is not None:
            self.moments[ends] = self._at(end)

    def _ran(self, lane: str, name: str, process: Process, **moments: str) -> None:
        self._span(lane, name, process.programs[0][0], process.ended, **moments)

    def _mark(self, lane: str, name: str, moment: float) -> None:
        self.marks.append(Mark(lane, name, self._at(moment), KERNEL))

    def read(self) -> None:
        """Name all that the trace has of this container."""
        root = self.trail.root_of(self.container)
        if root is None or not root.programs:
            return
        family = root.family()
        self._mark("containerd", "forks a shim", root.born)
        self._ran("shim", "shim start", root, begins="shim start")
        for shim in [one for one in family[1:] if one.runs("shim")][:1]:
            self._ran("shim", "shim", shim)
        self._read_runtime([one for one in family if one.programs])
        self._read_kernel({one.pid for one in family})

    def _read_runtime(self, family: list[Process]) -> None:
        makers, removers = (
            {self.trail.process_of(event.task) for event in self.trail.in_cgroup(name, self.container)}
            for name in ("cgroup_mkdir", "cgroup_rmdir")
        )
        create = next((one for one in family if one.pid in makers), None)
        if create is None:
            return
        self._ran("runc", "runc create", create, begins="runc create", ends="runc create done")
        below = [one for one in create.family()[1:] if one.programs]
        for one in below:
            # dockerd's own program, given as /proc/PID/exe: the hook that connects the network.
            if re.match(r"/proc/\d+/exe$", one.programs[0][1]):
                self._ran("dockerd", "network hook", one, ends="hook done")
        # Process 1 of the container: below ``runc init``, and its last program is a file, not /proc or /dev/fd.
        main = next((one for one in below if not one.programs[-1][1].startswith(("/proc/", "/dev/fd/"))), None)
        program = float("inf")
        if main is not None:
            program = main.programs[-1][0]
            # runc runs itself again as init: by that path, since 1.2 from a sealed copy of itself in memory.
            inits = (one.born for one in below if one.programs[0][1].startswith(_ITSELF))
            self._span("runc", "runc init", next(inits, main.born), program)
            self._mark("kernel", "exec", program)
            self._span("program", "program", program, main.ended, begins="program", ends="program done")
        runtime = "/" + create.programs[0][1].rsplit("/", 1)[-1]
        known = {one.pid for one in (create, *below)}
        for one in family:
            begun, path = one.programs[0]
            if one.pid not in known and path.endswith(runtime):
                verb = " delete" if one.pid in removers else " start" if begun < program else ""
                self._ran("runc", f"runc{verb}", one, begins="runc start" if verb == " start" else "")

    def _read_kernel(self, pids: set[int]) -> None:
        made = self.trail.in_cgroup("cgroup_mkdir", self.container)
        if made:
            joined = (event.time for event in self.trail.in_cgroup("cgroup_attach_task", self.container))
            last = max([made[-1].time, *(at for at in joined if at < made[0].time + 5)])
            self._span("kernel", "cgroup", made[0].time, last)
        for gone in self.trail.in_cgroup("cgroup_rmdir", self.container)[-1:]:
            self._mark("kernel", "cgroup gone", gone.time)
        unshared = self.trail.calls("unshare", pids)
        for entered, returned, _ in unshared:
            self._span("kernel", "unshare", entered, returned)
        ends = [self._at(returned) for _, returned, _ in unshared]
        if ends:
            program = self.moments.get("program", float("inf"))
            self.moments["namespaces made"] = max([end for end in ends if end < program] or ends)
        moved = self.trail.calls("pivot_root", pids) or self.trail.calls("chroot", pids)
        for entered, returned, call in moved[-1:]:
            self._span("kernel", "new root", entered, returned, detail=call.name.removeprefix("sys_enter_"))
