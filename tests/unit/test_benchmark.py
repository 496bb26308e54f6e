"""The benchmark harness: rounds, budgets, interrupts, records; and the published figures."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import time
from types import SimpleNamespace

import pytest

from labkit.commands import bench
from labkit.commands.bench import COMPARISONS
from labkit.course.benchmark import Benchmark, Series, Subject, measure, published, record
from labkit.course.figures_benchmark import caption_of
from labkit.errors import BadInput
from labkit.labs.container_lifetime import endings
from labkit.labs.devops_and_delivery import shop
from labkit.labs.engine_architecture import xray
from labkit.labs.isolation_models import gvisor, isolation, two_engines
from labkit.labs.isolation_models.isolation_disk import BENCHMARKS
from labkit.labs.what_docker_solves import machines, promises
from labkit.paths import data_file
from labkit.saying import listening
from labkit.units import MIB, show_size

from .test_isolation_figures import FACTS


def steady(label: str, value: float, n: int = 4, **options) -> Subject:
    return Subject(label, "container", lambda: value, n=n, **options)


def result(series: list[Series], **options) -> Benchmark:
    return Benchmark(FACTS, "start-latency", "Time to start", "s", "how", series, 10.0, 1.0, **options)


def test_every_subject_gets_its_rounds_in_turn():
    seen = []

    def once(label):
        seen.append(label)
        return 1.0

    subjects = [Subject(name, "container", lambda name=name: once(name), n=2, warm=False) for name in "ab"]
    series, _, interrupted = measure(subjects, 10)
    assert seen == ["a", "b", "a", "b"]
    assert [row.n for row in series] == [2, 2] and not interrupted


def test_the_warm_run_is_not_counted():
    values = iter([99.0, 1.0, 2.0])
    [row], _, _ = measure([Subject("a", "container", lambda: next(values), n=2)], 10)
    assert row.values == [1.0, 2.0]


def test_few_rounds_where_the_processor_is_emulated_and_the_screen_says_so():
    [real, slow], _, _ = measure([steady("a", 1.0, n=10), steady("b", 1.0, n=10, emulated=True)], 10)
    assert (real.n, slow.n) == (10, 3) and not slow.partial
    told = caption_of(result([real, slow])).replace("\N{NO-BREAK SPACE}", " ")
    assert "b (emulated): n = 3" in told and "so n is small" in told


def test_a_figure_prints_the_command_that_measures_again():
    found = result([Series("a", "container", [1.0] * 7, 7)])
    assert f"Again: {found.again}" in caption_of(found) and found.again == "labkit bench start-latency -n 7"
    assert set(COMPARISONS) >= {*BENCHMARKS, "gvisor", "two-engines"} and set(COMPARISONS) <= set(bench.BENCHMARKS)


def test_a_budget_that_ends_early_keeps_what_was_measured_and_says_partial():
    [row], seconds, _ = measure([Subject("a", "container", lambda: time.sleep(0.05) or 1.0, n=100, warm=False)], 0.4)
    assert 0 < row.n < 100 and row.partial
    assert result([row]).partial


def test_a_budget_too_small_for_one_run_names_what_is_missing_and_a_larger_one():
    slow = Subject("slow one", "container", lambda: time.sleep(0.2) or 1.0, n=2)
    with pytest.raises(BadInput) as caught:
        measure([steady("quick", 1.0), slow], 0.1)
    assert "slow one" in caught.value.what and "budget=" in caught.value.next_step


@pytest.mark.parametrize("budget", [0, -3, "soon", None, float("nan")])
def test_a_budget_must_be_seconds_above_zero(budget):
    with pytest.raises(BadInput):
        measure([steady("a", 1.0)], budget)


def test_an_interrupt_keeps_what_was_measured():
    def hears(text, share):
        if share > 0.5:
            raise KeyboardInterrupt

    with listening(hears):
        series, _, interrupted = measure([steady("a", 1.0), steady("b", 2.0)], 10)
    assert interrupted and sum(row.n for row in series) == 5
    assert "partial" in result(series, interrupted=True).facts()


def test_the_warm_run_can_be_stopped_too():
    def hears(text, share):
        assert text == "a: once to warm up"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(hears):
        measure([steady("a", 1.0)], 10)


def test_an_interrupt_before_the_first_value_stays_an_interrupt():
    def never():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([Subject("a", "container", never)], 10)


def test_median_and_quartiles():
    row = Series("a", "container", [1.0, 2.0, 3.0, 4.0, 100.0], 5)
    assert row.median == 3.0 and row.spread == (2.0, 4.0)
    assert Series("b", "container", [7.0], 1).spread == (7.0, 7.0)


@pytest.mark.parametrize("largest, room, fit", [(120.0, 256, 2.0), (300.0, 512, 1.0), (600.0, 1024, 1.0)])
def test_the_memory_that_instances_are_counted_in_holds_one_of_each(largest, room, fit):
    rows = [Series("process", "bare metal", [2.0], 1), Series("machine", "virtual machine", [largest], 1)]
    on = SimpleNamespace(facts=FACTS)
    fits = isolation.density(on, measured=dataclasses.replace(result(rows), unit="MiB"))
    assert [row.values for row in fits.series] == [[room / 2], [fit]]
    assert f"The memory: {show_size(room * MIB)}." in caption_of(fits) and fits.title == "Instances in the same memory"
    if largest > 256:
        with pytest.raises(BadInput, match="One machine takes"):
            isolation.density(on, space="256m", measured=result(rows))


def test_facts_name_an_order_only_where_it_is_the_same_everywhere():
    rows = [Series("b", "container", [2.0], 1), Series("a", "container", [1.0], 1)]
    assert result(rows, clear_order=True).facts() == "Time to start, smallest first: a < b"
    assert result(rows).facts() == "Time to start, measured: b · a"


def test_what_runs_on_another_machine_has_no_place_in_the_order():
    rows = [Series(name, "container", [value], 1) for name, value in (("vm", 1.0), ("b", 3.0), ("a", 2.0))]
    told = result(rows, clear_order=True, apart=("vm",)).facts()
    assert told == "Time to start, smallest first: a < b · beside them: vm"


def test_records_hold_n_median_quartiles_and_the_machine(own_state):
    path = record(result([Series("a", "container", [1.0, 3.0], 4, True)]))
    assert path.is_relative_to(own_state)
    kept = json.loads(path.read_text())
    assert kept["series"][0] == {
        "label": "a", "model": "container", "n": 2, "median": 2.0, "quartiles": [1.5, 2.5], "emulated": True,
        "partial": True, "values": [1.0, 3.0],
    }  # fmt: skip
    assert kept["machine"]["kernel"] == FACTS.kernel and kept["measured"] and kept["budget_s"] == 10.0


def test_a_subject_that_was_not_measured_is_named():
    with pytest.raises(BadInput, match="not measured"):
        result([Series("a", "container", [1.0], 1)]).find("b")


def test_published_figures_have_a_source_each():
    table = json.loads(data_file("published.json").read_text())
    assert {row["source"] for row in table["figures"]} == set(table["sources"])
    assert [row.source for row in published("stream")] == ["Felter et al. 2014"] * 3
    # Round trips between two machines have no place beside those within one.
    assert published("network") == []
    assert published("no such benchmark") == []


def test_the_two_runtime_tests_are_never_on_one_axis():
    assert {row.source for row in published("runtime-hundred")}.isdisjoint(
        {row.source for row in published("runtime-one")}
    )


#: All that times or weighs something, in any lab.
MEASURED = [*BENCHMARKS.values(), gvisor.gvisor, two_engines.two_engines, xray.compare, xray.overhead, machines.machines,
            machines.roll_out, machines.replicas, promises.set_up, shop.latency, shop.scaling, endings.stop_times,
            endings.restarts]  # fmt: skip


@pytest.mark.parametrize("measured", MEASURED, ids=lambda one: one.__name__)
def test_every_benchmark_states_its_method(measured):
    text = " ".join(measured.__doc__.split())
    assert "Method:" in text
    assert measured is isolation.density or re.search(
        r"\bn = \d|``?n``? |n batches|n rounds|n each|n times|\bn = ``times", text
    )
    assert "/proc/uptime" not in inspect.getsource(inspect.getmodule(measured)), "its steps are ten milliseconds"
