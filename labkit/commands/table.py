"""What ``labkit run --matrix`` found, as lines for a terminal and as a page of Markdown."""

import os
import platform
import time
from collections.abc import Sequence
from textwrap import shorten
from typing import TypedDict

from .. import __version__, course
from ..units import show_size
from .outputs import inside
from .report import SIGNS, LabRow, Report, difference, minutes
from .rerun import Cell

#: Letters of a difference's line that the page shows at most.
WIDTH = 160


class Entry(TypedDict):
    """One row of the matrix: ``how`` its engine came to be, ``report`` of its labs, and where there is none, ``why``;
    ``failed`` says whether that, or a lab, is a failure."""

    row: str
    how: str
    report: Report | None
    why: str
    failed: bool


def as_text(found: Sequence[Entry], labs: Sequence[str]) -> str:
    """A line per engine with a sign per lab, and each cell that differs below it."""
    width = max((len(entry["row"]) for entry in found), default=0)
    lines = [f"  {'':<{width}}  {'  '.join(lab[:2] for lab in labs)}"]
    for entry in found:
        signs = (
            "   ".join(_sign(entry["report"], lab) for lab in labs) if entry["report"] else f"not run: {entry['why']}"
        )
        lines.append(f"{_whole(entry)} {entry['row']:<{width}}  {signs}")
        lines += [f"    {lab['lab']} {_cell(problem)}" for lab, problem in _problems(entry)]
    return "\n".join(lines)


def as_markdown(found: Sequence[Entry], labs: Sequence[str]) -> str:
    """A page: the table, engine by lab, then the engines' facts, then the cells that differ and how."""
    parts = [
        "# The labs on other engines",
        f"Run on {time.strftime('%Y-%m-%d %H:%M')} by `labkit run --matrix` (labkit {__version__}), "
        f"on {_system()}. {SIGNS['pass']} all outputs are those in the notebook; {SIGNS['drift']} it ran and says "
        f"something else in these cells; {SIGNS['fail']} these cells raised an error.",
        _table(["engine", *(lab[:2] for lab in labs)], [_row(entry, labs) for entry in found]),
        "## The engines",
        _table(
            ["engine", "what it is", "API", "images", "control groups", "system", "time"], [_facts(e) for e in found]
        ),
    ]
    podman = [
        f"- **{entry.number}**: {entry.limits['Podman']}"
        for entry in course.labs()
        if "Podman" in entry.limits and entry.lab in labs
    ]
    if podman and any(entry["report"] and entry["report"]["engine"]["name"] == "Podman" for entry in found):
        parts += [
            "## What Podman does otherwise",
            "A lab that needs Docker's own engine starts one where only Podman is found, unless you name Podman "
            "(`LABKIT_ENGINE=host`, or `DOCKER_HOST`); the engine card then says the same as here.",
            "\n".join(podman),
        ]
    differing = [
        (entry, lab)
        for entry in found
        for lab in (entry["report"]["labs"] if entry["report"] else [])
        if lab["problems"]
    ]
    if differing:
        parts.append("## Cells that differ")
    for entry, lab in differing:
        parts.append(f"**{entry['row']}, lab {lab['lab'][:2]}**")
        parts.append("\n".join(f"- {_cell(problem)}: {_briefly(problem)}" for problem in lab["problems"]))
    return "\n\n".join(parts) + "\n"


def _briefly(problem: Cell) -> str:
    # A line a cell: the page stays a page, also where an engine is not Docker's at all.
    told = [
        " ".join(inside(line).split()).replace("`", "'")
        for line in difference(problem)
        if line.strip() not in ("", "+", "-")
    ]
    if problem["what"] == "raised":
        return f"`{shorten(' '.join(told), WIDTH)}`"
    changed = [line for line in told if line[0] in "+-"] or told
    return ", ".join(f"`{shorten(line, WIDTH)}`" for line in changed[:2])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in line) + " |" for line in lines
    )


def _row(entry: Entry, labs: Sequence[str]) -> list[str]:
    if not entry["report"]:
        return [entry["row"], *["–"] * len(labs)]
    cells = []
    for lab in labs:
        numbers = [
            f"[{problem['cell']}]" for found, problem in _problems(entry) if found["lab"] == lab and problem["cell"]
        ]
        cells.append(" ".join([_sign(entry["report"], lab), *numbers]))
    return [entry["row"], *cells]


def _facts(entry: Entry) -> list[str]:
    if not entry["report"]:
        return [entry["row"], f"not run: {entry['why']}", *[""] * 5]
    engine = entry["report"]["engine"]
    emulated = ", emulated" if engine["emulated"] else ""
    return [
        entry["row"],
        f"{engine['name']} {engine['version']} ({entry['how']}{emulated})",
        engine["api_version"],
        engine["image_store"],
        f"version {engine['cgroup_version']}",
        f"{engine['operating_system']}, Linux {engine['kernel']}, {engine['cpus']} CPU, {show_size(engine['memory'])}",
        minutes(entry["report"]["seconds"]),
    ]


def _problems(entry: Entry) -> list[tuple[LabRow, Cell]]:
    labs = entry["report"]["labs"] if entry["report"] else []
    return [(lab, problem) for lab in labs for problem in lab["problems"]]


def _cell(problem: Cell) -> str:
    return f"[{problem['cell']}] {problem['id']}: {problem['what']}" if problem["cell"] else problem["what"]


def _sign(report: Report, lab: str) -> str:
    return next((SIGNS[found["outcome"]] for found in report["labs"] if found["lab"] == lab), "–")


def _whole(entry: Entry) -> str:
    return SIGNS["fail"] if entry["failed"] else SIGNS["pass"] if entry["report"] else "–"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPU"
