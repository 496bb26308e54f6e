"""Where the kernel may not be traced: a container's processes as repeated looks at ``/proc`` show them.

Poorer than a trace, and marked as such: a time is that of the look at which something was first
seen or first missed, and what is shorter than the pause between two looks is not seen at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ...observe.rows import Look
from .xray_evidence import SCAN, Seen, Span

_RUNTIMES = ("runc", "crun", "runsc", "youki")


@dataclass
class Phase:
    """One process while it was one program; times on the machine's monotonic clock (s)."""

    pid: int
    parent: int
    command: list[str]
    start: float
    end: float | None = None

    @property
    def program(self) -> str:
        """The file name of its program."""
        return self.command[0].rsplit("/", 1)[-1] if self.command else ""


def phases(rows: Iterable[Look]) -> list[Phase]:
    """What was looked at as phases, in the order in which they were seen."""
    found: list[Phase] = []
    running: dict[int, Phase] = {}
    for at, pid, parent, _, command in rows:
        now = running.get(pid)
        if now is not None and command == now.command:
            continue  # only its parent or its name changed
        if now is not None:
            now.end = at
            del running[pid]
        if command and command[0]:  # between two programs, and on its way out, a process has no command line
            running[pid] = Phase(pid, parent, command, at)
            found.append(running[pid])
    return found


def _name(phase: Phase, container: str, inits: set[int], shims: set[int]) -> tuple[str, str] | None:
    """Lane and name of a phase; None where it isn't this container's."""
    words = phase.command
    ours = any(container in word for word in words)
    if ours and "shim" in phase.program:
        return "shim", f"shim {words[-1]}" if words[-1] in ("start", "delete") else "shim"
    if ours and phase.program in _RUNTIMES:
        verb = next((word for word in words if word in ("create", "start", "delete", "kill")), "")
        return "runc", f"runc {verb}".strip()
    if ours and "setkey" in words[0]:
        return "dockerd", "network hook"
    if phase.pid in inits and words[1:2] == ["init"]:
        return "runc", "runc init"
    if phase.pid in inits or phase.parent in shims:
        return "program", "program"
    return None


def spans(rows: Iterable[Look], seen: Seen) -> list[Span]:
    """What a container's processes did, as far as the looks show it; every source is the process scan."""
    looked = phases(rows)
    ours: set[int] = set()
    for one in looked:
        if one.parent in ours or any(seen.container in word for word in one.command):
            ours.add(one.pid)
    inits = {one.pid for one in looked if one.pid in ours and one.command[1:2] == ["init"]}
    shims = {one.pid for one in looked if one.pid in ours and "shim" in one.program}
    longest: dict[str, Span] = {}
    for one in looked:
        named = _name(one, seen.container, inits, shims)
        if named is None or one.end is None or not seen.container:
            continue
        span = Span(*named, seen.clock.of_machine(one.start), seen.clock.of_machine(one.end), SCAN)
        # runc init forks itself twice; the last one is the one that stays.
        if named[1] not in longest or span.end > longest[named[1]].end:
            longest[named[1]] = span
    return list(longest.values())
