"""The X-ray's process scan and its figure, without an engine."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import pytest

from labkit.course import style
from labkit.engine.facts import EngineFacts
from labkit.labs.engine_architecture import figures_xray as figure
from labkit.labs.engine_architecture.xray import Series, Xray
from labkit.labs.engine_architecture.xray_evidence import CLIENT, COARSE, ENGINE, KERNEL, SCAN, Mark, Span, segments
from labkit.labs.engine_architecture.xray_scan import phases, spans
from labkit.observe.clock import Clock
from labkit.observe.rows import Look

ID = "cd" * 32
SHIM = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", ID]
RUNC = ["runc", "--root", "/var/run/docker/runtime-runc/moby"]


def rows():
    """A start as ``watch`` sees it: containerd (7) forks a shim, which forks another, which calls runc."""
    return [Look(*row) for row in (
        [1.00, 50, 7, "containerd", ["/usr/bin/containerd"]],
        [1.01, 50, 7, "containerd-shim", [*SHIM, "start"]],
        [1.02, 51, 50, "containerd-shim", SHIM],
        [1.03, 50, 0, "", None],
        [1.04, 52, 51, "runc", [*RUNC, "create", "--bundle", f"/run/{ID}", ID]],
        [1.05, 53, 52, "runc:[2:INIT]", ["runc", "init"]],
        [1.06, 54, 53, "dockerd", ["libnetwork-setkey", "-exec-root=/var/run/docker", ID, "0a"]],
        [1.07, 54, 0, "", None],
        [1.08, 52, 0, "", None],
        [1.08, 53, 51, "runc:[2:INIT]", ["runc", "init"]],
        [1.09, 60, 1, "sh", ["sh", "-c", "somebody else's"]],
        [1.10, 53, 51, "true", ["true"]],
        [1.11, 53, 51, "true", [""]],
        [1.11, 62, 51, "runc", [""]],
        [1.12, 62, 0, "", None],
        [1.12, 61, 51, "runc", [*RUNC, "delete", "--force", ID]],
        [1.13, 61, 0, "", None],
        [1.14, 51, 0, "", None],
    )]  # fmt: skip


def named(container=ID):
    found = SimpleNamespace(container=container, clock=Clock.ours())
    return {span.name: span for span in spans(rows(), found)}


def test_another_parent_is_no_other_phase():
    init = [phase for phase in phases(rows()) if phase.pid == 53]
    assert [(phase.program, phase.start, phase.end) for phase in init] == [("runc", 1.05, 1.10), ("true", 1.10, 1.11)]


def test_a_scan_names_what_it_saw_of_one_container():
    found = named()
    assert {name: (span.lane, span.start, span.end) for name, span in found.items()} == {
        "shim start": ("shim", 1.01, 1.03), "shim": ("shim", 1.02, 1.14), "runc create": ("runc", 1.04, 1.08),
        "runc init": ("runc", 1.05, 1.10), "network hook": ("dockerd", 1.06, 1.07),
        "program": ("program", 1.10, 1.11), "runc delete": ("runc", 1.12, 1.13),
    }  # fmt: skip
    assert {span.source for span in found.values()} == {SCAN}


def test_of_another_container_it_saw_nothing():
    assert named("ef" * 32) == {}
    assert named("") == {}


def test_segments_without_a_trace_are_the_coarse_ones():
    moments = {"start asked": 0.1, "start answered": 0.4, "died": 0.5, "client done": 0.7}
    found = segments(moments)
    assert list(found) == [name for name, _ in COARSE] and sum(found.values()) == pytest.approx(0.7)
    assert segments(moments, "28.5") == {}


#: One run's moments: a hook of 20 ms within ``runc create``, or 30 ms between runc's two calls.
MOMENTS = {
    "start asked": 0.10, "shim start": 0.12, "runc create": 0.15, "namespaces made": 0.20, "hook done": 0.22,
    "runc create done": 0.25, "runc start": 0.28, "program": 0.30, "program done": 0.31, "client done": 0.40,
}  # fmt: skip


@pytest.mark.parametrize(("version", "network", "start"), [("20.10.24+dfsg1", 0.02, 0.05), ("27.5.1", 0.02, 0.05),
                                                           ("28.5.2", 0.03, 0.02), ("29.0.0-rc1", 0.03, 0.02)])  # fmt: skip
def test_the_network_is_booked_where_the_engine_makes_it(version, network, start):
    moments = dict(MOMENTS)
    if int(version[:2]) > 27:
        del moments["hook done"]
    found = segments(moments, version)
    assert found["network"] == pytest.approx(network) and found["runc start"] == pytest.approx(start)
    assert sum(found.values()) == pytest.approx(0.40)


def test_a_network_that_is_not_made_took_no_time():
    found = segments({name: at for name, at in MOMENTS.items() if name != "hook done"}, "27.5.1")
    assert found["network"] == 0 and found["root filesystem"] == pytest.approx(0.05)


FACTS = EngineFacts(
    "host", "unix:///x", "28.0", "1.48", "1.24", "Linux", "6.1", "x86_64", 2, 2**30, 2, "systemd", "overlay2", False,
    "", False, False,
)  # fmt: skip


def one_run(**changes) -> Xray:
    run = Xray(
        FACTS, "docker run --rm x true", ID, 0,
        [
            Span("client", "docker", 0.0, 1.0, CLIENT), Span("runc", "runc create", 0.40, 0.58, KERNEL),
            Span("runc", "runc start", 0.60, 0.61, KERNEL), Span("runc", "runc delete", 0.97, 0.98, KERNEL),
        ],
        [Mark("dockerd", word, 0.5 + 0.01 * number, ENGINE) for number, word in enumerate(("create", "attach", "die"))],
        {}, [], 1.0, True, 0, "",
    )  # fmt: skip
    return dataclasses.replace(run, **changes)


@pytest.mark.parametrize("window", [(0.0, 1140.0), (380.0, 620.0), (960.0, 990.0)])
def test_no_words_of_the_swimlane_stand_on_another_bar_or_word(window):
    run = one_run()
    for name in ("client", "dockerd", "runc"):
        for packed in figure._lane(run, name, *window):
            for row in packed:
                assert all(a.right < b.left for a, b in itertools.pairwise(row))


def test_the_caption_says_what_was_lost_lacking_or_refused():
    assert "lost: 7" in figure._caption(one_run(lost=7))
    assert "no tracepoint syscalls/sys_enter_chroot" in figure._caption(one_run(lacking=("syscalls/sys_enter_chroot",)))
    refused = one_run(traced=False, why="locked down", looks=40, longest=0.004)
    assert "NOT TRACED: locked down" in figure._caption(refused) and "4.0 ms apart" in figure._caption(refused)
    assert "could not be scanned" in figure._caption(dataclasses.replace(refused, looks=0))
    assert "NOT TRACED" in figure._series_caption(Series(FACTS, {"": [refused]}), 1)
    assert "lost: 7" in figure._series_caption(Series(FACTS, {"": [one_run(lost=7)]}), 1)


@pytest.mark.parametrize("hook", [0.0, 0.1])
def test_the_legend_has_a_network_only_where_there_was_one(monkeypatch, hook):
    legends = []

    def keep(drawn, alt, *, caption):
        legends.extend(text.get_text() for text in drawn.axes[0].get_legend().get_texts())
        return style.picture(drawn, alt, caption=caption)

    monkeypatch.setattr(figure, "picture", keep)
    parts = {"client and create": 0.2, "network": hook, "clean up": 0.1}
    runs = {flags: [one_run(segments=parts)] for flags in ("", "--network none")}
    Series(FACTS, runs).plot()
    assert legends == [name for name, seconds in parts.items() if seconds]
