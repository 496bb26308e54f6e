"""Lab 02 on a live engine: what a program sees, and what is measured."""

from __future__ import annotations

import pytest

from labkit.course.busy import listening
from labkit.errors import BadInput
from labkit.labs.isolation_models import gvisor, isolation, isolation_disk, isolation_work, visibility


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


def test_starts_are_in_order(lab_context):
    result = isolation.start_latency(lab_context, budget=240, n=2)
    assert [row.label for row in result.ordered()] == ["plain process", "runc alone", "docker run", "virtual machine"]
    assert not result.partial


def test_density_refuses_more_than_the_machine_has(lab_context):
    with pytest.raises(BadInput, match="is more than the"):
        isolation.density(lab_context, space=lab_context.facts.memory + 1)


def test_density_on_a_small_machine_uses_half_of_what_is_free_and_reckons_the_rest(lab_context, monkeypatch):
    facts = lab_context.observer.machine()
    monkeypatch.setattr(lab_context.observer, "machine", lambda: {**facts, "available": 24 * 2**20})
    result = isolation.density(lab_context, budget=240, space="256m", most=8)
    assert [row.label for row in result.ordered()] == ["virtual machine", "docker run", "plain process"]
    each = 256 / result.find("docker run").median
    assert 1 <= len(result.find("docker run").values) <= 12 / each + 1
    assert "docker run (from " in result.note


@pytest.mark.parametrize("space, what", [("1m", "docker run"), ("16m", "virtual machine")])
def test_density_names_what_does_not_fit(lab_context, space, what):
    with pytest.raises(BadInput, match=f"One {what} takes"):
        isolation.density(lab_context, budget=120, space=space, most=2)


def test_density_is_in_order_and_stops_at_its_space(lab_context):
    seen = []
    with listening(lambda text, share=None: seen.extend([] if share is None else [share])):
        result = isolation.density(lab_context, budget=240, space="256m", most=4)
    assert [row.label for row in result.ordered()] == ["virtual machine", "docker run", "plain process"]
    assert result.find("docker run").n == 4 and seen == sorted(seen) and seen[-1] <= 1
    # More than its space was never in use.
    for row in result.series:
        assert row.n <= max(row.values)


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


def test_gvisor_answers_for_itself_and_asks_more_of_each_call(lab_context):
    result = gvisor.gvisor(lab_context, 240, n=2)
    assert result.facts() == "the machine's kernel answers inside: with runc: yes · with gVisor: no"
    plain, sandboxed = (row.median for row in result.calls)
    assert sandboxed > 3 * plain


@pytest.mark.parametrize("measure", [isolation.start_latency, isolation.memory, isolation_work.cpu, gvisor.gvisor])
def test_a_budget_too_small_names_a_larger_one(lab_context, measure):
    with pytest.raises(BadInput) as caught:
        measure(lab_context, 0.001)
    assert "too small for one run" in caught.value.what and "budget=" in caught.value.next_step
