"""Lab 05: predictions, exercises and quiz."""

from __future__ import annotations

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import machine_namespaces, namespaces_of, running

CONTENT = LabContent("05-container-history")

CONTENT.prediction(
    "chroot",
    "A program runs behind chroot, as in 1979. What else does it no longer see, besides the machine's files?",
    ("Other processes", "Other processes and the network", "Nothing else: everything but files is as before"),
    2,
    "chroot changes where paths begin. Processes, network, host name, memory and processor stay the machine's.",
)
CONTENT.prediction(
    "walk",
    "That program is root behind its chroot. Can it get out?",
    ("No, that is what chroot is for", "Yes, with a few system calls", "Only with an exploit of a kernel bug"),
    1,
    "chroot moves the root directory but not the working directory: whoever is outside of the new root can walk up.",
)
CONTENT.prediction(
    "group",
    "A control group allows 20 processes. A program in it starts 60. What happens?",
    ("The kernel kills the program", "fork fails for the surplus ones", "All 60 run, but slower"),
    1,
    "The pids controller refuses: fork returns an error. Memory above its limit is what ends in a kill, and processor time above it in waiting.",
)
CONTENT.prediction(
    "lxc",
    "An LXC system container and a Docker container serve the same web page. Which processes run in them?",
    ("One in each", "An init with services in LXC's, only the web server in Docker's", "An init with services in both"),
    1,
    "LXC starts a system: init first, then what init starts. Docker starts one application, which is process 1 itself.",
)
CONTENT.ask(
    "first",
    "“Containers started in the early 2000s.” When did chroot appear?",
    ("1979, in Unix V7", "2000, with FreeBSD 4", "2008, with cgroups"),
    0,
    "BSD had it in 1982. FreeBSD's jails of 2000 were built because chroot alone does not isolate.",
)
CONTENT.ask(
    "which",
    "Which of the two limits how much memory a process may use?",
    ("A namespace", "A control group", "Both"),
    1,
    "Namespaces isolate what a process can see; control groups limit what it can use.",
)
CONTENT.ask(
    "invent",
    "What did Docker add to what LXC could already do?",
    ("Isolation of processes", "Images, layers and registries, and one simple command", "Limits for memory"),
    1,
    "Docker did not invent containers: it made them portable and easy to use.",
)
CONTENT.ask(
    "below",
    "dockerd is stopped. What can still start a container?",
    ("Nothing", "containerd (with ctr), and runc by itself", "Only Kubernetes"),
    1,
    "dockerd asks containerd, containerd asks runc, runc asks the kernel. Each can be asked directly.",
)
CONTENT.ask(
    "term",
    "“OS-level isolation, not virtualization.” What is the established term?",
    ("OS-level virtualization", "Hardware virtualization", "Emulation"),
    0,
    "The kernel is shared, and each container gets a virtual instance of the system above it.",
)


@CONTENT.exercise(
    "nineteen-seventy-nine",
    "A container from 1979",
    "Only the mount namespace stays its own: four flags give up pid, net, ipc and uts. Keep it running.",
    'docker-py: `pid_mode`, `network_mode`, `ipc_mode` and `uts_mode`, each with the value `"host"`.',
    '`lab.docker.containers.run("labkit/busybox:1", ["sleep", "600"], detach=True, pid_mode="host", network_mode="host", ipc_mode="host", uts_mode="host")`',
)
def nineteen_seventy_nine(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    machine, best = machine_namespaces(on), ["pid", "net", "ipc", "uts"]
    for own in namespaces_of(on, rows).values():
        if own.get("mnt") == machine.get("mnt"):
            continue
        apart = [name for name in ("pid", "net", "ipc", "uts") if own.get(name) != machine.get(name)]
        best = apart if len(apart) < len(best) else best
    if best:
        return not_yet(f"the nearest one still has {', '.join(best)} of its own.", 1)
    return passed(
        "its files are its own; processes, network, host name and memory segments are the machine's. That was chroot."
    )


@CONTENT.exercise(
    "system",
    "A system in a Docker container",
    "Process 1 must be an init: busybox has one, called `init`, and reads what to start from `/etc/inittab`.",
    "A line of inittab: `::respawn:httpd -f`. Write two such lines first, then `exec init`.",
    'The command: `["sh", "-c", "printf \'::respawn:httpd -f\\n::respawn:syslogd -n\\n\' > /etc/inittab; exec init"]`, and `detach=True`.',
)
def system(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    processes = on.observer.processes()
    seen = 0
    for row in rows:
        main = next((one for one in processes if one["pid"] == row["State"]["Pid"]), None)
        if main is None or not (main["comm"] == "init" or (main["command"] or [""])[0].endswith("init")):
            continue
        children = [one for one in processes if one["ppid"] == main["pid"] and one["state"] != "Z"]
        if len(children) >= 2:
            return passed(
                "an init with services under it. It works; Docker's tools just don't expect it: one log, one health check, one exit code."
            )
        seen = max(seen, len(children) + 1)
    if seen:
        return not_yet(f"an init is process 1, but {seen - 1} services run under it; it takes two.", 1)
    return not_yet("no running container of yours has an init as its process 1.", 0)


@CONTENT.exercise(
    "limits",
    "Three limits, found again in the kernel",
    "One running container: at most 32 MiB of memory, 20 processes and half a processor.",
    "docker-py: `mem_limit`, `pids_limit`, and `nano_cpus` (a processor is 1,000,000,000).",
    '`…run("labkit/busybox:1", ["sleep", "600"], detach=True, mem_limit="32m", pids_limit=20, nano_cpus=500_000_000)`',
)
def limits(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    closest: list[str] = ["memory", "processes", "processor"]
    for row in rows:
        wrong = _wrong_limits(on, row["Id"])
        closest = wrong if len(wrong) < len(closest) else closest
    if closest:
        return not_yet(
            f"in the kernel's files of the nearest container, this is not as asked: {', '.join(closest)}.", 1
        )
    return passed("the kernel's files say 32 MiB, 20 processes and half a processor.")


def _wrong_limits(on: Context, container: str) -> list[str]:
    read = lambda controller, *names: on.observer.cgroup_files(container, list(names), controller=controller)["files"]  # noqa: E731
    if on.facts.cgroup_version == 2:
        files = read("memory", "memory.max", "pids.max", "cpu.max")
        memory, pids = files.get("memory.max"), files.get("pids.max")
        quota, _, period = files.get("cpu.max", "max 100000").partition(" ")
    else:
        memory = read("memory", "memory.limit_in_bytes").get("memory.limit_in_bytes")
        pids = read("pids", "pids.max").get("pids.max")
        cpu = read("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = cpu.get("cpu.cfs_quota_us", "-1"), cpu.get("cpu.cfs_period_us", "100000")
    half = quota.isdigit() and int(quota) * 2 == int(period)
    checks = {"memory": memory == str(32 * 1024**2), "processes": pids == "20", "processor": half}
    return [name for name, right in checks.items() if not right]
