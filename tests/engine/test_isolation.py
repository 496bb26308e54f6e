"""Lab 02 on a live engine: what a program sees, what is measured, and the exercises both ways."""

from __future__ import annotations

import pytest

from labkit.engine.embedded.small import SmallVM
from labkit.errors import BadInput, LabError
from labkit.exercises.lab02 import CONTENT
from labkit.experiments import isolation, isolation_work, visibility

FOREVER = ["sleep", "600"]


@pytest.fixture
def run(lab_context):
    def start(**options):
        options.setdefault("network_mode", "none")
        return lab_context.docker.containers.run(lab_context.image(), FOREVER, detach=True, **options)

    return start


def check(on, key):
    return CONTENT.exercises[key].check(on)


def test_the_matrix(module_context):
    seen = visibility.matrix(module_context)
    assert list(seen.columns) == ["plain process", "container", "virtual machine"]
    assert seen.facts().splitlines() == [
        "container: same kernel as the machine: yes · same boot: yes · sees the machine's processes: no"
        " · has a host name of its own: yes",
        "virtual machine: same kernel as the machine: no · same boot: no · sees the machine's processes: no"
        " · has a host name of its own: yes",
    ]
    assert seen.columns["container"]["pid"] == "1"


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


def test_a_small_machine_runs_commands_and_says_when_they_fail():
    with SmallVM() as machine:
        assert machine.run("echo one; echo two") == "one\ntwo"
        long = "; ".join(f"echo line {number}" for number in range(800))
        assert machine.run(long).splitlines()[-1] == "line 799"
        with pytest.raises(LabError, match="failed"):
            machine.run("exit 3")
        pid = machine.pid
    with pytest.raises(ProcessLookupError):
        __import__("os").kill(pid, 0)


def test_starts_are_in_order(lab_context):
    result = isolation.start_latency(lab_context, budget=240, n=2)
    assert [row.label for row in result.ordered()] == ["plain process", "runc alone", "docker run", "virtual machine"]
    assert not result.partial


def test_density_keeps_to_half_of_what_is_free(lab_context):
    with pytest.raises(BadInput, match="more than half"):
        isolation.density(lab_context, space=lab_context.facts.memory)


@pytest.mark.parametrize("name", ["system-calls", "network"])
def test_three_places_are_measured(lab_context, name):
    result = isolation_work.BENCHMARKS[name](lab_context, 240, n=2)
    assert [row.model for row in result.series] == ["bare metal", "container", "virtual machine"]
    assert all(value > 0 for row in result.series for value in row.values)


def test_shared_network(lab_context, run):
    assert check(lab_context, "shared-network").hint == 0
    first = run()
    run()
    assert not check(lab_context, "shared-network").passed and check(lab_context, "shared-network").hint == 1
    run(network_mode=f"container:{first.id}")
    assert check(lab_context, "shared-network").passed


def test_shared_network_is_not_the_machines(lab_context, run):
    run(network_mode="host"), run(network_mode="host")
    assert not check(lab_context, "shared-network").passed


def test_only_pid(lab_context, run):
    assert check(lab_context, "only-pid").hint == 0
    run(pid_mode="host", network_mode="host")
    assert "shares more" in check(lab_context, "only-pid").message
    run(pid_mode="host")
    assert check(lab_context, "only-pid").passed


def test_tight(lab_context, run):
    run(read_only=True, user="1000")
    outcome = check(lab_context, "tight")
    assert not outcome.passed and "capabilities" in outcome.message
    run(read_only=True, user="1000", cap_drop=["ALL"])
    assert check(lab_context, "tight").passed
