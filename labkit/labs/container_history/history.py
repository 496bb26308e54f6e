"""Forty years of containers, rebuilt step by step in a workshop (labkit.observe.workshop) that plays the machine."""

import re
import shlex
from dataclasses import dataclass
from typing import Any

from ...course.context import Context
from ...course.result import Result
from ...engine import OwnedEngine
from ...errors import BadInput, LabError
from ...paths import text_beside
from ...units import show_size, size, yes_no
from ..isolation_models.visibility import reported
from .lxc import owned_engine

# The jail: /jail has programs (those of the workshop, mounted) and one file of its own. Outside there
# are a file, a process and a host name that a prisoner shouldn't know.
_SETUP = text_beside(__file__, "jail.sh")

_LOOK = text_beside(__file__, "look.sh")


def prepare(on: Context) -> None:
    """Make the jail and what lies outside of it; safe to call again."""
    on.workshop.shell(_SETUP)


class Jail(Result):
    """What a program sees outside and inside of a root directory changed by chroot."""

    outside: dict[str, str]
    inside: dict[str, str]

    def hidden(self) -> dict[str, bool]:
        """What of the machine a program inside no longer sees, or shares."""
        differs = {name: self.inside[key] != self.outside[key] for name, key in
                   (("host name", "hostname"), ("network", "net"), ("control group", "group"))}  # fmt: skip
        return {"files": self.inside["outside"] == "no", "processes": self.inside["neighbour"] == "no", **differs}

    def facts(self) -> str:
        hidden = self.hidden()
        return (
            f"the machine's files hidden: {yes_no(hidden['files'])}\n"
            f"processes hidden: {yes_no(hidden['processes'])} · host name its own: {yes_no(hidden['host name'])}"
            f" · network its own: {yes_no(hidden['network'])}\n"
            f"limits of its own (a control group): {yes_no(hidden['control group'])}"
        )


def jail(on: Context) -> Jail:
    """Run the same look-around in the workshop and behind ``chroot /jail``."""
    prepare(on)
    outside = reported(on.workshop.shell(_LOOK))
    inside = reported(on.workshop.shell(f"chroot /jail sh -c {shlex.quote(_LOOK)}"))
    return Jail(on.facts, outside, inside)


_WALK = """\
import os
os.mkdir("/door")
os.chroot("/door")           # the root moves below us; our working directory stays outside of it
for step in range(64):
    os.chdir("..")           # nothing stops us at the root that we are no longer below
os.chroot(".")               # here is the top: make it our root
print(" ".join(sorted(os.listdir("/"))))
"""


def walk_program() -> str:
    """The way out of a chroot, for a program that is root there."""
    return _WALK


class Escape(Result):
    """Where the walk led: ``listing`` is what it found at the top, ``prison`` what held it."""

    prison: str
    listing: list[str]

    @property
    def escaped(self) -> bool:
        return "outside" in self.listing

    def facts(self) -> str:
        return (
            f"out of {self.prison}: {'escaped' if self.escaped else 'still inside'}"
            f" · sees the machine's file: {yes_no(self.escaped)} · sees the jail's file: {yes_no('inside' in self.listing)}"
        )


def walk_out(on: Context) -> Escape:
    """Run the walk as root behind ``chroot /jail``."""
    prepare(on)
    on.workshop.shell("rm -rf /jail/door")
    text = on.workshop.shell(f"chroot /jail python3 -c {shlex.quote(_WALK)}")
    return Escape(on.facts, "chroot", text.split())


# pivot_root swaps the root of a whole mount namespace, and the old one is then unmounted: there is
# nothing left to walk to. It wants the new root to be a mount point.
_PIVOT = text_beside(__file__, "pivot.sh")


def behind_pivot(on: Context) -> Escape:
    """Run the same walk after ``pivot_root`` in a mount namespace of its own."""
    prepare(on)
    text = on.workshop.shell(f"/usr/bin/unshare --mount sh -c {shlex.quote(_PIVOT)}", WALK=_WALK)
    return Escape(on.facts, "pivot_root in a mount namespace", text.split())


