"""Build your own container: a runtime in about thirty lines of shell, with a switch for everything."""

from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError
from ...paths import text_beside
from ...units import yes_no
from ..isolation_models.visibility import reported
from .history import own_group, prepare, remove_groups

#: What can be switched on, with what it takes away from the program inside.
PARTS = {
    "root": "the machine's files",
    "pid": "other processes",
    "net": "the network",
    "uts": "the machine's host name",
    "ipc": "shared memory segments",
    "user": "being root outside",
    "memory": "unlimited memory",
    "pids": "unlimited processes",
}

_RUNTIME = text_beside(__file__, "runtime.sh")

# Runs inside. Nothing here knows which parts are on.
_REPORT = text_beside(__file__, "report.sh")

#: What the report's lines mean, and which part takes each away.
ROWS = {
    "files": ("sees the machine's files", "root"),
    "processes": ("sees other processes", "pid"),
    "kill": ("can kill one of them", "pid"),
    "network": ("sees the machine's network", "net"),
    "segments": ("sees shared memory", "ipc"),
    "hostname": ("renames the machine", "uts"),
    "root": ("is root outside too", "user"),
    "memory": ("takes 32 MiB with a limit of 16", "memory"),
    "forks": ("starts 40 processes with a limit of 20", "pids"),
}

# Around the run: something to see, kill, rename; afterwards what became of it. The machine's name is
# given back, because a container without a uts namespace has just changed it.
_AROUND = text_beside(__file__, "around.sh")


def runtime() -> str:
    """The whole runtime, word for word as it runs."""
    return _RUNTIME.strip()


class Built(Result):
    """A container of your own: the parts that were on, and the answers from inside (``yes`` or ``no``, and why)."""

    parts: tuple[str, ...]
    answers: dict[str, str]

    def can(self, row: str) -> bool:
        """Whether the program could do what a row of :data:`ROWS` says."""
        return self.answers.get(row, "").startswith("yes")

    def facts(self) -> str:
        rows = [f"  {text:<40}{yes_no(self.can(row))}" for row, (text, _) in ROWS.items()]
        return "\n".join([f"parts: {', '.join(self.parts) or 'none'}", *rows])


def build(on: Context, *parts: str) -> Built:
    """Run the runtime in the workshop with the named parts; a program inside reports what it can see, kill and use.

    Args:
        parts: any of :data:`PARTS`; none for a plain process, ``"all"`` for every one.

    Raises:
        BadInput: there's no such part.
        LabError: the runtime failed; the sentence has its words.
    """
    wanted = set(PARTS) if "all" in parts else set(parts)
    wrong = wanted - set(PARTS)
    if wrong:
        raise BadInput(f"There is no part {', '.join(sorted(wrong))}.", next_step=f"Choose among {', '.join(PARTS)}.")
    chosen = tuple(name for name in PARTS if name in wanted)
    prepare(on)
    own = own_group(on)
    if on.facts.cgroup_version == 1:
        groups = [f"/sys/fs/cgroup/memory{own}/mine", f"/sys/fs/cgroup/pids{own}/mine"]
    else:
        groups = [f"/sys/fs/cgroup{own}/mine"]
        # A group whose children have limits may hold no process itself: the workshop's own move to a leaf.
        on.workshop.shell(
            "cd /sys/fs/cgroup$OWN; mkdir -p main; for p in $(cat cgroup.procs); do echo $p > main/cgroup.procs; done 2> /dev/null;"
            ' echo "+memory +pids" > cgroup.subtree_control',
            OWN=own,
        )
    try:
        text = on.workshop.shell(
            _AROUND, RUNTIME=_RUNTIME, REPORT=_REPORT,
            ROOT="/jail", PARTS=" ".join(chosen), GROUP=" ".join(groups), MEMORY=str(16 * 1024**2), PIDS="20",
        )  # fmt: skip
    finally:
        remove_groups(on)
    answers = reported(text)
    missing = [row for row in ROWS if answers.get(row, "").partition(":")[0] not in ("yes", "no")]
    if missing:
        raise LabError(
            f"The runtime did not get as far as its report ({', '.join(missing)}).", cause=text.strip()[-400:]
        )
    return Built(on.facts, chosen, answers)
