"""`labkit run --matrix`: which rows, what becomes of one that can't run, and what the table says."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys

import pytest

from labkit import images
from labkit.commands import matrix, report, rerun, run, table
from labkit.engine import embedded, host, native
from labkit.engine.embedded import packages
from labkit.errors import BadInput, LabError, NotPossibleHere

from .test_run_command import FACTS

LABS = ["00-start-here", "08-out-of-memory"]


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return parser.parse_args(words)


def ran(name: str, *reports: rerun.LabReport, not_run=()) -> dict:
    found = report.as_dict(list(reports), FACTS, seconds=11.5, jobs=2, not_run=not_run)
    return {"row": name, "how": "native", "report": found, "why": "", "failed": not found["ok"]}


@pytest.fixture
def found() -> list[dict]:
    drift = {
        "cell": 3,
        "id": "three",
        "what": "drift",
        "source": "",
        "expected": "one\na | b",
        "got": "one\n2",
        "detail": "",
    }
    raised = {
        "cell": 7,
        "id": "seven",
        "what": "raised",
        "source": "",
        "expected": "",
        "got": "KeyError: 'x'",
        "detail": "",
    }
    return [
        ran("good", *(rerun.LabReport(lab) for lab in LABS)),
        ran("drifts", rerun.LabReport(LABS[0]), rerun.LabReport(LABS[1], "drift", problems=[drift])),
        ran("raises", rerun.LabReport(LABS[0], "fail", problems=[raised, drift]), not_run=LABS[1:]),
        {"row": "absent", "how": "", "report": None, "why": "No such engine | here.", "failed": False},
    ]


def test_the_page_has_a_row_for_every_engine_and_names_the_cells(found):
    page = table.as_markdown(found, LABS)
    assert re.search(r"^Run on \d{4}-\d\d-\d\d \d\d:\d\d by", page, flags=re.M)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[:6] == [
        "| engine | 00 | 08 |", "| --- | --- | --- |", "| good | ✓ | ✓ |", "| drifts | ✓ | ≠ [3] |",
        "| raises | ✗ [7] [3] | – |", "| absent | – | – |",
    ]  # fmt: skip
    facts = [line for line in rows[6:] if line.startswith(("| good", "| absent"))]
    assert "Docker Engine 1 (native)" in facts[0] and "<Some> Linux, Linux 6.1, 2 CPU" in facts[0]
    assert "not run: No such engine \\| here." in facts[1]
    # A pipe would begin a new column: every row of a table has as many as its head.
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows[6:]}) == 1
    assert "**drifts, lab 08**\n\n- [3] three: drift: `- a | b`, `+ 2`\n" in page
    assert "**raises, lab 00**\n\n- [7] seven: raised: `KeyError: 'x'`" in page


def test_the_page_stays_a_page_where_every_cell_says_something_else(found):
    """A page of more than 400 lines is not read (and the house's own test refuses it)."""
    report = found[2]["report"]["labs"][0]
    drift = {**report["problems"][1], "expected": "a\n" * 50, "got": "b\n" * 50}
    report["problems"] = [drift] * 20 + [{**report["problems"][0], "got": "KeyError: 'x'\nat line 3"}] * 40
    assert len(table.as_markdown(found, LABS).splitlines()) < 400


def test_a_page_without_differences_has_no_such_chapter(found):
    assert "Cells that differ" not in table.as_markdown(found[:1], LABS)


def test_in_words(found):
    text = table.as_text(found, LABS).splitlines()
    assert text[1:3] == ["✓ good    ✓   ✓", "✗ drifts  ✓   ≠"]
    assert "    08-out-of-memory [3] three: drift" in text and text[-1] == "– absent  not run: No such engine | here."


def test_rows_are_chosen_by_name_or_address():
    assert [row.name for row in matrix.rows("host, 28.5-containerd,host")] == ["host", "28.5-containerd"]
    assert matrix.rows("all") == list(matrix.ROWS)
    assert matrix.rows("unix:///x.sock") == [matrix.Row("unix:///x.sock", "address")]
    with pytest.raises(BadInput, match="no row '19.03'"):
        matrix.rows("19.03")
    assert {row.suite for row in matrix.ROWS if row.suite} == set(packages.SUITES)
    for row in matrix.ROWS:
        assert row.kind != "native" or row.name.startswith(packages.SUITES[row.suite])


def test_what_does_not_go_together():
    with pytest.raises(BadInput, match="own choice"):
        matrix.main(options("--matrix", "--save"), LABS)
    with pytest.raises(BadInput, match="Add --matrix"):
        run.main(options("00", "--table", "x.md"))


@pytest.mark.parametrize(("fault", "failed"), [(NotPossibleHere("No rights."), False), (LabError("It broke."), True)])
def test_an_engine_that_does_not_start_is_a_sentence_in_its_row(monkeypatch, tmp_path, capsys, fault, failed):
    @contextlib.contextmanager
    def ready(row, labs):
        if row.name == "26.1":
            raise fault
        yield matrix.Ready("x", "native")

    monkeypatch.setattr(matrix, "_ready", ready)
    monkeypatch.setattr(matrix, "_run", lambda *_: ran("", *(rerun.LabReport(lab) for lab in LABS))["report"])
    page = tmp_path / "table.md"
    status = matrix.main(options("--matrix", "26.1,host", "--json", "--table", str(page)), LABS)
    entries = json.loads(capsys.readouterr().out)
    assert status == int(failed) and [entry["failed"] for entry in entries] == [failed, False]
    assert entries[0]["why"] == str(fault) and entries[0]["report"] is None and entries[1]["report"]["ok"]
    assert f"not run: {fault}" in page.read_text()


def test_labs_that_drift_make_the_matrix_fail(monkeypatch, capsys, found):
    monkeypatch.setattr(matrix, "run", lambda row, labs, jobs: found[1])
    assert matrix.main(options("--matrix", "host"), LABS) == 1
    assert "≠" in capsys.readouterr().out


def test_a_row_that_goes_wrong_loses_none_of_those_before(monkeypatch, capsys, tmp_path, found):
    """Whatever it is: the table of hours of work is printed and written."""
    entries = iter(found)

    def run_row(row, labs, jobs):
        if row.name == "26.1":
            raise KeyError("engine")
        return next(entries)

    monkeypatch.setattr(matrix, "run", run_row)
    page = tmp_path / "table.md"
    with pytest.raises(KeyError):
        matrix.main(options("--matrix", "20.10,26.1,host", "--table", str(page)), LABS)
    assert "| good | ✓ | ✓ |" in page.read_text() and "good" in capsys.readouterr().out


def on(tmp_path, program: str) -> matrix.Ready:
    """An engine whose `labkit run` is this program."""
    (tmp_path / "program").write_text(program)
    return matrix.Ready("x", "native", [sys.executable, str(tmp_path / "program")])


def test_a_run_without_a_report_is_an_error_that_says_where_to_look(tmp_path):
    with pytest.raises(LabError, match="status 3.*labkit run 00 --engine x"):
        matrix._run(on(tmp_path, "import sys; print('no report'); sys.exit(3)"), LABS, None)


def test_an_interrupt_is_passed_on_and_what_was_done_is_kept(tmp_path):
    """The labs' own process is stopped as Ctrl-C would stop it, and its report still counts."""
    program = f"""
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill({os.getpid()}, signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    print('{{"ok": false}}')
"""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert matrix._run(on(tmp_path, program), LABS, None) == {"ok": False, "interrupted": True}
    finally:
        signal.signal(signal.SIGINT, before)


def test_only_root_may_start_an_engine_beside_the_machines(monkeypatch):
    monkeypatch.setattr(native.os, "geteuid", lambda: 1000)
    with pytest.raises(NotPossibleHere, match="Only root"), native.start(packages.Variant()):
        pass


@pytest.fixture
def nothing_starts(monkeypatch):
    """No engine is started and nothing is fetched: what would have been is noted."""
    noted = []

    @contextlib.contextmanager
    def start(variant, program):
        noted.append(program.name)
        raise NotPossibleHere("A second engine can't be started here.", cause="Only root may.")
        yield

    monkeypatch.setattr(images, "archives", lambda **_: noted.append("images"))
    monkeypatch.setattr(native, "start", start)
    monkeypatch.setattr(embedded, "build", lambda *, images, variant: noted.append(str(variant)))
    monkeypatch.setattr(host, "candidates", lambda url=None: iter([host.Candidate(url, "", True)] if url else []))
    return noted


def test_where_no_native_engine_can_be_the_embedded_one_takes_its_place(nothing_starts):
    row = matrix.Row("28.5-containerd", "native", "forky", "containerd")
    with matrix._ready(row, LABS) as ready:
        assert (ready.engine, ready.how, ready.prefix) == ("embedded", "embedded", [])
        assert ready.environment == {"LABKIT_SUITE": "forky", "LABKIT_STORE": "containerd"}
    assert nothing_starts == ["images", "Docker Engine", "Debian forky, containerd store"]


def test_where_no_podman_can_be_its_row_says_why(nothing_starts):
    entry = matrix.run(matrix.Row("podman", "podman", "forky"), LABS)
    assert (entry["report"], entry["failed"]) == (None, False) and "Only root may" in entry["why"]
    assert nothing_starts == ["images", "Podman"]


@pytest.mark.parametrize(("row", "failed"), [("host", False), ("unix:///no/such.sock", True)])
def test_a_machine_without_an_engine_is_no_failure_but_a_wrong_address_is(nothing_starts, row, failed):
    [chosen] = matrix.rows(row)
    entry = matrix.run(chosen, LABS)
    assert (entry["report"], entry["failed"]) == (None, failed) and entry["why"]