#: Each namespace: the flag of unshare, what to do inside, and how to see it inside and outside.
_ALONE = {
    "uts": ("--uts", "hostname changed", "hostname"),
    "mnt": ("--mount", "mount -t tmpfs none /mnt-test; touch /mnt-test/only-here", "ls /mnt-test | wc -l"),
    "pid": ("--pid --fork --mount-proc", "true", "ls -d /proc/[0-9]* | wc -l | awk '{ print ($1 > 4) ? \"many processes\" : \"its own processes\" }'"),
    "net": ("--net", "ip link set lo mtu 1400", "ip -o link show lo | grep -o 'mtu [0-9]*'"),
    "ipc": ("--ipc", "python3 -c 'import ctypes; ctypes.CDLL(None).shmget(4711, 4096, 0o1600)'", "awk 'NR > 1' /proc/sysvipc/shm | wc -l"),
    "user": ("--user --map-root-user", "true", "awk '{ print $3, \"user ids mapped\" }' /proc/self/uid_map"),
    "cgroup": ("--cgroup", "true", "cut -d: -f3 /proc/self/cgroup | sort -u | head -n 1"),
}  # fmt: skip


@dataclass(frozen=True)
class NamespaceStep:
    """One namespace alone: what was asked, the answer inside and outside of it, and which namespaces differed."""

    name: str
    flag: str
    inside: str
    outside: str
    differ: list[str]

    @property
    def others_shared(self) -> bool:
        """Whether it alone differed; a new pid namespace is seen by a proc mounted in it, which takes mnt as well."""
        return set(self.differ) <= {self.name, "mnt"} if self.name == "pid" else self.differ == [self.name]


class NamespaceSteps(Result):
    """Each namespace by itself."""

    steps: list[NamespaceStep]

    def facts(self) -> str:
        return "\n".join(
            f"{step.name:<7}differs inside: {yes_no(step.inside != step.outside)}"
            f" · all other namespaces shared: {yes_no(step.others_shared)}"
            for step in self.steps
        )


def each_namespace(on: Context) -> NamespaceSteps:
    """Unshare one namespace at a time in the workshop, change something inside, look inside and outside.

    uts: another host name. mnt: a mount nobody else sees. pid: processes. net: interfaces. ipc: a
    shared memory segment. user: root inside is mapped to another user outside. cgroup: the path that
    a process sees of its own group.
    """
    prepare(on)
    steps = []
    for name, (flag, change, look) in _ALONE.items():
        on.say(f"the {name} namespace alone")
        ids = "for link in /proc/self/ns/*; do readlink $link; done; echo ---"  # busybox's readlink takes one
        script = f"mkdir -p /mnt-test; /usr/bin/unshare {flag} sh -c {shlex.quote(f'{ids}; {change}; {look}')}; echo ===; {ids}; {look}"
        text = on.workshop.shell(script)
        inside, outside = text.split("===")
        (inside_ids, inside_look), (outside_ids, outside_look) = inside.split("---"), outside.split("---")
        differ = {line.split(":")[0] for line in set(inside_ids.split()) ^ set(outside_ids.split())}
        differ = {"pid" if kind == "pid_for_children" else kind for kind in differ}
        steps.append(NamespaceStep(name, f"unshare {flag}", inside_look.strip(), outside_look.strip(), sorted(differ)))
    on.workshop.shell("hostname the-machine; rmdir /mnt-test")
    return NamespaceSteps(on.facts, steps)


# The same group on both versions. Version 1 has a folder per controller; on version 2 a group that has
# children may hold no processes itself, so the workshop's own move into a leaf first.
_GROUP = {version: text_beside(__file__, f"group_v{version}.sh") for version in (1, 2)}

_TRIALS = text_beside(__file__, "trials.sh")


def group_script(version: int) -> str:
    """The steps that make a control group by hand, for cgroup version 1 or 2.

    Raises:
        BadInput: there's no such version.
    """
    if version not in _GROUP:
        raise BadInput(f"There is no cgroup version {version}.", next_step="Choose 1 or 2.")
    return _GROUP[version].strip()


