"""Lab 07: what its exercises ask of the engine."""

from __future__ import annotations

import time
from typing import Any

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, events_of
from ...engine.faults import explained

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise(
    "all-states",
    "Four states at once",
    "`lab.docker.containers.create(…)` makes one that is created and nothing more.",
    "`container.pause()` freezes a running one; give it something long to do, such as `sleep 600`.",
    'An exited one: run `["true"]` with `detach=True` and don\'t remove it.',
)
def all_states(on: Context) -> Outcome:
    have = {row["State"]["Status"] for row in containers(on)}
    hints = {"created": 0, "running": 1, "paused": 1, "exited": 2}
    for state, hint in hints.items():
        if state not in have:
            return not_yet(f"no container of this session is {state}.", hint)
    return passed("created, running, paused and exited, all at the same time.")


@CONTENT.exercise(
    "goodbye",
    "A quick goodbye",
    "It has to be ended with `container.stop()`, which asks with SIGTERM first.",
    "`sleep` as process 1 has no handler for SIGTERM, and a shell passes nothing on.",
    "`init=True` puts an init in front: then `sleep` gets the signal, and ends with 143.",
)
def goodbye(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited"]
    asked = [(row, _signals(on, row)) for row in ended]
    asked = [(row, signals) for row, signals in asked if "15" in signals]
    if not asked:
        return not_yet("no container of this session has been asked to stop.", 0)
    if all("9" in signals or row["State"]["ExitCode"] == 137 for row, signals in asked):
        return not_yet("it was asked, did not listen, and was killed after the grace period.", 1)
    return passed("it was asked with SIGTERM, and left without being killed.")


@CONTENT.exercise(
    "second-life",
    "A second life",
    'Write the file while the container runs: `container.exec_run(["touch", "/note"])`.',
    "`container.stop()` and `container.start()`, or `container.restart()`: a second run of the same container.",
    "Don't remove it and don't make a new one: the file is in this container's own layer.",
)
def second_life(on: Context) -> Outcome:
    with explained(on.session.engine.endpoint):
        noted = [
            row for row in containers(on)
            if "/note" in {change["Path"] for change in on.docker.api.diff(row["Id"]) or []}
        ]  # fmt: skip
    if not noted:
        return not_yet("no container of this session has a file /note in its layer.", 0)
    again = [row for row in noted if _runs(on, row) >= 2]
    if not again:
        return not_yet("the file is there, but its container has had one run only.", 1)
    if not any(row["State"]["Running"] for row in again):
        return not_yet("it had its second run, but it is not running now.", 1)
    return passed("it runs for the second time, and the file of its first run is there.")


@CONTENT.exercise(
    "persistent",
    "It keeps trying",
    '`restart_policy={"Name": "on-failure", "MaximumRetryCount": 3}` makes the engine try again.',
    'Only a run that fails is tried again: the program\'s exit code must not be 0. `["false"]` will do.',
    "Give it a few seconds: the pauses between attempts grow.",
)
def persistent(on: Context) -> Outcome:
    # The engine may still be in one of its growing pauses; on a busy machine each attempt takes seconds.
    began = seen = time.monotonic()
    best = 0
    while best < 3 and time.monotonic() - seen < 8 and time.monotonic() - began < 60:
        found = [row for row in containers(on) if row["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no")]
        if not found:
            return not_yet("no container of this session has a restart policy.", 0)
        best = max(row["RestartCount"] for row in found)
        if any(row["State"]["Restarting"] for row in found):
            seen = time.monotonic()
        time.sleep(0.2)
    if best == 0:
        return not_yet("it has a policy, but the engine has had no reason to restart it.", 1)
    if best < 3:
        return not_yet(f"the engine has restarted it {best} times so far; three are wanted.", 2)
    return passed("the engine has restarted it three times or more.")


def _signals(on: Context, container: dict[str, Any]) -> list[str]:
    rows = events_of(on, container)
    return [row["Actor"]["Attributes"].get("signal", "") for row in rows if row["Action"] == "kill"]


def _runs(on: Context, container: dict[str, Any]) -> int:
    return sum(row["Action"] == "start" for row in events_of(on, container))
