"""Lab 07: what its exercises ask of the engine."""

import time
from typing import Any

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, events_of, moment
from ...waiting import wait_until

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("all-states")
def all_states(on: Context) -> Outcome:
    have = {row["State"]["Status"] for row in containers(on)}
    hints = {"created": 0, "running": 1, "paused": 1, "exited": 2}
    for state, hint in hints.items():
        if state not in have:
            return not_yet(f"no container of this session is {state}.", hint)
    return passed("created, running, paused and exited, all at the same time.")


@CONTENT.exercise("goodbye")
def goodbye(on: Context) -> Outcome:
    found = [_farewell(on, row) for row in containers(on) if row["State"]["Status"] == "exited"]
    if done := next((outcome for outcome in found if outcome.passed), None):
        return done
    nothing = not_yet("no container of this session has been asked to stop.", 0)
    return max(found, key=lambda outcome: outcome.hint, default=nothing)


def _farewell(on: Context, row: dict[str, Any]) -> Outcome:
    code, events = row["State"]["ExitCode"], events_of(on, row)
    if ("start", "") in events and "stop" not in {action for action, _ in events}:
        return not_yet("no container of this session has been ended with docker stop.", 0)
    if code == 137 or ("kill", "9") in events:
        return not_yet("it was asked, did not listen, and was killed after the grace period.", 1)
    # 128 + 15: the signal ended it. Any other code may be an answer to the signal, or the program's own end while the
    # engine waited: then another run of the same is over by now as well.
    if code != 143 and not _lasts(on, row):
        return not_yet("it was not killed, but it would have ended by itself: start one that runs for ever.", 1)
    return passed("it was asked with SIGTERM, and left without being killed.")


def _lasts(on: Context, row: dict[str, Any]) -> bool:
    """Whether the same program, asked by nobody, still runs when this container's last run was over (or after 20 s)."""
    ran = moment(row["State"]["FinishedAt"]) - moment(row["State"]["StartedAt"])
    config = row["Config"]
    options = {"environment": config["Env"], "user": config["User"], "working_dir": config["WorkingDir"]}
    options |= {"entrypoint": config["Entrypoint"], "init": row["HostConfig"].get("Init"), "network_mode": "none"}
    on.say("the same program once more, and nobody asks it to stop")
    with on.container(row["Image"], config["Cmd"], **options) as again:
        return not wait_until(lambda: on.state(again)["Status"] == "exited", min(ran, 19.0) + 1.0)


@CONTENT.exercise("second-life")
def second_life(on: Context) -> Outcome:
    noted = [
        (row, moment(on.docker.api.get_archive(row["Id"], "/note")[1]["mtime"])) for row in containers(on)
        if "/note" in {change["Path"] for change in on.docker.api.diff(row["Id"]) or []}
    ]  # fmt: skip
    if not noted:
        return not_yet("no container of this session has a file /note in its layer.", 0)
    noted = [(row, written) for row, written in noted if row["State"]["Status"] == "running"]
    if not noted:
        return not_yet("the file is there, but its container is not running now.", 1)
    # The engine remembers the end of the run before this one; that of a first run is the year 1.
    again = [(row, written) for row, written in noted if moment(row["State"]["FinishedAt"]) > 0]
    if not again:
        return not_yet("the file is there, but its container has had one run only.", 1)
    if all(written > moment(row["State"]["FinishedAt"]) for row, written in again):
        return not_yet("it is in a later run, but the file was written in this one.", 0)
    if all(written < moment(row["Created"]) for row, written in again):
        return not_yet("the file is older than its container, so it may have come in any run: write it anew.", 0)
    return passed("it runs for the second time, and the file of its first run is there.")


@CONTENT.exercise("persistent")
def persistent(on: Context) -> Outcome:
    # The engine may still be in one of its growing pauses; on a busy machine each attempt takes seconds.
    began = seen = time.monotonic()
    best = 0
    while best < 3 and time.monotonic() - seen < 8 and time.monotonic() - began < 60:
        # A policy that was taken away since has done its work all the same.
        found = [row for row in containers(on)
                 if row["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no") or row["RestartCount"]]  # fmt: skip
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
