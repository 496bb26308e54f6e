"""The report of ``labkit run``: as plain data, as lines for a terminal, as one HTML file."""

import difflib
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NotRequired, TypedDict, cast

from tornado import template

from .. import __version__
from ..course import budgets, card, labs
from ..engine import EngineFacts
from ..paths import data_file
from .rerun import Cell, LabReport

#: How an outcome is said; the sign stands beside the colour, which is never the only cue.
SIGNS = {"pass": "✓", "drift": "≠", "fail": "✗"}
#: Lines of an output that a report shows at most.
LINES = 60


class LabRow(TypedDict):
    """A :class:`LabReport` as plain data."""

    lab: str
    outcome: str
    began: float
    seconds: float
    cells: int
    problems: list[Cell]
    slowest: list[Cell]
    budget: NotRequired[int]


class Report(TypedDict):
    """A run as ``--json`` prints it; ``interrupted`` is the matrix's."""

    ok: bool
    ended: str
    seconds: float
    jobs: int
    labkit: str
    engine: dict[str, Any]
    labs: list[LabRow]
    not_run: list[str]
    interrupted: NotRequired[bool]


def as_dict(
    reports: list[LabReport], facts: EngineFacts, *, seconds: float, jobs: int, not_run: Sequence[str] = ()
) -> Report:
    """The report as ``--json`` prints it; ``seconds`` go from the first lab's start to the last one's end."""
    return {
        "ok": bool(reports) and not not_run and all(report.outcome == "pass" for report in reports),
        "ended": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "seconds": round(seconds, 1),
        "jobs": jobs,
        "labkit": __version__,
        "engine": {**asdict(facts), "name": facts.name},
        "labs": [cast(LabRow, {**asdict(report), **_budget(report.lab, facts)}) for report in reports],
        "not_run": list(not_run),
    }


def _budget(lab: str, facts: EngineFacts) -> dict[str, int]:
    kind = "emulated" if facts.emulated else "native"
    return {"budget": budgets()[lab][kind]} if lab in budgets() else {}


def _took(lab: LabRow) -> str:
    """A lab's time, and its budget where that was not kept: a busy or slow machine, or something that has got slower."""
    over = lab["seconds"] > lab.get("budget", lab["seconds"])
    return f"{lab['seconds']:>4.0f} s" + (f" (budget {lab['budget']} s)" if over else "")


def as_text(found: Report) -> str:
    """What a person reads at the end of a run: a line per lab, and each difference."""
    width = max((len(lab["lab"]) for lab in found["labs"]), default=0)
    lines = []
    for lab in found["labs"]:
        lines.append(
            f"{SIGNS[lab['outcome']]} {lab['lab']:<{width}}  {lab['outcome']:<5}  {lab['cells']:>2} cells  {_took(lab)}"
        )
        for problem in lab["problems"]:
            lines.append(f"    cell [{problem['cell']}] {problem['id']}: {problem['what']}")
            lines += ["      " + line for line in difference(problem)]
    lines += [f"- {lab:<{width}}  not run" for lab in found["not_run"]]
    lines.append(f"{_headline(found)} in {minutes(found['seconds'])}, {found['jobs']} at a time.")
    return "\n".join(lines)


def difference(problem: Cell) -> list[str]:
    """Expected against got, line by line; what nbval or Python said where there's no difference in words."""
    if problem["what"] == "drift" and problem["expected"] != problem["got"]:
        pair = problem["expected"].splitlines(), problem["got"].splitlines()
        return [line for line in difflib.ndiff(*pair) if not line.startswith("?")][:LINES]
    said = problem.get("got") or problem["detail"]
    return said.splitlines()[:LINES]


def _headline(found: Report) -> str:
    good = sum(lab["outcome"] == "pass" for lab in found["labs"])
    missing = len(found["not_run"])
    return f"{good} of {len(found['labs'])} labs pass" + (f", {missing} not run" if missing else "")


def minutes(seconds: float) -> str:
    """A duration as a person says it."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def as_html(found: Report) -> str:
    """The report as one HTML file that needs nothing beside it; it follows the reader's light or dark setting."""
    page = template.Template(data_file("report.html").read_text(encoding="utf-8"), autoescape="xhtml_escape")
    facts = EngineFacts(**{key: value for key, value in found["engine"].items() if key != "name"})
    made: bytes = page.generate(
        found=found, title=_headline(found), engine=card.rows(facts), names={entry.lab: entry.title for entry in labs()},
        signs=SIGNS, took=_took, minutes=minutes, sides=_sides, most=LINES,
    )  # fmt: skip
    return made.decode()


def _sides(problem: Cell) -> list[tuple[str, list[tuple[bool, str]]]]:
    """Expected and got, line by line, each with whether it differs."""
    old, new = problem["expected"].splitlines(), problem["got"].splitlines()
    left, right = list[tuple[bool, str]](), list[tuple[bool, str]]()
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        left += [(kind != "equal", line) for line in old[a:b]]
        right += [(kind != "equal", line) for line in new[c:d]]
    return [("expected", left), ("got", right)]
