"""The report of ``labkit run``: as plain data, as lines for a terminal, as one HTML file."""

import difflib
import html
import time
from collections.abc import Sequence
from dataclasses import asdict
from string import Template
from typing import Any, NotRequired, TypedDict, cast

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
    page = Template(data_file("report.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=html.escape(_headline(found)),
        outcome="pass" if found["ok"] else "fail",
        sign=SIGNS["pass" if found["ok"] else "fail"],
        when=html.escape(f"{found['ended']} · {minutes(found['seconds'])}, {found['jobs']} at a time"),
        engine=_engine(found["engine"]),
        rows="\n".join(_row(lab, found["seconds"]) for lab in found["labs"]),
        problems="\n".join(_problems(lab) for lab in found["labs"] if lab["problems"]),
    )


def _engine(engine: dict[str, Any]) -> str:
    facts = EngineFacts(**{key: value for key, value in engine.items() if key != "name"})
    return "\n".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in card.rows(facts))


def _row(lab: LabRow, whole: float) -> str:
    """One lab as a row: its outcome, and a bar from its start to its end."""
    title = {entry.lab: entry.title for entry in labs()}.get(lab["lab"], lab["lab"])
    left = 100 * lab["began"] / max(whole, 0.1)
    width = max(0.5, 100 * lab["seconds"] / max(whole, 0.1))
    slowest = ", ".join(f"[{cell['cell']}] {cell['id']} {cell['seconds']:.0f} s" for cell in lab["slowest"])
    name = f"{html.escape(lab['lab'][:2])} · {html.escape(title)}"
    link = f'<a href="#{html.escape(lab["lab"])}">{name}</a>' if lab["problems"] else name
    return (
        f'<tr><td class="{lab["outcome"]}">{SIGNS[lab["outcome"]]} {lab["outcome"]}</td><td>{link}</td>'
        f'<td class="number">{lab["cells"]}</td><td class="number">{_took(lab)}</td>'
        f'<td><div class="track" title="slowest cells: {html.escape(slowest or "unknown")}">'
        f'<div class="bar {lab["outcome"]}" style="left:{left:.1f}%;width:{min(width, 100 - left):.1f}%"></div></div>'
        f"</td></tr>"
    )


def _problems(lab: LabRow) -> str:
    parts = [f'<h2 id="{html.escape(lab["lab"])}">{html.escape(lab["lab"])}</h2>']
    for problem in lab["problems"]:
        where = f"Cell [{problem['cell']}] <code>{html.escape(problem['id'])}</code>" if problem["cell"] else "The run"
        kind = "drift" if problem["what"] == "drift" else "fail"
        parts.append(f'<h3>{where} <span class="{kind}">{SIGNS[kind]} {html.escape(problem["what"])}</span></h3>')
        if problem.get("source"):
            parts.append(f'<pre class="source">{html.escape(problem["source"])}</pre>')
        if kind == "drift" and problem["expected"] != problem["got"]:
            parts.append(_side_by_side(problem["expected"], problem["got"]))
        elif problem.get("got"):
            parts.append(f"<pre>{html.escape(problem['got'])}</pre>")
        detail = html.escape("\n".join(problem["detail"].splitlines()[-LINES:]))
        parts.append(f"<details><summary>all that was said</summary><pre>{detail}</pre></details>")
    return "\n".join(parts)


def _side_by_side(expected: str, got: str) -> str:
    old, new = expected.splitlines(), got.splitlines()
    left, right = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        mark = "{}" if kind == "equal" else "<mark>{}</mark>"
        left += [mark.format(html.escape(line) or " ") for line in old[a:b]]
        right += [mark.format(html.escape(line) or " ") for line in new[c:d]]
    columns = (("expected", left), ("got", right))
    return '<div class="pair">' + "".join(
        f"<div><small>{name}</small><pre>{chr(10).join(lines[:LINES])}</pre></div>" for name, lines in columns
    ) + "</div>"  # fmt: skip
