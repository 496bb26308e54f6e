"""Lab 02: what its exercises ask of the engine."""

from __future__ import annotations

import itertools

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import machine_namespaces, namespaces_of, running
from .visibility import NAMESPACES

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise(
    "shared-network",
    "Two containers, one network",
    "Start two containers that keep running, such as `sleep 600`; the second one joins the first one's network.",
    "`network_mode` takes more than `none`, `host` and `bridge`: it can name a container.",
    'First `a = lab.docker.containers.run("labkit/busybox:1", ["sleep", "600"], detach=True)`, then the second with `network_mode=f"container:{a.id}"`.',
)
def shared_network(on: Context) -> Outcome:
    rows = running(on)
    if len(rows) < 2:
        return not_yet(f"{len(rows)} of your containers run; it takes two.", 0)
    spaces, machine = namespaces_of(on, rows), machine_namespaces(on)
    for left, right in itertools.combinations(spaces.values(), 2):
        if left.get("net") != right.get("net") or left.get("net") == machine.get("net"):
            continue
        if left.get("pid") == right.get("pid"):
            return not_yet("they share the network, but their processes too.", 1)
        return passed(
            "one network namespace, two containers, each with processes of its own. Kubernetes calls that a pod."
        )
    return not_yet("no two of your running containers have the same network namespace, apart from the machine's.", 1)


@CONTENT.exercise(
    "only-pid",
    "A window on the machine's processes",
    "One flag shares the machine's pid namespace; all the others stay the container's own. Keep it running.",
    "`pid_mode` is the argument; leave network, ipc and uts alone.",
    '`lab.docker.containers.run("labkit/busybox:1", ["sleep", "600"], pid_mode="host", detach=True)`',
)
def only_pid(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    spaces, machine = namespaces_of(on, rows), machine_namespaces(on)
    seeing = [own for own in spaces.values() if own.get("pid") == machine.get("pid")]
    if not seeing:
        return not_yet("none of your running containers is in the machine's pid namespace.", 1)
    steady = [name for name in NAMESPACES if name in ("mnt", "uts", "ipc", "net")]
    if not any(all(own.get(name) != machine.get(name) for name in steady) for own in seeing):
        return not_yet("it sees the machine's processes, but shares more than that.", 1)
    return passed("it sees the machine's processes; files, host name, ipc and network are its own.")


@CONTENT.exercise(
    "tight",
    "As tight as it gets without a virtual machine",
    "A running container with no network, a root filesystem that can't be written, no capabilities, and not as root.",
    "docker-py has an argument for each: `network_mode`, `read_only`, `cap_drop`, `user`.",
    '`…run("labkit/busybox:1", ["sleep", "600"], detach=True, network_mode="none", read_only=True, cap_drop=["ALL"], user="1000")`',
)
def tight(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    missing: list[str] = []
    for row in rows:
        status = on.observer.call("run", script=f"cat /proc/{row['State']['Pid']}/status")["output"]
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        has = {
            "its network": row["HostConfig"]["NetworkMode"] != "none",
            "a writable root filesystem": not row["HostConfig"]["ReadonlyRootfs"],
            "capabilities": int(fields.get("CapBnd", "1").strip(), 16) != 0,
            "root's user id": fields.get("Uid", "0").split()[0] == "0",
        }
        lacks = [what for what, true in has.items() if true]
        if not lacks:
            return passed(
                "no network, nothing to write, no capabilities, an ordinary user. The kernel is still shared."
            )
        if not missing or len(lacks) < len(missing):
            missing = lacks
    return not_yet(f"the tightest one still has {', '.join(missing)}.", 1)
