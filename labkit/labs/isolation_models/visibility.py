"""What a program sees on bare metal, in a container and in a virtual machine."""

import contextlib
from collections.abc import Iterable
from typing import Any

from ...course.context import Context
from ...course.result import Result
from ...engine.embedded.small import MEMORY, borrowed
from ...errors import BadInput, LabError, NotPossibleHere
from ...paths import text_beside
from ...units import MIB, at_least_one, yes_no

#: The namespaces of Linux, in the order in which they are shown.
NAMESPACES = ("mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time")

#: Namespaces that a ``docker run`` flag can share with the machine: name → (flag, docker-py's argument).
FLAGS = {
    "pid": ("--pid=host", {"pid_mode": "host"}),
    "net": ("--network=host", {"network_mode": "host"}),
    "ipc": ("--ipc=host", {"ipc_mode": "host"}),
    "uts": ("--uts=host", {"uts_mode": "host"}),
    "cgroup": ("--cgroupns=host", {"cgroupns": "host"}),
    "user": ("--userns=host", {"userns_mode": "host"}),
}

#: What the script reports, and how the row is called.
ROWS = {
    "kernel": "kernel",
    "boot": "boot id",
    "system": "operating system",
    "hostname": "host name",
    "processes": "processes it sees",
    "pid": "its own process id",
    "cpus": "processors",
    "memory": "memory",
    "mounts": "mounts",
    "devices": "entries in /dev",
    "interfaces": "network interfaces",
    "users": "users in /etc/passwd",
}

_SCRIPT = text_beside(__file__, "probe.sh")


def probe_script() -> str:
    """The script that looks around; the same in all three places."""
    return _SCRIPT.strip()


def reported(text: str) -> dict[str, str]:
    """What a script said of itself: a name, a tab and a value a line."""
    rows = (line.rstrip().partition("\t") for line in text.splitlines())
    return {name: value.strip() for name, tab, value in rows if tab}


def _plain(on: Context) -> dict[str, str]:
    done = on.observer.call("plain", script=_SCRIPT)
    if done["status"]:
        raise NotPossibleHere(
            "A plain process can't be started on this engine's machine.",
            cause=done["output"].strip()[-200:],
            next_step="Try the embedded engine: LABKIT_ENGINE=embedded.",
        )
    return reported(done["output"])


def _in_container(on: Context, **options: Any) -> dict[str, str]:
    # No network to connect to, but a network namespace of its own all the same.
    return reported(on.ran(on.image(), ["sh", "-c", _SCRIPT], **options).text)


class Matrix(Result):
    """One column per place (``plain process``, ``container``, ``virtual machine``), rows by :data:`ROWS`.

    Values are as the script printed them (memory in KiB). ``vm_emulated`` tells whether QEMU had to
    emulate the processor; the place is missing in ``columns`` where no machine could be started, and
    ``missing`` says why.
    """

    columns: dict[str, dict[str, str]]
    vm_emulated: bool = False
    missing: str = ""

    def same(self, row: str, left: str, right: str) -> bool:
        """Whether two places report the same in a row."""
        return self.columns[left].get(row) == self.columns[right].get(row)

    def facts(self) -> str:
        def line(place: str) -> str:
            # Two machines may well run the same release: one boot id is one running kernel.
            boot = self.same("boot", place, "plain process")
            sees = boot and self.same("ns pid", place, "plain process")
            return (
                f"{place}: on the machine's kernel: {yes_no(boot)} · sees its processes: {yes_no(sees)}"
                f" · a host name of its own: "
                f"{yes_no(not self.same('hostname', place, 'plain process'))}"
            )

        lines = [line(place) for place in self.columns if place != "plain process"]
        return "\n".join([*lines, self.missing] if self.missing else lines)


