"""Lab 10: what its exercises ask of the engine."""

import contextlib
from itertools import permutations
from typing import Any

from docker.errors import NotFound

from ... import images
from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import moment, running
from . import wires, yard

CONTENT = LabContent.beside(__file__)

#: The file of the fourth exercise.
LETTER = "/kept/letter"


def addresses(row: dict[str, Any]) -> list[str]:
    """An inspected container's addresses, in all its networks."""
    return [net["IPAddress"] for net in row["NetworkSettings"]["Networks"].values() if net["IPAddress"]]


@CONTENT.exercise("between")
def between(on: Context) -> Outcome:
    rows = running(on)
    if len(rows) < 3:
        return not_yet(f"{len(rows)} containers of this session run: three are needed.", 0)
    reached = set()
    for row in rows:
        others = {other["Id"]: addresses(other) for other in rows if other is not row}
        done = on.docker.containers.get(row["Id"]).exec_run(["sh", "-c", yard.pings(others)])
        reached |= {(row["Id"], other) for other in yard.heard(done.output.decode())}
    for middle, one, other in permutations([row["Id"] for row in rows], 3):
        if {(middle, one), (middle, other)} <= reached and not {(one, other), (other, one)} & reached:
            return passed("one reaches both others, and those two can't reach each other.")
    pairs = len(rows) * (len(rows) - 1)
    return (
        not_yet("each ping was answered.", 1)
        if len(reached) == pairs
        else not_yet("some can't reach each other, but there is nobody who reaches both of them.", 2)
    )


@CONTENT.exercise("alias")
def alias(on: Context) -> Outcome:
    rows = running(on)
    there = {address for row in rows for address in addresses(row)}
    asking = [row for row in rows if set(row["NetworkSettings"]["Networks"]) - {"bridge", "host", "none"}]
    if not asking:
        return not_yet("no container of this session runs in a network that somebody made.", 0)
    found = [there & set(wires.lookup(on, on.docker.containers.get(row["Id"]), "db")) for row in asking]
    most = max(map(len, found))
    if most > 1:
        return passed(f"`db` leads to {most} containers, by the network's own name server.")
    return not_yet(f"`db` leads to {most} of this session's containers.", 2 if most else 1)


@CONTENT.exercise("here")
def here(on: Context) -> Outcome:
    found = []
    for row in running(on):
        rows = [one for some in (row["NetworkSettings"]["Ports"] or {}).values() for one in some or ()]
        found += [rows] if rows else []
    if not found:
        return not_yet("no running container of this session publishes a port.", 0)
    only = [rows for rows in found if all(one["HostIp"].startswith("127.") for one in rows)]
    if not only:
        return not_yet("a port is published, also at addresses that others can reach.", 1)
    with on.container(images.BUSYBOX, ["sleep", "600"], network_mode="host") as client:
        for one in (one for rows in only for one in rows):
            url = f"http://{one['HostIp']}:{one['HostPort']}/"
            done = client.exec_run(["wget", "-T", "5", "-O", "-", url])
            # A page that is not there is an answer, too.
            if done.exit_code == 0 or b"server returned error" in done.output:
                return passed("it answers at an address of the machine that nobody else can reach.")
    return not_yet("a port is published for this machine only, and nobody answers there.", 2)


@CONTENT.exercise("outlives")
def outlives(on: Context) -> Outcome:
    found = []
    for row in running(on):
        with contextlib.suppress(NotFound):
            stat = on.docker.containers.get(row["Id"]).get_archive(LETTER)[1]
            mounted = any(LETTER.startswith(mount["Destination"].rstrip("/") + "/") for mount in row["Mounts"])
            found.append((mounted, moment(stat["mtime"]) < moment(row["Created"])))
    if not found:
        return not_yet(f"no running container of this session has a file {LETTER}.", 0)
    if not any(mounted for mounted, _ in found):
        return not_yet("the file is there, and goes with its container.", 1)
    if (True, True) not in found:
        return not_yet("the file is on a volume; the container that wrote it is still there.", 2)
    return passed("the file was there before its container.")