class GroupRun(Result):
    """A control group made by hand, and what became of three programs that ignored it.

    ``throttled`` is how often the kernel made the busy loop wait for its next share of the processor, ``text`` what the
    trials printed: exit codes, the shell's words, the kernel's ``cpu.stat``.
    """

    memory: int
    killed: bool
    forks_refused: bool
    throttled: int
    version: int
    text: str = ""

    def facts(self) -> str:
        return (
            f"takes twice the memory: killed: {yes_no(self.killed)}\n"
            f"starts 60 processes: refused: {yes_no(self.forks_refused)}\n"
            f"keeps the processor busy: made to wait: {yes_no(self.throttled > 0)}"
        )


def own_group(on: Context) -> str:
    """The workshop's own control group, as a path below the hierarchy's root."""
    text = on.workshop.shell(
        r"grep -E '^0::|:memory:|[:,]memory[,:]' /proc/self/cgroup | tail -n 1 | cut -d: -f3"
    ).strip()
    return text.removesuffix("/main")


def group_by_hand(
    on: Context, memory: str | int = "16m", *, pids: int = 20, cpu: float = 0.2, own: object = None
) -> GroupRun:
    """Make a control group below the workshop's own with mkdir and echo, and run three programs in it.

    One takes twice the memory, one starts 60 processes, one keeps the processor busy for a second or
    two. The group is removed at the end.

    Args:
        memory: the limit, such as ``"16m"``.
        pids: how many processes the group may have.
        cpu: processors, such as 0.2.
        own: a lab on an owned engine, such as ``lab.own()``: as root on its machine, not in a workshop.

    Raises:
        BadInput: a limit that can't be, or the other engine isn't owned.
        LabError: the machine doesn't let the workshop write control groups.
    """
    engine = None
    if own is not None:
        on, engine = owned_engine(own)
    limit, version = size(memory), on.facts.cgroup_version
    if limit < 1024**2 or limit > on.facts.memory // 4:
        raise BadInput(f"{show_size(limit)} is no sensible limit here.", next_step="Try memory='16m'.")
    if not 0.01 <= cpu <= on.facts.cpus or pids < 5:
        raise BadInput(
            "cpu must be between 0.01 and the machine's processors, pids at least 5.", next_step="Try cpu=0.2, pids=20."
        )
    group = own_group(on) if engine is None else "/labkit-lab"
    stat = f"/sys/fs/cgroup{'/cpu' if version == 1 else ''}{group}/by-hand/cpu.stat"
    given = {"OWN": group, "MEMORY": limit, "PIDS": pids, "CPU": int(cpu * 100_000), "STAT": stat}
    values: dict[str, Any] = {name: str(value) for name, value in given.items()}
    script = f"{_GROUP[version]}{_TRIALS}"
    if engine is not None:
        text = _as_root(engine, group, script, values)
    else:
        try:
            text = on.workshop.shell(script, **values)
        finally:
            remove_groups(on)
    found = dict(re.findall(r"^(memory|pids|throttled) (\S+)", text, re.M))
    if not {"memory", "pids"} <= set(found):
        raise LabError("The trials in the control group did not end.", cause=text.strip()[-300:])
    return GroupRun(on.facts, limit, found["memory"] == "137", found["pids"] == "refused",
                    int(found.get("throttled", 0)), version, text.strip())  # fmt: skip


def _as_root(engine: OwnedEngine, group: str, script: str, values: dict[str, str]) -> str:
    """The same on an owned engine's machine; its control groups are version 2's."""
    root = f"/sys/fs/cgroup{group}"
    given = "".join(f"export {name}={shlex.quote(value)}; " for name, value in values.items())
    folders = f"rmdir {root}/by-hand {root}/main {root} 2>/dev/null"
    try:
        return engine.shell(f"mkdir -p {root}; {given}{script}", timeout=120)
    finally:
        engine.shell(f"for try in 1 2 3 4 5 6 7 8; do {folders}; test -d {root} || break; sleep 0.5; done", check=False)


def remove_groups(on: Context) -> None:
    """Remove the groups below the workshop's own, once their processes have ended."""
    on.workshop.call("remove_below", patience=5.0)
