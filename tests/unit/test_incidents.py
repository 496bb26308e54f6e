"""Lab 11 without an engine: the table of incidents, who gets which, and the card."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from labkit.course import style
from labkit.engine import EngineFacts
from labkit.labs.it_does_not_work import checks, figures, incidents, rules, system, widget

ALL = incidents.catalogue()
FACTS = EngineFacts(
    kind="host", endpoint="unix:///x", version="1.2.3", api_version="1.44", minimum_api_version="1.24",
    operating_system="Test", kernel="6.0.0-test", architecture="x86_64", cpus=2, memory=4 * 1024**3, cgroup_version=2,
    cgroup_driver="cgroupfs", image_store="overlay2", rootless=False, compatible_api="", owned=False, emulated=False,
)  # fmt: skip


def test_there_are_a_dozen_and_more_of_every_kind():
    assert len(ALL) >= 12
    assert all(sum(one.level == level for one in ALL.values()) >= 4 for level in incidents.LEVELS)


@pytest.mark.parametrize("key", ALL)
def test_an_incident_is_whole(key):
    one = ALL[key]
    assert len(one.hints) == 3 and 2 <= len(one.repair) <= 20
    assert {*one.also} <= {*rules.ASKED} and {*one.needs} <= {"next", "foreign"}
    # What a user says gives no cause away.
    for word in (
        "memory",
        "proxy",
        "alias",
        "volume",
        "quota",
        "limit",
        "health check",
        "signal",
        "processor",
        "owner",
    ):
        assert word not in one.complaint, word
    for part, changes in one.change.items():
        for old in changes:
            lines = system.PARTS.values() if part.startswith("$") else [system.PARTS[part]]
            assert any(old.replace("$part", name) in line for line in lines for name in system.PARTS), old


@pytest.mark.parametrize("key", ALL)
def test_details_depend_on_the_learner(key):
    found = {tuple(ALL[key].chosen(str(seed)).items()) for seed in range(30)}
    assert len(found) >= 3
    assert ALL[key].chosen("room") == ALL[key].chosen("room")


def test_neighbours_meet_other_incidents_level_by_level():
    orders = [incidents.order(str(seed)) for seed in range(20)]
    assert all(sorted(keys) == sorted(ALL) for keys in orders)
    assert all([ALL[key].level for key in keys] == sorted(one.level for one in ALL.values()) for keys in orders)
    assert len({tuple(keys) for keys in orders}) == 20
    assert incidents.order("room") == incidents.order("room")


def test_hints_name_rules_that_there_are():
    assert {*checks.HINT} <= {*rules.RULES} and {*rules.ASKED} <= {*rules.RULES}


def report(rule: str) -> incidents.Report:
    checked = [(30.0, False), (90.0, not rule)]
    return incidents.Report(
        FACTS, 2, 1, "It exits at once", rule, "no.", 90.0, [(10.0, "docker ps")], 1, [20.0], checked, ["docker ps"]
    )


def test_a_card_tells_the_title_only_afterwards():
    for rule, tells in (("", True), ("served", False)):
        found = report(rule)
        assert ("exits" in found.facts()) == tells
        assert isinstance(found.plot(), style.Picture) and figures.plot_report
        assert ("shortest way" in found.plot().alt) == tells


def test_a_report_is_read_on_the_page_and_compared_without():
    started = incidents.Started(FACTS, 3, 15, "It <b>fails</b> & burns.", "http://127.0.0.1:20001/")
    shown = started._repr_mimebundle_()
    assert shown["text/plain"] == "Incident 3 of 15 has begun." and "fails" not in shown["text/plain"]
    assert "&lt;b&gt;fails&lt;/b&gt; &amp; burns." in shown["text/html"]


def test_the_widget_offers_every_number_and_no_cause():
    made = widget.IncidentWidget(SimpleNamespace())
    assert list(dict(made.number.options).values()) == list(range(1, len(ALL) + 1))
    assert not {one.title for one in ALL.values()} & {name for name, _ in made.number.options}
    assert made.check.disabled and made.hint.disabled and not made.start.disabled
    assert repr(made).startswith("Widget: ")
