"""Lab 02 on a live engine: what a program sees, and what is measured."""

from __future__ import annotations

import functools
import re

import pytest

from labkit.course.benchmark import published
from labkit.errors import BadInput, NotPossibleHere
from labkit.labs.isolation_models import gvisor, isolation, isolation_disk, isolation_work, visibility
from labkit.saying import listening
from labkit.waiting import wait_until


def test_the_matrix(module_context):
    seen = visibility.matrix(module_context)
    assert list(seen.columns) == ["plain process", "container", "virtual machine"]
    assert seen.facts().splitlines() == [
        "container: on the machine's kernel: yes · sees its processes: no · a host name of its own: yes",
        "virtual machine: on the machine's kernel: no · sees its processes: no · a host name of its own: yes",
    ]
    assert seen.columns["container"]["pid"] == "1"


def test_virtual_machines_run_side_by_side(module_context):
    run = visibility.neighbours(module_context)
    assert "2 virtual machines at the same time" in str(run) and "kernels that answered: 2" in str(run)
    assert str(run).endswith("and no more: yes")


def test_flags_take_namespaces_away(module_context):
    view = visibility.namespaces(module_context, "pid", "net", "ipc", "uts")
    assert view.facts().endswith("own mnt · shared with the machine uts, ipc, pid, net")
    assert (
        visibility.namespaces(module_context).facts()
        == "docker run: own mnt, uts, ipc, pid, net · shared with the machine none"
    )


def test_an_unknown_namespace_is_refused(module_context):
    with pytest.raises(BadInput, match="time"):
        visibility.namespaces(module_context, "time")


@pytest.mark.alone
def test_starts_are_in_order(lab_context):
    result = isolation.start_latency(lab_context, budget=240, n=2)
    assert [row.label for row in result.ordered()] == ["plain process", "runc alone", "docker run", "virtual machine"]
    assert not result.partial
    # The published order, but for the virtual machine, which is emulated here and beside the engine's machine.
    ours = [row.model for row in result.ordered() if row.model in ("bare metal", "container")]
    others = {one.model: one.value for one in published("start-latency")}
    assert ours == sorted(ours, key=lambda model: others[model])


def test_density_refuses_more_than_the_machine_has(lab_context):
    with pytest.raises(BadInput, match="is more than the"):
        isolation.density(lab_context, space=lab_context.facts.memory + 1)


def test_density_refuses_what_does_not_hold_one(lab_context):
    with pytest.raises(BadInput, match="One .+ takes"):
        isolation.density(lab_context, 240, n=1, space="16m")


