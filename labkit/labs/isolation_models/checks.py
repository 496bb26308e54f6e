"""Lab 02: what its exercises ask of the engine."""

import itertools

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import machine_namespaces, namespaces_of, running, shared_with_machine

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("shared-network")
def shared_network(on: Context) -> Outcome:
    rows = running(on)
    if len(rows) < 2:
        return not_yet(f"{len(rows)} of your containers run; it takes two.", 0)
    spaces, machine = namespaces_of(on, rows), machine_namespaces(on)
    together = [
        {left.get("pid"), right.get("pid"), machine.get("pid")}
        for left, right in itertools.combinations(spaces.values(), 2)
        if left.get("net") == right.get("net") != machine.get("net")
    ]
    if not together:
        return not_yet("no two of your running containers share a network namespace, apart from the machine's.", 1)
    if not any(len(apart) == 3 for apart in together):
        return not_yet("they share the network, but processes too: each other's or the machine's.", 1)
    return passed("one network namespace, two containers, each with processes of its own. Kubernetes calls that a pod.")


@CONTENT.exercise("only-pid")
def only_pid(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    spaces, machine = namespaces_of(on, rows), machine_namespaces(on)
    shares = [shared_with_machine(on, row, spaces[row["Id"]], machine) for row in rows]
    seeing = sorted((found for found in shares if "pid" in found), key=len)
    if not seeing:
        return not_yet("none of your running containers is in the machine's pid namespace.", 1)
    if seeing[0] != ["pid"]:
        more = ", ".join(name for name in seeing[0] if name != "pid")
        return not_yet(f"it sees the machine's processes, but shares more than that: {more}.", 1)
    return passed("it sees the machine's processes; files, host name, ipc and network are its own.")


@CONTENT.exercise("tight")
def tight(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    missing: list[str] = []
    for row in rows:
        folder = f"/proc/{row['State']['Pid']}"
        script = f"cat {folder}/status; tail -n +2 {folder}/net/route | wc -l; head -n 1 {folder}/uid_map"
        *lines, routes, mapped = on.observer.call("run", script=script)["output"].splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        has = {
            "a way into a network": routes.strip() != "0",
            "a writable root filesystem": not row["HostConfig"]["ReadonlyRootfs"],
            "capabilities": int(fields.get("CapBnd", "1").strip(), 16) != 0,
            # Where the engine maps users, the container's root is another user of the machine's.
            "root's user id": fields.get("Uid", "0").split()[0] in ("0", *mapped.split()[1:2]),
        }
        lacks = [what for what, true in has.items() if true]
        if not lacks:
            return passed(
                "no network, nothing to write, no capabilities, an ordinary user. The kernel is still shared."
            )
        if not missing or len(lacks) < len(missing):
            missing = lacks
    return not_yet(f"the tightest one still has {', '.join(missing)}.", 1)