def matrix(on: Context) -> Matrix:
    """Run the same script as a plain process, in a container and in a virtual machine.

    The plain process and the container are on the engine's machine, the virtual machine is started
    by QEMU on the notebook's. The plain process runs as an ordinary user (nobody).

    Raises:
        NotPossibleHere: the engine's machine lets no plain process be started.
        LabError: the engine's refusal.
    """
    columns = {"plain process": _plain(on), "container": _in_container(on)}
    try:
        with borrowed() as vm:
            columns["virtual machine"] = reported(vm.run(_SCRIPT))
            return Matrix(on.facts, columns, vm.emulated)
    except LabError as fault:
        return Matrix(on.facts, columns, False, f"no virtual machine here: {fault}")


class Neighbours(Result):
    """Virtual machines that ran at the same time on the notebook's machine: what each reports, by :data:`ROWS`."""

    machines: list[dict[str, str]]

    def facts(self) -> str:
        kernels = len({machine["boot"] for machine in self.machines})
        own = all(int(machine["memory"]) * 1024 <= MEMORY * MIB for machine in self.machines)
        return (
            f"{len(self.machines)} virtual machines at the same time, on one machine · kernels that answered: {kernels}\n"
            f"each sees its own {MEMORY} MiB, and no more: {yes_no(own)}"
        )


def neighbours(on: Context, n: int = 2) -> Neighbours:
    """Start virtual machines until n of them run at once, and have each look around while the others run.

    Raises:
        NotPossibleHere: no QEMU here.
    """
    at_least_one(n=n)
    with contextlib.ExitStack() as all_of_them:
        running = []
        for number in range(n):
            on.say(f"virtual machine {number + 1} of {n}")
            running.append(all_of_them.enter_context(borrowed()))
        return Neighbours(on.facts, [reported(machine.run(_SCRIPT)) for machine in running])


class NamespaceView(Result):
    """Namespace numbers by place; ``shared`` are the namespaces that flags asked to share."""

    columns: dict[str, dict[str, str]]
    shared: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def own(self, place: str = "container") -> list[str]:
        """Namespaces in which a place differs from the machine."""
        metal = self.columns["plain process"]
        return [name for name in NAMESPACES if self.columns[place].get(name) != metal.get(name)]

    def facts(self) -> str:
        # cgroup, user and time differ by engine and its settings: the figure has them.
        steady = [name for name in NAMESPACES if name not in ("cgroup", "user", "time")]
        own = [name for name in steady if name in self.own()]
        share = [name for name in steady if name not in own]
        command = " ".join(["docker run", *self.flags])
        return f"{command}: own {', '.join(own) or 'none'} · shared with the machine {', '.join(share) or 'none'}"


def namespaces(on: Context, *share: str | Iterable[str], vm: dict[str, str] | None = None) -> NamespaceView:
    """Start a container that shares the named namespaces with the machine, and compare all of them.

    Args:
        share: any of :data:`FLAGS`, such as ``"pid", "net"``.
        vm: a virtual machine's namespaces, from ``matrix(...).columns``, to show beside them.

    Raises:
        BadInput: no flag shares a namespace of that name.
        LabError: the engine refuses the combination.
    """
    wanted = {name for item in share for name in ([item] if isinstance(item, str) else item)}
    wrong = wanted - set(FLAGS)
    if wrong:
        raise BadInput(f"No flag shares {', '.join(sorted(wrong))}.", next_step=f"Choose among {', '.join(FLAGS)}.")
    chosen = [name for name in FLAGS if name in wanted]
    options = {key: value for name in chosen for key, value in FLAGS[name][1].items()}
    columns = {"plain process": _spaces(_plain(on)), "container": _spaces(_in_container(on, **options))}
    if vm:
        columns["virtual machine"] = _spaces(vm)
    return NamespaceView(on.facts, columns, tuple(chosen), tuple(FLAGS[name][0] for name in chosen))


def _spaces(column: dict[str, str]) -> dict[str, str]:
    return {name: column.get(f"ns {name}", "") for name in NAMESPACES}
