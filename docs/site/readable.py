"""The course as pages to read: notebooks made readable where nothing runs, and the pages that ``data/`` gives.

Nothing is executed. What a notebook shows live (predictions, the quiz, widgets) becomes text and figures here.
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.course import LabEntry, glossary, labs, notes, notes_count
from labkit.course.exercises import LabContent, Question
from labkit.paths import COURSE, data_file

Cell = dict[str, Any]

#: A widget's cell → the cell with the figure that shows the same, where that isn't the last one above it.
FIGURES = {"lab06-32": "lab06-26", "lab08-36": "lab08-07", "lab10-25": "lab10-17"}

#: What of README.md tells how to run the course, by its headings.
HOW_TO_RUN = ["Two commands", "The command line", "What a lab does to your engine"]


def readable(notebook: dict[str, Any], lab: LabEntry, figures: Path) -> dict[str, Any]:
    """A notebook for readers; the original stays as it is.

    Args:
        notebook: as its file holds it.
        lab: the lab that it belongs to.
        figures: a folder for the figures that stand a second time, beside the widgets.
    Raises:
        ValueError: a cell with several figures: their text alternatives could not be told apart.
    """
    content = LabContent.beside(str(COURSE / "labkit" / "labs" / lab.folder / "checks.py"))
    page, cells = copy.deepcopy(notebook), []
    # `%%docker` is no Python: IPython's own lexer knows cells of another language.
    page["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    evidence = {one.cell for one in notes()}
    for cell in page["cells"]:
        if cell["id"] in evidence:
            cells.append(_text(f"{cell['id']}-here", f"({cell['id']})="))
        if cell["cell_type"] == "code":
            cells += _code(cell, content, page["cells"], figures)
        else:
            cells.append(cell)
    first = next(cell for cell in cells if "".join(cell["source"]).startswith("# "))
    title, _, rest = "".join(first["source"]).partition("\n")
    first["source"] = f"{title}\n\n{_how_to_run(lab)}\n{rest}"
    page["cells"] = cells
    return page


def _how_to_run(lab: LabEntry) -> str:
    return _box(
        "Read here, run there", "run",
        f"Nothing runs on this page, and what stands below its cells came from a real engine: to have one answer you, "
        f"type `make lab LAB={lab.number}` in a checkout of the course ([how that works](/run.md)).",
    )  # fmt: skip


def _code(cell: Cell, content: LabContent, cells: list[Cell], figures: Path) -> Iterator[Cell]:
    """A code cell, and the text that stands for what it shows live."""
    source = "".join(cell["source"])
    figure = _figure(cell)
    if figure:
        cell["metadata"]["mystnb"] = {"image": {"alt": figure["alt"]}}
    if source.startswith("%%solution "):
        cell["source"] = source.partition("\n")[2]
        cell["metadata"]["tags"].append("hide-cell")
        cell["metadata"]["mystnb"] = {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
    instead = _instead(cell, source, content, cells, figures)
    if instead:
        cell["outputs"] = []
    yield cell
    if instead:
        yield _text(f"{cell['id']}-read", instead)


def _text(name: str, source: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def _instead(cell: Cell, source: str, content: LabContent, cells: list[Cell], figures: Path) -> str:
    """What a page says in place of something live; nothing for all other cells."""
    said = "".join(text for output in cell["outputs"] for text in output.get("data", {}).get("text/plain", []))
    if asked := re.search(r'lab\.predict\("([^"]+)"\)', source):
        return _box("Predict", "question", _question(content.predictions[asked[1]], "Compare"))
    if "lab.quiz()" in source:
        each = [f"**{n}.** {_question(question, 'Answer')}" for n, question in enumerate(content.quiz, 1)]
        return _box("Quiz", "question", "\n\n".join(each))
    if said.startswith("Widget: "):
        shown = FIGURES.get(cell["id"]) or [c["id"] for c in cells[: cells.index(cell)] if _figure(c)][-1]
        picture = _figure(next(c for c in cells if c["id"] == shown))
        figures.mkdir(parents=True, exist_ok=True)
        (figures / f"{shown}.png").write_bytes(base64.b64decode(picture["png"]))
        image = f"```{{image}} /{figures.name}/{shown}.png\n:alt: {picture['alt']}\n:width: 919px\n```"
        description = said.removeprefix("Widget: ")
        text = f"{description[0].upper()}{description[1:]} Where no widget runs, this figure says the same:"
        return _box("A widget of the live lab", "widget", f"{text}\n\n{image}")
    if said.startswith("Glossary, "):
        return f"All {len(glossary())} terms are in the [glossary](/glossary.md)."
    if said.startswith("The notes and their evidence"):
        return f"{notes_count()}. Each is in [the notes and their evidence](/notes.md)."
    return ""


def _figure(cell: Cell) -> dict[str, str]:
    """A cell's figure, as ``png`` (base64) and ``alt``; empty where it has none."""
    found = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    if len(found) > 1:
        raise ValueError(f"{cell['id']} has {len(found)} figures: give each a cell of its own.")
    return (
        {"png": o["data"]["image/png"], "alt": o["metadata"]["image/png"]["alt"]} if (o := (found or [None])[0]) else {}
    )


