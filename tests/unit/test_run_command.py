"""`labkit run`: small notebooks are really executed; what is told of them, and what --save changes."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from rich.console import Console

from labkit import workingcopy
from labkit.commands import board, common, report, rerun, run, save
from labkit.course import budgets, labs
from labkit.course.result import Evidence
from labkit.engine import EngineFacts
from labkit.errors import BadInput, LabError
from labkit.paths import COURSE

LAB = "00-start-here"

FACTS = EngineFacts(
    kind="host", endpoint="unix:///x.sock", version="1", api_version="1.41", minimum_api_version="1.12",
    operating_system="<Some> Linux", kernel="6.1", architecture="x86_64", cpus=2, memory=2 * 1024**3,
    cgroup_version=2, cgroup_driver="cgroupfs", image_store="overlay2", rootless=False, compatible_api="",
    owned=False, emulated=False,
)  # fmt: skip
EMULATED = EngineFacts(**{**vars(FACTS), "emulated": True})


def printed(text: str) -> list:
    return [new_output("stream", name="stdout", text=text)]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook: its cells are given as (source, tags, outputs)."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(workingcopy, "COURSE", tmp_path)
    path = tmp_path / "notebooks" / f"{LAB}.ipynb"

    def write(*cells):
        made = [
            new_code_cell(source, id=f"cell-{n}", execution_count=n, outputs=outputs, metadata={"tags": tags})
            for n, (source, tags, outputs) in enumerate(cells, 1)
        ]
        nbformat.write(
            new_notebook(cells=made, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}), path
        )
        return path

    return write


def test_a_lab_that_drifts_and_raises(course):
    course(
        ("print('same')", [], printed("same\n")),
        ("print('now')", [], printed("then\n")),
        ("1 / 0", [], []),
        ("print('web-0123abcd')", [], printed("web-ffffffff\n")),
    )
    seen = []
    found = rerun.execute(LAB, watch=lambda cells: seen.append(len(cells)))
    assert (found.outcome, found.cells) == ("fail", 4)
    drift, raised = found.problems
    assert (drift["cell"], drift["id"], drift["what"]) == (2, "cell-2", "drift")
    assert (drift["expected"], drift["got"]) == ("then", "now")
    assert (raised["cell"], raised["what"], raised["got"]) == (3, "raised", "ZeroDivisionError: division by zero")
    assert seen == sorted(seen) and len(found.slowest) == 3


def test_a_run_is_stopped_when_asked(course):
    course(("import time; time.sleep(60)", [], []))
    found = rerun.execute(LAB, stop=lambda: True)
    assert found.outcome == "fail" and found.problems[0]["what"] == "interrupted"
    assert found.seconds < 50


def test_a_run_in_the_background_can_be_interrupted(course, tmp_path):
    """A shell has its background jobs ignore SIGINT; the lab's own process, which is stopped with it, must not."""
    begun = tmp_path / "begun"
    course((f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)", [], []))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = rerun.execute(LAB, stop=begun.exists)
    finally:
        signal.signal(signal.SIGINT, before)
    [problem] = found.problems
    assert problem["what"] == "interrupted" and "KeyboardInterrupt" in problem["detail"], "it was killed"


@pytest.mark.parametrize("leads", [True, False], ids=["a session of its own", "its shell's session"])
def test_an_interrupt_is_heeded_only_where_no_terminal_sends_it(leads):
    ask = "import signal; from labkit.commands.common import heed_interrupts as heed; heed(); "
    command = [sys.executable, "-c", f"{ask}print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        said = subprocess.run(command, cwd=COURSE, start_new_session=leads, capture_output=True, text=True, check=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert said.stdout.strip() == str(not leads)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_tells_what_was_done(monkeypatch, sent):
    """A signal while the second of three labs runs: one has ended, one is stopped, one is never begun."""
    names = ["00-start-here", "05-container-history", "08-out-of-memory"]

    def execute(lab, *, engine, watch, stop):
        if lab == names[0]:
            return rerun.LabReport(lab)
        os.kill(os.getpid(), sent)
        end = time.monotonic() + 30
        while not stop():
            assert time.monotonic() < end, "the signal stopped nothing"
            time.sleep(0.01)
        return rerun.LabReport(lab, "fail", problems=[{"cell": 0, "id": "", "what": "interrupted", "detail": ""}])

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run, "sweep", lambda engine: None)
    # A shell's background jobs ignore SIGINT, and so would these tests there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with board.Board(names, Console(file=io.StringIO())) as shown, common.interruptible():
            reports, interrupted = run.run_labs(names, shown, jobs=1, engine=None, saves=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupted and [(one.lab, one.outcome) for one in reports] == [(names[0], "pass"), (names[1], "fail")]
    found = report.as_dict(reports, FACTS, seconds=1, jobs=1, not_run=names[2:])
    assert not found["ok"] and found["not_run"] == [names[2]]
    assert report.as_text(found).endswith("1 of 2 labs pass, 1 not run in 1 s, 1 at a time.")


def test_a_sweep_that_fails_loses_no_report(monkeypatch, capsys):
    def sweep(engine):
        raise LabError("The engine stopped answering.")

    monkeypatch.setattr(run, "execute", lambda lab, **_: rerun.LabReport(lab))
    monkeypatch.setattr(run, "sweep", sweep)
    names = ["00-start-here", "08-out-of-memory"]
    with board.Board(names, Console(file=io.StringIO())) as shown:
        reports, interrupted = run.run_labs(names, shown, jobs=2, engine=None, saves=False)
    assert [(one.lab, one.outcome) for one in reports] == [(name, "pass") for name in names] and not interrupted
    assert "Not tidied up after 00-start-here: The engine stopped answering." in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_goes_wrong_itself_is_one_report_among_others(monkeypatch, jobs):
    """A fault of labkit's own in one lab: the others run, and all are told of."""

    def execute(lab, **_):
        if lab == "00-start-here":
            raise KeyError("cells")
        return rerun.LabReport(lab)

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run, "sweep", lambda engine: None)
    names = ["00-start-here", "08-out-of-memory"]
    with board.Board(names, Console(file=io.StringIO())) as shown:
        reports, _ = run.run_labs(names, shown, jobs=jobs, engine=None, saves=False)
    assert [(one.lab, one.outcome) for one in reports] == [(names[0], "fail"), (names[1], "pass")]
    assert "KeyError: 'cells'" in report.as_text(report.as_dict(reports, FACTS, seconds=1, jobs=jobs))


FIGURE = """
import IPython.display, os
IPython.display.display({"image/png": "iVBOR" + os.urandom(3).hex(), "text/plain": "A figure."}, raw=True)
""".strip()


def test_saving_twice_changes_figures_only(course):
    cells = (
        ("print('a fact')", [], printed("an older fact\n")),
        ("import os; print('web-' + os.urandom(4).hex())", [], []),
        ("print(os.urandom(4).hex())", ["nbval-ignore-output"], []),
        (FIGURE, [], []),
    )
    path = course(*cells)
    assert save.save(LAB).outcome == "pass"
    first = path.read_text()
    assert save.save(LAB).outcome == "pass"
    second = path.read_text()
    assert "older" not in first and "a fact" in first
    changed = [(a, b) for a, b in zip(first.splitlines(), second.splitlines(), strict=True) if a != b]
    assert len(changed) == 1 and all('"image/png": "iVBOR' in line for line in changed[0])


WIDGET = """
from labkit.course.widget_base import LabWidget
made = LabWidget("Title", [], "Widget: a slider")
made
""".strip()


def test_what_is_said_where_no_widget_is_shown_is_neither_compared_nor_saved(course):
    path = course((WIDGET, [], [new_output("execute_result", data={"text/plain": "Widget: a slider"})]))
    assert rerun.execute(LAB).outcome == "pass"
    course((WIDGET, [], []))
    assert save.save(LAB).outcome == "pass"
    assert nbformat.read(path, 4).cells[0].outputs[0].data == {"text/plain": "Widget: a slider"}


BUSY = """
import time
from labkit.course.busy import Busy
from labkit.saying import say
print("before")
with Busy():
    say("counting")
    time.sleep(2.8)
print("after")
""".strip()


def test_a_busy_cell_leaves_no_trace(course):
    path = course((BUSY, [], printed("before\nafter\n")))
    found = rerun.execute(LAB)
    assert found.outcome == "pass", found.problems
    assert save.save(LAB).outcome == "pass"
    outputs = nbformat.read(path, 4).cells[0].outputs
    assert [(one.output_type, one.text) for one in outputs] == [("stream", "before\nafter\n")]


def test_a_lab_that_raises_is_not_saved_and_its_cell_is_named(course):
    path = course(("print(1)", [], printed("old\n")), ("1 / 0", [], []))
    before = path.read_text()
    found = save.save(LAB)
    assert found.outcome == "fail" and path.read_text() == before
    assert (found.problems[0]["cell"], found.problems[0]["id"]) == (2, "cell-2")


def test_saving_stops_before_the_next_cell(course):
    path = course(("print(1)", [], printed("old\n")))
    before = path.read_text()
    assert save.save(LAB, stop=lambda: True).outcome == "fail"
    assert path.read_text() == before


def test_labs_at_a_time(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert run.at_a_time(None, FACTS, saves=False) == 4
    assert run.at_a_time(None, EMULATED, saves=False) == 2
    assert run.at_a_time(3, EMULATED, saves=False) == 3
    assert run.at_a_time(None, FACTS, saves=True) == run.at_a_time(1, FACTS, saves=True) == 1
    with pytest.raises(BadInput, match="one lab runs at a time"):
        run.at_a_time(2, FACTS, saves=True)
    with pytest.raises(BadInput, match="runs nothing"):
        run.at_a_time(0, FACTS, saves=False)


def test_a_lab_named_twice_runs_once():
    assert run.chosen(["8", "08", "0"]) == ["08-out-of-memory", "00-start-here"]
    assert run.chosen([]) == [entry.lab for entry in labs()]
    assert run.longest_first(["00-start-here", "08-out-of-memory"]) == ["08-out-of-memory", "00-start-here"]


@pytest.fixture
def found() -> dict:
    drift = {"cell": 3, "id": "three", "what": "drift", "source": "show(<b>)", "expected": "one\ntwo <i>", "got": "one\n2",
             "detail": "mismatch"}  # fmt: skip
    reports = [
        rerun.LabReport("00-start-here", seconds=5, cells=3),
        rerun.LabReport("08-out-of-memory", "drift", 2.0, 9.5, 12, [drift], [{"cell": 3, "id": "three", "seconds": 7}]),
    ]
    return report.as_dict(reports, FACTS, seconds=11.5, jobs=2)


def test_the_report_in_words(found):
    text = report.as_text(found)
    assert "✓ 00-start-here" in text and "≠ 08-out-of-memory" in text
    assert "cell [3] three: drift" in text and "- two <i>" in text and "+ 2" in text
    assert text.endswith("1 of 2 labs pass in 12 s, 2 at a time.")
    assert not found["ok"] and found["engine"]["name"] == "Docker Engine"


class Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("facts", "seconds", "said"), [(FACTS, 999, True), (EMULATED, 999, True), (FACTS, 1, False)])
def test_a_lab_that_took_longer_than_its_budget_says_so(facts, seconds, said):
    found = report.as_dict([rerun.LabReport(LAB, "pass", 0, seconds, 21, [])], facts, seconds=seconds, jobs=1)
    budget = budgets()[LAB]["emulated" if facts.emulated else "native"]
    assert (f"{seconds} s (budget {budget} s)" in report.as_text(found)) == said
    assert (f"(budget {budget} s)" in report.as_html(found)) == said
    assert found["ok"], "a budget is no test"


def test_each_lab_has_a_budget():
    assert list(budgets()) == [entry.lab for entry in labs()]


def test_the_report_as_html_stands_alone(found):
    text = report.as_html(found)
    page = Page(text)
    assert page.open == [] and page.fetched == [] and "url(" not in text and "<script" not in text
    assert "&lt;Some&gt; Linux" in text and "<Some>" not in text
    assert "<mark>two &lt;i&gt;</mark>" in text and "<mark>2</mark>" in text
    assert 'href="#08-out-of-memory"' in text and 'id="08-out-of-memory"' in text
    assert "{{" not in text and "{%" not in text, "a placeholder was left"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_board_shows_each_lab(terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=110)
    with board.Board([LAB, "08-out-of-memory"], console) as shown:
        shown.start(LAB)
        shown.cells(LAB, [{"outcome": "passed"}, {"outcome": "failed"}])
        if terminal:
            console.print(shown._rows)
        problem = {"cell": 2, "what": "drift"}
        shown.end(rerun.LabReport(LAB, "drift", 0, 3, 21, [problem]))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "drift" in text
    if terminal:
        assert (
            "1 not as committed" in text
            and re.search(r"\b2/\d\d\b", text)
            and "drift in cell [2]" in text
            and "waits" in text
        )
    else:
        assert text.splitlines() == ["00-start-here …", "00-start-here: drift · 21 cells · 3 s"]


def test_a_card_that_names_another_engine_is_saved_anew():
    def card(engine, place="/run"):
        text = f"Engine  {engine}\nEndpoint  unix://{place}/docker.sock · free memory {engine[-1]} MiB"
        return [nbformat.v4.new_output("display_data", {"text/plain": text})]

    old = card("Docker Engine 20.10.24+dfsg1")
    assert save.keep(old, card("Docker Engine 20.10.24+dfsg1", "/var"), loose=True) is old
    [new] = save.keep(old, card("Docker Engine 28.5.2", "/x/labkit-native-7-a1/run"), loose=True)
    assert "28.5.2\nEndpoint  unix:///run/docker.sock · free" in save._tidy_output(new).data["text/plain"]


def test_evidence_is_saved_with_the_figure_beside_it():
    """Both show one run's values; words that say the same stay as they were."""
    old, new = (
        [
            nbformat.v4.new_output("stream", text=f"yes-{session}\n"),
            nbformat.v4.new_output("display_data", Evidence({"pings": session})._repr_mimebundle_()),
        ]
        for session in ("0123abcd", "4567abcd")
    )
    assert save.keep(old, new, loose=False) == [old[0], new[1]]
