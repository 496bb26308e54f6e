"""The map from the notes to the evidence: what it points at is there, and shows something."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace

import IPython
import nbformat
import pytest

from labkit import course
from labkit.course import widget_table
from labkit.course.widget_table import notes
from labkit.paths import COURSE

NOTES = course.notes()


@cache
def cells(lab: str) -> dict:
    book = json.loads((COURSE / "notebooks" / f"{lab}.ipynb").read_text())
    return {cell["id"]: cell for cell in book["cells"]}


@pytest.mark.parametrize("one", NOTES, ids=lambda one: one.says)
def test_each_statement_has_what_its_kind_asks_for(one):
    assert one.how in course.HOW and one.lab in {entry.lab for entry in course.labs()}
    if one.how != "live":
        assert one.note.endswith("."), "the correction, or the reason"
    if one.how == "missing":
        assert one.cell == ""
        return
    cell = cells(one.lab)[one.cell]
    if one.how != "told":
        assert cell["cell_type"] == "code" and cell["outputs"], "its evidence is an output"
        asks = ("lab.predict(", "lab.quiz(", "lab.check(", "%%solution")
        assert not any(word in "".join(cell["source"]) for word in asks), "a question is no evidence"


def test_every_heading_of_the_notes_has_its_statements():
    assert {one.section for one in NOTES} == {section for entry in course.labs() for section in entry.sections}


def test_no_statement_is_there_twice():
    assert len({(one.section, one.says) for one in NOTES}) == len(NOTES) >= 120


def test_the_counts_are_known():
    """Nothing is missing, and what is only told does not get more."""
    count = {how: sum(one.how == how for one in NOTES) for how in course.HOW}
    assert count["missing"] == 0 and count["told"] <= 8
    assert course.notes_count().startswith(f"{len(NOTES)} statements: {count['live']} live · ")


def test_the_table_is_searched_by_word_and_by_kind():
    table = notes(NOTES, course.notes_count())
    table.search.value = "libcontainer"
    assert table.found.value.count("<tr>") == 1 and "#cell-id=lab06-39" in table.found.value
    table.search.value = "told ·"
    assert table.found.value.count("<tr>") == sum(one.how == "told" for one in NOTES)
    table.search.value = "no such word"
    assert "No row has" in table.found.value
    assert course.notes_count() in repr(table)
    [shown] = cells("00-start-here")["lab00-notes"]["outputs"]
    assert "".join(shown["data"]["text/plain"]) == repr(table), "lab 00 was saved with another map"


def test_in_vscode_a_link_leads_to_the_lab(monkeypatch):
    """Of a link to a cell it makes a notebook that it does not find."""
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns={"__vsc_ipynb_file__": "/a.ipynb"}))
    table = notes(NOTES, "")
    assert "06-engine-architecture.ipynb" in table.found.value and "#cell-id" not in table.found.value


def test_every_corrected_cell_names_its_source_in_words():
    found = 0
    for entry in course.labs():
        for cell in cells(entry.lab).values():
            sources = cell["metadata"].get("labkit", {}).get("sources", [])
            assert all(len(source) > 15 for source in sources)
            found += bool(sources)
    assert found >= 30


@pytest.mark.parametrize("cell", ["lab00-33", "lab00-notes"])
def test_the_tables_saved_in_lab_00_are_those_of_the_data(cell):
    """Where no kernel runs, a reader sees the saved page of a table, not its text."""
    made = {
        "lab00-33": widget_table.glossary(list(course.glossary()), list(course.labs())),
        "lab00-notes": widget_table.notes(course.notes(), course.notes_count()),
    }[cell]
    notebook = nbformat.read(COURSE / "notebooks/00-start-here.ipynb", 4)
    outputs = next(each.outputs for each in notebook.cells if each.id == cell)
    assert [o.data["text/html"] for o in outputs if "data" in o] == [made._repr_mimebundle_()["text/html"]]
