"""``labkit run``: re-execute labs and compare them with their committed outputs."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..course import labs, resolve
from ..paths import COURSE
from .common import add_engine, add_json, say, sweep
from .save import save

#: Seconds that one cell may take, on the slowest engine.
CELL_TIMEOUT = 600


@dataclass
class LabReport:
    """How one lab went: ``pass``, ``fail`` (a cell raised) or ``drift`` (an output differs)."""

    lab: str
    outcome: str = "pass"
    seconds: float = 0.0
    cells: int = 0
    problems: list[dict] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labs", nargs="*", metavar="NN", help="numbers or names; default: all")
    parser.add_argument("--all", action="store_true", help="all labs (the default when none is named)")
    parser.add_argument("--save", action="store_true", help="execute and refresh the committed outputs instead")
    add_engine(parser)
    add_json(parser)


def chosen(names: list[str]) -> list[str]:
    """The labs meant, in the order given; all that this checkout has when none is."""
    if names:
        return [resolve(name).lab for name in names]
    return [entry.lab for entry in labs() if (COURSE / "notebooks" / f"{entry.lab}.ipynb").exists()]


def main(options: argparse.Namespace) -> int:
    reports = []
    for lab in chosen([] if options.all else options.labs):
        say(f"{lab} …")
        report = save(lab, engine=options.engine) if options.save else execute(lab, engine=options.engine)
        sweep(options.engine)  # a kernel that was not given the time to tidy up itself
        reports.append(report)
        say(f"{lab}: {report.outcome} · {report.cells} cells · {report.seconds:.0f} s")
        for problem in report.problems:
            say(f"  cell {problem['cell']}: {problem['what']}\n{_indent(problem['detail'])}")
    if options.json:
        print(json.dumps({"ok": _ok(reports), "labs": [asdict(report) for report in reports]}, indent=1))
    else:
        width = max((len(report.lab) for report in reports), default=0)
        for report in reports:
            print(f"{report.lab:<{width}}  {report.outcome}  {report.cells} cells  {report.seconds:.0f} s")
    return 0 if _ok(reports) else 1


def _ok(reports: list[LabReport]) -> bool:
    return bool(reports) and all(report.outcome == "pass" for report in reports)


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines()[:40])


def run_environment(engine: str | None, state: str) -> dict[str, str]:
    """The environment of a rerun: solutions run, and the learner's own progress stays untouched."""
    added = {"LABKIT_SOLUTIONS": "1", "LABKIT_STATE": state}
    if engine:
        added["LABKIT_ENGINE"] = engine
    return {**os.environ, **added}


def execute(lab: str, *, engine: str | None = None) -> LabReport:
    """Run one lab under nbval and report each cell that raised or differs."""
    report = LabReport(lab)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labkit-run-") as folder:
        lines = Path(folder, "cells.jsonl")
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}",
            f"--nbval-sanitize-with={COURSE / 'tests/notebooks/sanitize.cfg'}",
            "-p", "labkit.commands.nbval_report", f"--labkit-report={lines}",
            str(COURSE / "notebooks" / f"{lab}.ipynb"),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=COURSE, env=run_environment(engine, folder), capture_output=True, text=True)
        cells = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    report.seconds = round(time.monotonic() - began, 1)
    report.cells = len(cells)
    for cell in cells:
        if cell["outcome"] != "passed":
            report.problems.append(cell)
    if report.problems:
        raised = any(problem["what"] != "drift" for problem in report.problems)
        report.outcome = "fail" if raised else "drift"
    elif done.returncode or not cells:
        report.outcome = "fail"
        report.problems.append(
            {"cell": 0, "what": "the run itself failed", "detail": done.stdout[-2000:] + done.stderr[-2000:]}
        )
    return report
