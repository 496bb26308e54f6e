"""Lab 05: what its exercises ask of the engine."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import machine_namespaces, namespaces_of, running, shared_with_machine
from ...units import MIB

CONTENT = LabContent.beside(__file__)

#: Programs that are made to be process 1: those of systems, those of containers, and supervisors.
INITS = {
    "init", "systemd", "openrc-init", "runit", "runit-init", "runsvdir", "s6-svscan", "supervisord", "procd",
    "docker-init", "tini", "dumb-init", "catatonit",
}  # fmt: skip


@CONTENT.exercise("nineteen-seventy-nine")
def nineteen_seventy_nine(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    machine, spaces = machine_namespaces(on), namespaces_of(on, rows)
    shares = [shared_with_machine(on, row, spaces[row["Id"]], machine) for row in rows]
    apart = [[name for name in ("pid", "net", "ipc", "uts") if name not in found] for found in shares]
    if nearest := min(apart, key=len):
        return not_yet(f"the nearest one still has {', '.join(nearest)} of its own.", 1)
    if all({"mnt", "a folder", "devices"} & set(found) for found, left in zip(shares, apart, strict=True) if not left):
        return not_yet("it shares those four, but files or devices of the machine as well.", 0)
    return passed(
        "its files are its own; processes, network, host name and memory segments are the machine's. That was chroot."
    )


@CONTENT.exercise("system")
def system(on: Context) -> Outcome:
    rows = running(on)
    if not rows:
        return not_yet("none of your containers runs.", 0)
    processes = on.observer.processes()
    seen: list[int] = []
    for row in rows:
        main = next((one for one in processes if one["pid"] == row["State"]["Pid"]), None)
        if main is None or not {main["comm"], main["exe"].rsplit("/", 1)[-1]} & INITS:
            continue
        # What an init starts, and a daemon, leads a group of its own. An orphan of a shell stays in the shell's.
        children = [one for one in processes if one["ppid"] == main["pid"] and one["state"] != "Z"]
        seen.append(sum(one["group"] == one["pid"] for one in children))
    if not seen:
        return not_yet("no running container of yours has an init as its process 1.", 0)
    if max(seen) < 2:
        return not_yet(f"an init is process 1, but {max(seen)} services run under it; it takes two.", 1)
    return passed(
        "an init with services under it. It works; Docker's tools just don't expect it: "
        "one log, one health check, one exit code."
    )


@CONTENT.exercise("limits")
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
    def read(controller: str, *names: str) -> dict[str, str]:
        return dict(on.observer.cgroup_files(container, list(names), controller=controller)["files"])

    if on.facts.cgroup_version == 2:
        files = read("memory", "memory.max", "pids.max", "cpu.max")
        memory, pids = files.get("memory.max"), files.get("pids.max")
        quota, _, period = files.get("cpu.max", "max 100000").partition(" ")
    else:
        memory = read("memory", "memory.limit_in_bytes").get("memory.limit_in_bytes")
        pids = read("pids", "pids.max").get("pids.max")
        cpu = read("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = cpu.get("cpu.cfs_quota_us", "-1"), cpu.get("cpu.cfs_period_us", "100000")
    # "max", and what v1 writes for no limit of memory, are more than any of these; -1 and 0 are no limit either.
    limits = {"memory": (memory, 32 * MIB), "processes": (pids, 20), "processor": (quota, int(period) // 2)}
    return [
        name for name, (text, most) in limits.items() if not (text or "").isdigit() or not 0 < int(text or 0) <= most
    ]
