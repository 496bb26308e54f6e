"""What holds the course together: its words, its links, its pages, against its notebooks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from labkit import course
from labkit.observe import observer
from labkit.paths import COURSE

NOTEBOOKS = sorted((COURSE / "notebooks").glob("[0-9][0-9]-*.ipynb"))
PAGES = sorted([*COURSE.glob("*.md"), *(COURSE / "docs").glob("*.md")])
INSTRUCTOR = COURSE / "docs" / "instructor.md"

#: What a notebook may import: the course, and what works in memory or in a temporary folder.
IMPORTS = {"labkit", "docker", "hashlib", "json", "pathlib", "tempfile", "time"}


@cache
def cells(lab: str) -> list:
    return nbformat.read(COURSE / "notebooks" / f"{lab}.ipynb", as_version=4).cells


@cache
def words_of(lab: str) -> str:
    """All that a lab's reader reads: prose, code, printed text."""
    parts = []
    for cell in cells(lab):
        parts.append(cell.source)
        for output in cell.get("outputs", []):
            parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(parts).lower()


@cache
def headings(path: Path) -> list[str]:
    """The headings of a page or a notebook, without their marks."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in cells(path.stem) if cell.cell_type == "markdown")
    return re.findall(r"^#+ (.+)$", text, re.M)


@pytest.mark.parametrize("entry", course.glossary(), ids=lambda entry: entry.term)
def test_each_term_is_used_in_the_lab_that_it_names(entry):
    """By its abbreviation, or by all of its words, in any order: "layered" and "architecture" count."""
    name, _, short = entry.term.lower().partition(" (")
    words = words_of(entry.lab)
    assert (short and re.search(rf"\b{re.escape(short.rstrip(')'))}\b", words)) or all(
        word in words for word in name.split()
    ), f"{entry.term!r} does not occur in {entry.lab}"


def test_the_reader_of_words_can_miss_one():
    assert "blockchain" not in words_of("00-start-here") and "engine" in words_of("00-start-here")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*_]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_links_work(path):
    text = path.read_text()
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in cells(path.stem) if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        target = next(part for part in target if part)
        if re.match(r"(https?|mailto):", target):
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        if anchor:
            assert anchor.lower() in {slug(heading) for heading in headings(found)}, target


def test_every_page_is_reached_from_the_readme():
    readme = (COURSE / "README.md").read_text()
    for path in PAGES:
        if path.name != "README.md":
            assert f"]({path.relative_to(COURSE)}" in readme, path.name
    for entry in course.labs():
        assert f"](notebooks/{entry.lab}.ipynb)" in readme and entry.title in readme and entry.line in readme


@pytest.mark.parametrize("entry", course.labs(), ids=lambda entry: entry.lab)
def test_the_instructors_plan_fits_the_lab(entry):
    """Minutes follow on each other up to the lab's own; sections are the notebook's, each once, in order."""
    [part] = re.findall(
        rf"^### {entry.number} · {re.escape(entry.title)}\n(.*?)(?=^##)", INSTRUCTOR.read_text(), re.M | re.S
    )
    rows = re.findall(r"^\| (\d+)–(\d+) \| ([\d–]+) \| \S", part, re.M)
    beyond = re.findall(r"^\| – \| (\d+) \| \S", part, re.M)  # "One step further": not for class
    starts, ends = [int(row[0]) for row in rows], [int(row[1]) for row in rows]
    assert starts == [0, *ends[:-1]] and all(a < b for a, b in zip(starts, ends))
    assert ends[-1] == entry.minutes
    planned = []
    for span in [row[2] for row in rows] + beyond:
        first, _, last = span.partition("–")
        planned += range(int(first), int(last or first) + 1)
    titles = headings(COURSE / "notebooks" / f"{entry.lab}.ipynb")
    numbered = [re.match(r"(\d+) ·", heading) for heading in titles]
    assert planned == [int(found[1]) for found in numbered if found]
    assert all(any(title.startswith(f"{number} · One step further") for title in titles) for number in beyond)


@pytest.mark.parametrize("entry", course.labs(), ids=lambda entry: entry.lab)
def test_the_time_on_the_first_cell_is_the_course_s(entry):
    assert f"**Time:** {entry.minutes} minutes" in cells(entry.lab)[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_reads_and_leaves_nothing_outside_its_session(path):
    """No shell, no process, no network and no file, except in a temporary folder that goes with its block."""
    for cell in cells(path.stem):
        if cell.cell_type != "code" or cell.source.startswith("%%docker"):
            continue
        source = re.sub(r"^%%solution.*", "", cell.source)
        assert not re.search(r"^\s*[!%]", source, re.M), cell.id
        tree = ast.parse(source)
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= IMPORTS, cell.id
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id in {"open", "exec", "eval"}), cell.id
        if "pathlib" in source:
            assert "tempfile.TemporaryDirectory()" in source, cell.id


def test_the_readme_counts_the_observer_s_capabilities_and_names_each_helper_with_power():
    readme = (COURSE / "README.md").read_text()
    words = {7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    assert f"with {words[len(observer.CAPABILITIES)]} named capabilities" in readme
    assert all(f"*{name}*" in readme for name in ("keeper", "observer", "visitor", "customer", "porter", "workshop"))
