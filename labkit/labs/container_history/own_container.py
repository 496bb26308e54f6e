"""Build your own container: a runtime in about thirty lines of shell, with a switch for everything.

``runtime()`` is the program, word for word as it runs. ``build`` runs it in the workshop with the
parts that you choose, and a program inside reports what it can see, kill and use.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError
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

_RUNTIME = r"""#!/bin/sh
# mini-run COMMAND…: a container runtime. Its settings are variables: ROOT (a folder), PARTS
# (what to switch on), GROUP (folders of a control group), MEMORY (bytes), PIDS (processes).
has() { case " $PARTS " in *" $1 "*) true ;; *) false ;; esac; }

# 1. Limits: a control group. Whoever is in it, and all its children, share them.
for folder in $GROUP; do
  mkdir -p $folder
  if has memory; then
    echo $MEMORY > $folder/memory.max || echo $MEMORY > $folder/memory.limit_in_bytes
    echo 0 > $folder/memory.swap.max
  fi
  if has pids; then echo $PIDS > $folder/pids.max; fi
  echo $$ > $folder/cgroup.procs
done 2> /dev/null

# 2. Namespaces: what can't be seen can't be touched.
flags="--mount"
if has uts; then flags="$flags --uts"; fi
if has ipc; then flags="$flags --ipc"; fi
if has net; then flags="$flags --net"; fi
if has user; then flags="$flags --user --map-root-user"; fi
if has pid; then flags="$flags --pid --fork --kill-child"; fi

# 3. A root filesystem, and the program. The old root is gone before it starts.
inside='
  if [ "$NEWROOT" ]; then
    mount --rbind $NEWROOT $NEWROOT; cd $NEWROOT; mkdir -p old
    mount -t proc proc proc; pivot_root . old; umount -l /old
  else mount -t proc proc /proc; fi
  hostname my-container
  exec "$@"'
if has root; then export NEWROOT=$ROOT; else export NEWROOT=; fi
exec /usr/bin/unshare $flags sh -c "$inside" mini-run "$@"
"""

# Runs inside. Nothing here knows which parts are on.
_REPORT = r"""
one() { printf '%s\t%s\n' "$1" "$2"; }
one files "$(test -e /outside && echo yes || echo no)"
victim=$(ps -o pid,args | awk '/[n]eighbour-sleeps/ && !/awk/ { print $1; exit }')
one processes "$(test "$victim" && echo yes || echo no)"
one kill "$(test "$victim" && kill -9 $victim 2> /dev/null && echo yes || echo no)"
one network "$(grep -q shop0 /proc/net/dev && echo yes || echo no)"
one segments "$(test $(wc -l < /proc/sysvipc/shm) -gt 1 && echo yes || echo no)"
read -r _ _ ids < /proc/self/uid_map
one root "$(test $ids -gt 1 && echo yes || echo no)"
one memory "$(dd if=/dev/zero of=/dev/null bs=33554432 count=1 2> /dev/null && echo yes || echo no)"
one forks "$(sh -c 'for i in $(seq 1 40); do sleep 1 & done' > /dev/null 2>&1 && echo yes || echo no)"
"""

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
_AROUND = r"""
hostname the-machine
ip link show shop0 > /dev/null 2>&1 || ip link add shop0 type dummy 2> /dev/null || ip link add shop0 type bridge 2> /dev/null || true
python3 -c 'import ctypes; ctypes.CDLL(None).shmget(4711, 4096, 0o1600)'
printf '%s' "$RUNTIME" > /usr/bin/mini-run; chmod 755 /usr/bin/mini-run
GROUP="$GROUP" /usr/bin/mini-run sh -c "$REPORT" 2>&1
echo "hostname	$(test "$(hostname)" = the-machine && echo no || echo yes)"
hostname the-machine
"""


def runtime() -> str:
    """The whole runtime: shell, about thirty lines."""
    return _RUNTIME.strip()


@dataclass(frozen=True)
class Built(Result):
    """A container of your own: the parts that were on, and the answers from inside (``yes`` or ``no``)."""

    parts: tuple[str, ...]
    answers: dict[str, str]

    def can(self, row: str) -> bool:
        """Whether the program could do what a row of :data:`ROWS` says."""
        return self.answers.get(row) == "yes"

    def facts(self) -> str:
        rows = [f"  {text:<40}{yes_no(self.can(row))}" for row, (text, _) in ROWS.items()]
        return "\n".join([f"parts: {', '.join(self.parts) or 'none'}", *rows])


def build(on: Context, *parts: str) -> Built:
    """Run the report in a container made of the named parts.

    Args:
        on: the context.
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
    missing = [row for row in ROWS if answers.get(row) not in ("yes", "no")]
    if missing:
        raise LabError(
            f"The runtime did not get as far as its report ({', '.join(missing)}).", cause=text.strip()[-400:]
        )
    return Built(on.facts, chosen, answers)
