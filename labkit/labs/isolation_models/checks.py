"""Lab 02: predictions, exercises and quiz."""

from __future__ import annotations

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import machine_namespaces, namespaces_of, running
from .visibility import NAMESPACES

CONTENT = LabContent("02-isolation-models")

CONTENT.prediction(
    "kernel",
    "Each time a kernel starts, it makes a new boot id. The same script asks for it: as a plain process, in a container, in a virtual machine. How many different answers?",
    ("One", "Two: the virtual machine has its own", "Three"),
    1,
    "A container shares the machine's kernel; only the virtual machine boots one of its own.",
)
CONTENT.prediction(
    "share",
    "A container is started with `--pid=host --network=host`. Which of mnt, uts, ipc, pid and net are still its own?",
    ("None: host means no isolation", "mnt, uts and ipc", "All of them"),
    1,
    "Each namespace is a choice of its own. The two flags give up two of them.",
)
CONTENT.prediction(
    "start",
    "Starting something that ends at once: by what factor is `docker run` slower than a plain process?",
    ("About 2", "About 10", "More than 100"),
    2,
    "A millisecond against a few hundred: client, daemon, containerd, shim, runc and the network all have a part in it. Lab 06 takes it apart.",
)
CONTENT.prediction(
    "speed",
    "Once it runs: how much slower does a container calculate than a plain process?",
    ("Not measurably", "About 20 %", "About half as fast"),
    0,
    "Its instructions run on the same processor under the same kernel; nothing stands between. System calls pass a filter (seccomp).",
)
CONTENT.ask(
    "os",
    "“Containers share the same OS.” What exactly do they share?",
    ("The kernel; files and libraries come from the image", "Everything, /etc included", "Nothing"),
    0,
    "`uname -r` is the machine's, `/etc/os-release` the image's.",
)
CONTENT.ask(
    "own",
    "Which isolates best against a kernel bug?",
    ("A container with all namespaces", "A virtual machine", "A plain process of another user"),
    1,
    "A container's neighbours use the same kernel. A virtual machine brings its own, behind the hypervisor's much smaller surface.",
)
CONTENT.ask(
    "double",
    "A container in a virtual machine is started with `--pid=host`. Whose processes does it see?",
    ("The physical machine's", "The virtual machine's", "Only its own"),
    1,
    "“host” is the machine of its engine, and that is the virtual one: double isolation.",
)
CONTENT.ask(
    "numbers",
    "A container's and a virtual machine's pid namespace show the same number 4026531836. Are they the same namespace?",
    ("Yes", "No: the number names a namespace within one kernel"),
    1,
    "Each kernel numbers its first namespaces alike. Compare boot ids first.",
)
CONTENT.ask(
    "slow",
    "“A VM slightly reduces performance.” When is that wrong?",
    ("Never", "For work with much input and output, or where the processor is emulated", "Only on Mondays"),
    1,
    "Published: 1–2 % for tuned Linpack, but about 45 % fewer random disk accesses a second. Emulated, a program is slower by an order.",
)


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
    for left in spaces:
        for right in spaces:
            if left >= right or spaces[left].get("net") != spaces[right].get("net"):
                continue
            if spaces[left].get("net") == machine.get("net"):
                continue
            if spaces[left].get("pid") == spaces[right].get("pid"):
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
        lacks = []
        if row["HostConfig"]["NetworkMode"] != "none":
            lacks.append("its network")
        if not row["HostConfig"]["ReadonlyRootfs"]:
            lacks.append("a writable root filesystem")
        if int(fields.get("CapBnd", "1").strip(), 16):
            lacks.append("capabilities")
        if fields.get("Uid", "0").split()[0] == "0":
            lacks.append("root's user id")
        if not lacks:
            return passed(
                "no network, nothing to write, no capabilities, an ordinary user. The kernel is still shared."
            )
        if not missing or len(lacks) < len(missing):
            missing = lacks
    return not_yet(f"the tightest one still has {', '.join(missing)}.", 1)
