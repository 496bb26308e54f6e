"""Lab 00: what its exercises ask of the engine."""

import re

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, events_of, running

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("hello")
def hello(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited"]
    if not ended:
        return not_yet("no container of this session has run and ended.", 0)
    said = [on.docker.api.logs(row["Id"]).decode("utf-8", "replace") for row in ended]
    # A shell that knows no such program says "hello: not found".
    if not any(re.search(r"\bhello\b(?!:)", text, re.IGNORECASE) for text in said):
        return not_yet("a container has ended, but none of them said hello.", 1)
    return passed("a container said hello, ended, and is still there to be looked at.")


@CONTENT.exercise("keep-running")
def keep_running(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("no container of this session is running.", 0)
    wanted = "/" + on.session.name("clock")
    if not any(row["Name"] == wanted for row in rows):
        return not_yet("one is running, but under another name.", 2)
    return passed("it runs, under a name of its own.")


@CONTENT.exercise("inside")
def inside(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("no container of this session is running; do the exercise before this one first.", 0)
    seen = [row for row in rows if "/tmp/seen" in {change["Path"] for change in on.docker.api.diff(row["Id"]) or []}]
    if not seen:
        return not_yet("no running container has a file /tmp/seen of its own.", 1)
    happened = [{action for action, _ in events_of(on, row)} for row in seen]
    if all("start" in actions and not any(one.startswith("exec_start") for one in actions) for actions in happened):
        return not_yet("the file is there, but no second program has run in that container.", 0)
    return passed("the file is in the container's own layer, and nowhere else.")