def _question(question: Question, answer: str) -> str:
    choices = "\n".join(f"1. {choice}" for choice in question.choices)
    folded = _box(answer, "answer", f"**{question.right}.** {question.why}", fence="````", folded=True)
    return f"{question.asks}\n\n{choices}\n\n{folded}"


def _box(title: str, kind: str, text: str, fence: str = "`````", folded: bool = False) -> str:
    """A box with a title, as MyST writes it."""
    options = f":class: course-{kind}\n" + (":collapsible: closed\n" if folded else "")
    return f"{fence}{{admonition}} {title}\n{options}\n{text}\n{fence}\n"


def pages() -> dict[str, str]:
    """The pages that are written anew with each build, by their names, in Markdown."""
    readme = re.split(r"^## (.*)\n", (COURSE / "README.md").read_text(encoding="utf-8"), flags=re.M)
    parts = dict(zip(readme[1::2], readme[2::2]))
    start = (COURSE / "docs" / "site" / "start.md").read_text(encoding="utf-8")
    return {
        "index.md": start.replace("COURSE-MAP", _map()).replace("LAST-VERIFIED", _verified()),
        "run.md": "# Run it live\n\n" + "\n".join(f"## {name}\n{parts[name]}" for name in HOW_TO_RUN),
        "glossary.md": _glossary(),
        "notes.md": _notes(),
    }


def _map() -> str:
    """The course as a path: a list of its labs, each with its question, its time and its terms."""
    places = []
    for lab in labs():
        terms = ", ".join(f"{{term}}`{entry.term}`" for entry in glossary() if entry.lab == lab.lab)
        about = f"\n\n   {terms}" if terms else ""
        places.append(f"1. **[{lab.number} · {lab.title}](/notebooks/{lab.lab}.ipynb)**\n\n   {lab.line}{about}\n\n"
                      f"   {lab.minutes} minutes")  # fmt: skip
    return "````{container} course-map\n" + "\n".join(places) + "\n````"


def _verified() -> str:
    found = json.loads(data_file("verified.json").read_text(encoding="utf-8"))
    with_what = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"Last verified on {found['date']}, with {with_what}."


def _glossary() -> str:
    titles = {lab.lab: f"{lab.number} · {lab.title}" for lab in labs()}
    entries = [
        f"{entry.term}\n  {entry.meaning} [{titles[entry.lab]}](/notebooks/{entry.lab}.ipynb)" for entry in glossary()
    ]
    words = "Every term of the course, each with the lab that shows it."
    return f"# Glossary\n\n{words}\n\n````{{glossary}}\n" + "\n\n".join(entries) + "\n````\n"


def _notes() -> str:
    """Each statement of the notes, with a link to the cell that is its evidence."""
    parts = [
        "# The notes and their evidence",
        "The course follows a text, *the notes*: **live**, an output of the course shows the statement; **corrected**, "
        "an output shows something else; **told**, it can't be shown, and why; **missing**, yet to come.",
        f"{notes_count()}.",
    ]
    for section, statements in itertools.groupby(notes(), lambda one: one.section):
        parts += [f"## {section}", "| The notes | The course | Where |\n| --- | --- | --- |"]
        for one in statements:
            where = f"[lab {one.lab[:2]}](#{one.cell})" if one.cell else f"lab {one.lab[:2]}"
            row = [text.replace("|", "\\|") for text in (one.says, one.told(), where)]
            parts[-1] += f"\n| {' | '.join(row)} |"
    return "\n\n".join(parts) + "\n"