@pytest.mark.alone
@pytest.mark.slow  # the notebook weighs and counts too, and says the order
def test_memory_and_density_are_one_method_and_in_the_published_order(lab_context):
    weighed = isolation.memory(lab_context, 240, n=3)
    assert [row.label for row in weighed.ordered()] == ["plain process", "docker run", "virtual machine"]
    others = sorted(published("memory"), key=lambda one: one.value)
    ours = [row.model for row in weighed.ordered() if row.model != "bare metal"]
    assert list(dict.fromkeys(one.model for one in others)) == ours
    fits = isolation.density(lab_context, measured=weighed)
    assert [row.label for row in fits.ordered()] == ["virtual machine", "docker run", "plain process"]
    room = int(re.search(r"The memory: (\d+) MiB", fits.note)[1])
    for each, many in zip(weighed.series, fits.series):
        assert many.values == [room // value for value in each.values] and many.n == each.n


def test_a_plain_process_is_in_nothing_of_a_containers(module_context):
    on = module_context
    on.observer.machine()  # started when first asked
    observer = on.docker.api.inspect_container(on.observer.container_id)["State"]["Pid"]
    [row] = on.observer.processes([observer])
    [machine] = on.observer.processes([row["ppid"]])
    looks = "cat /proc/%s/cgroup; grep -E '^(Seccomp|NoNewPrivs)' /proc/%s/status"
    outside = on.observer.call("run", script=looks % (machine["pid"], machine["pid"]))["output"].splitlines()
    for user in (65534, 0):
        told = isolation_work.plain(
            on, "for n in /proc/self/ns/*; do readlink $n; done; " + looks % ("self", "self"), user=user
        ).splitlines()
        spaces = dict(line.rstrip("]").split(":[") for line in told if ":[" in line)
        for name in ("mnt", "uts", "ipc", "pid", "net", "cgroup", "user"):
            assert f"{name}:[{spaces[name]}]" == machine["namespaces"][name] != "", name
        found = [line for line in told if ":[" not in line]
        # Where version 1 is in use, version 2's hierarchy may be mounted nowhere: then nobody can change groups in it.
        mixed = on.facts.cgroup_version == 1
        assert [line for line in found if not (mixed and line.startswith("0::"))] == [
            line for line in outside if not (mixed and line.startswith("0::"))
        ]
    crowd = on.observer.outside("crowd", "busybox", "sleep", "600", count=2)
    try:
        rows = on.observer.processes(crowd)
        assert [row["command"] for row in rows] == [["sleep", "600"]] * 2
        assert all(row["namespaces"] == machine["namespaces"] for row in rows)
    finally:
        on.observer.outside("crowd", count=0)
    assert on.observer.processes(crowd) == []


def test_plain_processes_end_with_the_observer(lab_context, module_context):
    crowd = lab_context.observer.outside("crowd", "busybox", "sleep", "600", count=2)
    lab_context.observer.close()
    assert wait_until(lambda: not module_context.observer.processes(crowd), 15)


def test_the_clock_is_finer_than_the_least_that_is_timed(module_context):
    """Ten milliseconds were its step: a sleep of 25 was 20 or 30, a short one 5."""
    for run in (functools.partial(isolation_work.plain, module_context), shell_of(module_context)):
        values = [isolation_work.timed(run, "usleep 25000") for _ in range(4)]
        assert len(set(values)) == 4 and all(value > 0.015 for value in values)


def shell_of(on):
    return lambda script: on.ran(on.image(), ["sh", "-c", script]).text


def interrupting(after: int):
    """A listener that interrupts at the ``after``-th share, as Stop does."""
    calls = []

    def hears(text, share=None):
        calls.extend([text] if share else [])
        if len(calls) == after:
            raise KeyboardInterrupt

    return hears


@pytest.mark.parametrize("measure, labels", [
    (isolation.density, ["plain process", "docker run"]),
    (isolation_work.network, ["plain process, loopback", "container to container"]),
    (isolation.start_latency, ["plain process", "runc alone"]),
])  # fmt: skip
def test_an_interrupt_keeps_what_was_measured(lab_context, measure, labels):
    with listening(interrupting(2)):
        result = measure(lab_context, 240)
    assert [row.label for row in result.series] == labels and result.partial
    assert "partial" in result.facts() and result.plot().png


@pytest.mark.parametrize("name", ["cpu", "network", "disk", "random-read"])
def test_three_places_are_measured(lab_context, name):
    result = isolation_disk.BENCHMARKS[name](lab_context, 240, n=2)
    assert [row.model for row in result.series] == ["bare metal", "container", "virtual machine"]
    assert all(value > 0 for row in result.series for value in row.values)


def test_system_calls_are_measured_with_and_without_a_filter(lab_context):
    result = isolation_work.system_calls(lab_context, 240, n=1)
    assert [row.label for row in result.series] == [
        "plain process",
        "container",
        "container, no filter",
        "virtual machine",
    ]


@pytest.mark.alone
def test_gvisor_answers_for_itself_and_asks_more_of_each_call(lab_context):
    result = gvisor.gvisor(lab_context, 240, n=2)
    assert result.facts() == "the machine's kernel answers inside: with runc: yes · with gVisor: no"
    plain, sandboxed = (row.median for row in result.calls)
    assert sandboxed > 2 * plain


@pytest.mark.parametrize("measure", [isolation.start_latency, isolation.memory, isolation_work.cpu, gvisor.gvisor])
def test_a_budget_too_small_names_a_larger_one(lab_context, measure):
    with pytest.raises(BadInput) as caught:
        measure(lab_context, 0.001)
    assert "too small for one run" in caught.value.what and "budget=" in caught.value.next_step


def test_a_program_that_fails_while_it_is_timed_says_why(module_context):
    with pytest.raises(NotPossibleHere, match="ended with 3: no such bundle"):
        module_context.workshop.call("spawn", command=["sh", "-c", "echo no such bundle >&2; exit 3"])
