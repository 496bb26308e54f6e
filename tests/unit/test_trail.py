"""Finding a container's processes in a trace of the whole machine."""

from __future__ import annotations

import runpy

import pytest

from labkit.observe.helper import AGENT
from labkit.observe.rows import Event
from labkit.observe.trail import Trail

ID = "ab" * 32
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(AGENT))  # as in its container, where each module lies beside the others
    parse = runpy.run_path(str(AGENT / "trace.py"))["parse"]


def test_lines_of_events_and_of_system_calls():
    row = Event(*parse(
        "      containerd-11448   [000] .....  4375.663358: task_newtask: pid=15106 comm=containerd clone_flags=4100"
    ))  # fmt: skip
    assert row[:4] == (4375.663358, 11448, "containerd", "task_newtask")
    assert row.fields["pid"] == "15106" and row.fields["clone_flags"] == "4100"
    entry = parse(" runc:[0:PARENT]-15137  [000] ..... 4375.689392: sys_unshare(unshare_flags: 6c020000)")
    assert entry[2:] == ["runc:[0:PARENT]", "sys_enter_unshare", {"unshare_flags": "6c020000"}]
    back = parse(" runc:[1:CHILD]-15137  [001] ..... 4375.689894: sys_unshare -> 0x0")
    assert back[3:] == ["sys_exit_unshare", {"ret": "0x0"}]
    assert parse("CPU:1 [LOST 12 EVENTS]") is None


def born(at, task, comm, child, thread=False):
    flags = "3d0f00" if thread else "4100"
    return Event(at, task, comm, "task_newtask", {"pid": str(child), "clone_flags": flags})


def program(at, pid, path):
    return Event(at, pid, path.rsplit("/", 1)[-1], "sched_process_exec", {"filename": path, "pid": str(pid)})


def end(at, task):
    return Event(at, task, "x", "sched_process_exit", {"pid": str(task)})


def mkdir(at, task, container=ID):
    return Event(at, task, "runc", "cgroup_mkdir", {"path": f"/docker/{container}"})


def rows(first=100, container=ID, begins=1.0):
    """containerd (7) forks a shim that forks another; its thread forks runc, whose thread makes the cgroup."""
    shim, second, thread, runc, worker = range(first, first + 5)
    return [
        born(begins, 7, "containerd", shim), program(begins + 0.1, shim, "/usr/bin/containerd-shim-runc-v2"),
        born(begins + 0.2, shim, "containerd-shim", second),
        program(begins + 0.3, second, "/usr/bin/containerd-shim-runc-v2"), end(begins + 0.35, shim),
        born(begins + 0.4, second, "containerd-shim", thread, thread=True),
        born(begins + 0.5, thread, "containerd-shim", runc), program(begins + 0.6, runc, "/usr/sbin/runc"),
        born(begins + 0.7, runc, "runc", worker, thread=True), mkdir(begins + 0.8, worker, container),
        end(begins + 0.9, runc), end(begins + 1.0, worker),
    ]  # fmt: skip


def test_the_root_is_the_first_process_below_containerd():
    root = Trail(rows()).root_of(ID)
    assert root.pid == 100 and root.parent_comm == "containerd"
    assert [one.pid for one in root.family()] == [100, 101, 103]


def test_another_container_at_the_same_time_is_told_apart():
    other = "cd" * 32
    trail = Trail(rows() + rows(first=200, container=other, begins=1.05))
    assert {one.pid for one in trail.root_of(ID).family()} == {100, 101, 103}
    assert {one.pid for one in trail.root_of(other).family()} == {200, 201, 203}


def test_a_process_ends_with_its_last_thread():
    trail = Trail(rows())
    assert trail.processes[103].ended == 2.0
    assert trail.process_of(104) == 103


def test_nothing_is_made_up_where_the_trace_has_nothing():
    assert Trail([]).root_of(ID) is None
    assert Trail(rows()).root_of("ef" * 32) is None


def test_a_number_used_again_belongs_to_the_newer_process():
    again = [*rows(), born(5.0, 7, "containerd", 100), program(5.1, 100, "/usr/bin/other")]
    assert Trail(again).processes[100].programs == [(5.1, "/usr/bin/other")]


def test_system_calls_are_paired_by_task_and_only_ours():
    def call(at, task, name):
        return Event(at, task, "x", name, {})

    trail = Trail([
        *rows(), call(2.0, 103, "sys_enter_unshare"), call(2.1, 900, "sys_enter_unshare"),
        call(2.2, 900, "sys_exit_unshare"), call(2.5, 103, "sys_exit_unshare"),
    ])  # fmt: skip
    assert [(start, stop) for start, stop, _ in trail.calls("unshare", {103})] == [(2.0, 2.5)]


def test_a_parent_whose_name_the_kernel_no_longer_knew_is_found_by_the_events_own():
    """The kernel keeps the names of the last 128 processes only; others are printed as ``<...>``."""
    forgotten = [Event(at, task, "<...>", name, {**fields, "comm": comm} if name == "task_newtask" else fields)
                 for at, task, comm, name, fields in rows()]  # fmt: skip
    assert Trail(forgotten).root_of(ID).pid == 100
