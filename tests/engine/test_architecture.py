"""Lab 06's experiments on any engine. What breaks an engine is in test_parts_owned.py."""

from __future__ import annotations

import pytest

from labkit.engine import OwnedEngine
from labkit.errors import BadInput, NotPossibleHere
from labkit.labs.engine_architecture import parts, parts_owned, xray
from labkit.labs.engine_architecture.figures_xray import plot
from labkit.labs.engine_architecture.xray_evidence import CLIENT, COARSE, LANES, SCAN, TAP
from labkit.observe import observer

from ..conftest import open_context
from ..helpers import wait_until


def test_the_whole_chain_of_a_run_is_seen(module_context):
    seen = xray.run(module_context, "--network none")
    assert seen.complete, seen.missing
    assert seen.status == 0 and seen.lost == 0
    lanes = {span.lane for span in seen.spans} | {mark.lane for mark in seen.marks}
    assert lanes == set(LANES)
    assert abs(sum(seen.segments.values()) - seen.total) < 0.001
    first, last = seen.order().splitlines()[0], seen.order().splitlines()[-1]
    assert first.endswith("docker") and last.endswith("die")


def test_everything_lies_within_the_clients_time(module_context):
    seen = xray.run(module_context, "--network none")
    slack = 0.02  # two machines' clocks are matched by a round trip
    for span in seen.spans:
        assert -slack <= span.start <= span.end <= seen.total + slack, span


def test_the_network_is_booked_where_this_engine_makes_it(module_context):
    """In a hook of ``runc create`` until Engine 27; since 28 between runc's two calls."""
    seen = xray.run(module_context)
    spans = {span.name: span for span in seen.spans}
    create, start = spans["runc create"], spans["runc start"]
    if int(module_context.facts.version.partition(".")[0]) < 28:
        hook = spans["network hook"]
        assert create.start < hook.start < hook.end < create.end
        assert 0 < seen.segments["network"] <= hook.end - create.start
    else:
        connected = next(mark.start for mark in seen.marks if mark.name == "network connect")
        assert "network hook" not in spans and create.end < connected < start.start
        assert seen.segments["network"] == pytest.approx(start.start - create.end)


def test_two_containers_at_once_are_told_apart(module_context):
    on = module_context
    with on.container(on.image(), ["sh", "-c", "while :; do true; done"], network_mode="none", cpu_quota=20000):
        seen = xray.run(on, "--network none", command="sh -c 'exit 3'")
    assert seen.complete and seen.status == 3
    assert sum(span.name == "program" for span in seen.spans) == 1


def test_a_refused_run_is_told_in_dockers_words(module_context):
    with pytest.raises(BadInput, match="refused"):
        xray.run(module_context, "--network none", command="/nosuch")
    with pytest.raises(BadInput, match="refused"):
        xray.run(module_context, "--memory 1k")
    wait_until(lambda: set(module_context.observer.call("running")) == {"running"}, 20)


def test_where_tracing_is_refused_a_process_scan_stands_in_and_says_so(engine, monkeypatch):
    """Without CAP_SYS_ADMIN the observer can't mount tracefs: the kernel itself refuses."""
    monkeypatch.delitem(observer.CAPABILITIES, "SYS_ADMIN")
    with open_context(engine) as on:
        seen = xray.run(on, "--network none", command="sleep 0.5")
        series = xray.compare(on, "--network none", n=1)
    assert not seen.traced and not seen.complete and seen.looks > 0
    assert "may not be traced here" in seen.facts() and "tracefs can't be mounted" in seen.facts()
    assert {span.source for span in seen.spans} == {CLIENT, TAP, SCAN}
    named = {span.name: span for span in seen.spans if span.source == SCAN}
    assert {"shim", "runc init", "program"} <= set(named), "what lasts long enough is seen by looking"
    assert 0.3 < named["program"].end - named["program"].start < seen.total
    assert list(seen.segments) == [name for name, _ in COARSE]
    assert abs(sum(seen.segments.values()) - seen.total) < 0.001
    assert plot(seen).png.startswith(b"\x89PNG")
    assert "may not be traced" in series.facts() and "until the program has ended" in series.plot().alt


def test_a_tracepoint_that_the_kernel_lacks_is_named(module_context, monkeypatch):
    monkeypatch.setattr(xray, "EVENTS", (*xray.EVENTS, "sched/no_such_event"))
    seen = xray.run(module_context, "--network none")
    assert seen.complete and seen.lacking == ("sched/no_such_event",)


def test_lost_trace_events_are_counted(module_context):
    """A buffer of one page, not read meanwhile, has no room for what a busy machine does."""
    with module_context.observer.trace(["raw_syscalls/sys_enter", "sched/sched_switch"], size_kb=4, rest=1.0) as trace:
        module_context.observer.processes()
        assert trace.end()["lost"] > 0


def test_what_the_xray_costs_is_measured_in_pairs(module_context):
    found = xray.overhead(module_context, n=2)
    assert len(found.traced) == len(found.untraced) == 2 and found.ratio > 0
    assert found.facts() == "pairs: 2 · the whole chain was seen in every run"


def test_series_and_zoom(module_context):
    series = xray.compare(module_context, "--network none", "--network none --read-only", n=2)
    assert series.facts() == "the whole chain was seen in every run · trace events lost: 0"
    assert len(series.medians()) == 2
    one = series.runs["--network none"][0]
    assert plot(one, zoom="runc create").png != plot(one).png
    with pytest.raises(BadInput, match="no span"):
        plot(one, zoom="nosuch")


def test_the_requests_of_a_run(module_context):
    tapped = parts.wiretap(module_context, "docker run --rm --network none labkit/busybox:1 echo said")
    assert tapped.status == 0 and tapped.output == "said"
    assert tapped.requests == [
        "HEAD /_ping", "POST /containers/create", "POST /containers/ID/attach", "POST /containers/ID/wait",
        "POST /containers/ID/start",
    ]  # fmt: skip
    assert [one.status for one in tapped.exchanges] == [200, 201, 101, 200, 204]
    assert all(one.ended is not None for one in tapped.exchanges)
    assert '"Cmd"' in tapped.body(2)
    with pytest.raises(BadInput, match="no request 9"):
        tapped.body(9)


def test_every_way_gives_the_same_answer(module_context):
    run = parts.ways(module_context)
    assert len(run.answers) == 3
    assert len({tuple(answer) for answer in run.answers.values()}) == 1


def test_the_process_tree(module_context):
    tree = parts.processes(module_context)
    assert tree.chain[0] == "sleep" and "shim" in tree.chain[1]
    assert tree.daemons == ["dockerd", "containerd"]
    assert not tree.runc_runs and tree.shim_parent != "containerd"


def test_the_socket(module_context):
    door = parts.socket(module_context)
    assert door.kind == "socket" and door.owner == "root"
    assert door.mode.endswith("---"), "others may do nothing"


def test_what_breaks_an_engine_refuses_one_that_is_not_the_labs(module_context):
    if isinstance(module_context.session.engine, OwnedEngine):
        parts_owned.owned(module_context)
        return
    for experiment in (
        parts_owned.without_daemons,
        parts_owned.kill_shim,
        parts_owned.by_hand,
        parts_owned.ordinary_user,
    ):
        with pytest.raises(NotPossibleHere, match="not the lab's own"):
            experiment(module_context)
