"""One lab, executed again under nbval and compared with its committed outputs."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ..paths import COURSE, data_file
from ..workingcopy import notebook_file
from .common import interrupt

#: Seconds that one cell may take, on the slowest engine.
CELL_TIMEOUT = 600
#: Seconds between two looks at a running lab.
POLL = 0.2
#: Seconds that an interrupted lab gets to tidy up before it is killed.
PATIENCE = 20
#: How many of a lab's slowest cells a report names.
SLOWEST = 3


class Cell(TypedDict, total=False):
    """One cell of a run: its number on screen, what became of it, and what it should have said."""

    cell: int
    id: str
    outcome: str
    what: str
    seconds: float
    source: str
    expected: str
    got: str
    detail: str


@dataclass
class LabReport:
    """How one lab went: ``pass``, ``fail`` (a cell raised) or ``drift`` (an output differs).

    ``began`` is in seconds since the first lab's start, ``seconds`` is this lab's own time.
    ``problems`` has one entry per cell that is not as committed; ``slowest`` names cells and seconds.
    """

    lab: str
    outcome: str = "pass"
    began: float = 0.0
    seconds: float = 0.0
    cells: int = 0
    problems: list[Cell] = field(default_factory=list)
    slowest: list[Cell] = field(default_factory=list)


def run_environment(engine: str | None, state: str) -> dict[str, str]:
    """The environment of a rerun: solutions run, and the learner's own progress stays untouched."""
    added = {"LABKIT_SOLUTIONS": "1", "LABKIT_STATE": state}
    if engine:
        added["LABKIT_ENGINE"] = engine
    return {**os.environ, **added}


def execute(
    lab: str,
    *,
    engine: str | None = None,
    watch: Callable[[list[Cell]], None] = lambda cells: None,
    stop: Callable[[], bool] = lambda: False,
) -> LabReport:
    """Run one lab under nbval and report each cell that raised or differs.

    Args:
        lab: its name.
        engine: as for ``--engine``.
        watch: called every now and then with the cells that have ended so far.
        stop: asked as often; once it says True the lab is interrupted, and has time to tidy up.
    """
    report = LabReport(lab)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labkit-run-") as folder:
        lines = Path(folder, "cells.jsonl")
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-c", os.devnull, "--noconftest",  # a learner's folder may lie below a project with settings of its own
            "--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}",
            f"--nbval-sanitize-with={data_file('sanitize.cfg')}",
            "-p", "labkit.commands.nbval_report", f"--labkit-report={lines}",
            str(notebook_file(lab)),
        ]  # fmt: skip
        with open(Path(folder, "log"), "w+") as log:
            process = subprocess.Popen(
                command, cwd=COURSE, env=run_environment(engine, folder), stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the terminal reaches it once, from here
            )  # fmt: skip
            interrupted = _wait(process, lambda: watch(_read(lines)), stop)
            log.seek(0)
            tail = log.read()[-4000:]
        cells = _read(lines)
    report.seconds = round(time.monotonic() - began, 1)
    report.cells = len(cells)
    report.problems = [cell for cell in cells if cell["outcome"] != "passed"]
    ranked = sorted(cells, key=lambda cell: -cell["seconds"])
    report.slowest = [{"cell": one["cell"], "id": one["id"], "seconds": one["seconds"]} for one in ranked[:SLOWEST]]
    if report.problems:
        raised = any(problem["what"] != "drift" for problem in report.problems)
        report.outcome = "fail" if raised else "drift"
    elif process.returncode or not cells:
        report.outcome = "fail"
        what = "interrupted" if interrupted else "the run itself failed"
        report.problems.append({"cell": 0, "id": "", "what": what, "detail": tail})
    return report


def _wait(process: subprocess.Popen[bytes], look: Callable[[], None], stop: Callable[[], bool]) -> bool:
    """Look now and then until the process ends; returns whether it was stopped."""
    while process.poll() is None:
        if stop():
            interrupt(process, PATIENCE)
            return True
        look()
        time.sleep(POLL)
    return False


def _read(lines: Path) -> list[Cell]:
    """The cells reported so far; a line that is still being written counts next time."""
    if not lines.exists():
        return []
    return [
        json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
