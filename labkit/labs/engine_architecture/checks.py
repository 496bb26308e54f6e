"""Lab 06: what its exercises ask of the engine."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, file_in, running
from ...units import MIB

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("raw")
def raw(on: Context) -> Outcome:
    wanted = "/" + on.session.name("raw")
    found = [row for row in containers(on) if row["Name"] == wanted]
    if not found:
        return not_yet("no container of this session has that name.", 0)
    [row] = found
    if row["HostConfig"]["Memory"] != 64 * MIB:
        return not_yet("it is there, but its memory limit is not 64 MiB.", 1)
    if row["State"]["Status"] != "running":
        return not_yet("it is there, with its limit, but it doesn't run.", 2)
    return passed("it runs, and its limit is 64 MiB.")


@CONTENT.exercise("number")
def number(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("no container of this session is running.", 0)
    main = {one["pid"]: one for one in on.observer.processes([row["State"]["Pid"] for row in rows])}
    written = [(row["State"]["Pid"], file) for row in rows if (file := file_in(on, row["Id"], "/pid"))]
    if not written:
        return not_yet("no running container of this session has a file /pid.", 1)
    right = [main[pid]["inner_pid"] for pid, file in written if pid in main and file == str(pid)]
    if not right:
        return not_yet("there is a file /pid, but another number in it.", 2)
    if 1 not in right:
        return not_yet("the number is right, but inside that container the process isn't number 1.", 0)
    return passed("inside it is process 1, outside it has another number: you wrote it down.")


@CONTENT.exercise("shims")
def shims(on: Context) -> Outcome:
    rows = [row for row in containers(on) if row["State"]["Running"]]  # a paused one's shim is at work as well
    if not rows:
        return not_yet("no container of this session is running.", 0)
    main = on.observer.processes([row["State"]["Pid"] for row in rows])
    parents = {row["ppid"] for row in main}
    named = [row for row in on.observer.processes(sorted(parents)) if "shim" in row["comm"]]
    if len(named) < 3:
        return not_yet(f"the containers of this session have {len(named)} shims; three are wanted.", 1)
    return passed("three containers or more, and a shim for each.")
