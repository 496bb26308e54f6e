"""From the kernel's trace of a whole machine to the processes that made one container.

Tracing sees everything that happens on the machine. What belongs to our container is found by
descent: somebody made its cgroup (its path bears the container's id); that task has ancestors up
to the shim which containerd started; and all that descends from there is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .rows import Event

#: What the trace of a container's start needs (``system/name``).
EVENTS = (
    "task/task_newtask",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
    "cgroup/cgroup_mkdir",
    "cgroup/cgroup_attach_task",
    "cgroup/cgroup_rmdir",
    "syscalls/sys_enter_unshare",
    "syscalls/sys_exit_unshare",
    "syscalls/sys_enter_pivot_root",
    "syscalls/sys_exit_pivot_root",
    # Where the machine's root is a ramdisk, runc moves the mount and calls chroot instead.
    "syscalls/sys_enter_chroot",
    "syscalls/sys_exit_chroot",
)

CLONE_THREAD = 0x10000


@dataclass
class Process:
    """One process as the trace saw it: born, perhaps several programs, perhaps its end."""

    pid: int
    parent: int
    parent_comm: str
    born: float
    #: Every program it turned into: (time, path).
    programs: list[tuple[float, str]] = field(default_factory=list)
    ended: float | None = None
    children: list[Process] = field(default_factory=list)

    def runs(self, word: str) -> bool:
        """Whether one of its programs has this word in its file name."""
        return any(word in path.rsplit("/", 1)[-1] for _, path in self.programs)

    def family(self) -> list[Process]:
        """It and all that descend from it, in order of birth."""
        found = [self]
        for child in self.children:
            found += child.family()
        return sorted(found, key=lambda process: process.born)


class Trail:
    """All processes in a trace, and who descends from whom."""

    def __init__(self, events: Iterable[Event]):
        self.events = sorted(events, key=lambda event: event.time)
        self._group: dict[int, int] = {}  # task → its process
        self.processes: dict[int, Process] = {}
        for event in self.events:
            if event.name == "task_newtask":
                self._born(event)
            elif event.name == "sched_process_exec":
                self._exec(event)
            elif event.name == "sched_process_exit":
                process = self.processes.get(self.process_of(event.task))
                if process is not None:
                    process.ended = event.time  # the last of its threads to end

    def process_of(self, task: int) -> int:
        """The process that a task (a thread) belongs to."""
        return self._group.get(task, task)

    def _born(self, event: Event) -> None:
        task, flags = int(event.fields["pid"]), int(event.fields["clone_flags"], 16)
        parent = self.process_of(event.task)
        if flags & CLONE_THREAD:
            self._group[task] = parent
            return
        self._group[task] = task  # numbers are used again
        # The line's own name is looked up when it is read, and on a busy machine forgotten by then ("<...>").
        child = Process(task, parent, event.fields.get("comm", event.comm), event.time)
        self.processes[task] = child
        if parent in self.processes:
            self.processes[parent].children.append(child)

    def _exec(self, event: Event) -> None:
        process = self.processes.get(self.process_of(event.task))
        if process is not None:
            # The kernel prints the path as given; the new name of the task is its file's.
            process.programs.append((event.time, event.fields.get("filename", event.comm)))

    def named(self, name: str) -> list[Event]:
        """All events of one name."""
        return [event for event in self.events if event.name == name]

    def in_cgroup(self, name: str, container: str) -> list[Event]:
        """Events about the cgroups that bear a container's id."""
        return [event for event in self.named(name)
                if container in event.fields.get("path", "") + event.fields.get("dst_path", "")]  # fmt: skip

    def root_of(self, container: str) -> Process | None:
        """The first process that containerd started for a container; None when the trace lacks it."""
        made = self.in_cgroup("cgroup_mkdir", container)
        process = self.processes.get(self.process_of(made[0].task)) if made else None
        # containerd itself, unlike its shims, was there before the trace began. The kernel keeps 15 letters.
        while process is not None and process.parent_comm != "containerd":
            process = self.processes.get(process.parent)
        return process

    def calls(self, name: str, pids: set[int]) -> list[tuple[float, float, Event]]:
        """A system call's uses by some processes: (entered, returned, the entry)."""
        found: list[tuple[float, float, Event]] = []
        open_calls: dict[int, Event] = {}
        for event in self.events:
            if event.name == f"sys_enter_{name}" and self.process_of(event.task) in pids:
                open_calls[event.task] = event
            elif event.name == f"sys_exit_{name}" and event.task in open_calls:
                entry = open_calls.pop(event.task)
                found.append((entry.time, event.time, entry))
        return found
