"""What ``labkit run`` shows while it works: a row per lab on a terminal, a line per event elsewhere."""

import json
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..course import labs
from ..workingcopy import notebook_file
from .rerun import Cell, LabReport

#: How an outcome looks: sign and colour; the word stands beside it, so that colour is never the only cue.
SIGNS = {"pass": ("✓", "green"), "drift": ("≠", "yellow"), "fail": ("✗", "red")}


def code_cells(lab: str) -> int:
    """How many code cells a committed notebook has."""
    return sum(
        cell["cell_type"] == "code" for cell in json.loads(notebook_file(lab).read_text(encoding="utf-8"))["cells"]
    )


class Board:
    """Use it in a ``with`` block; it may be told of several labs at once. It shows on standard error: not in ``--json``."""

    def __init__(self, names: list[str], console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._rows = Progress(
            TextColumn("{task.fields[sign]}"), TextColumn("{task.description}"), BarColumn(24, "cyan"),
            MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[says]}"),
            console=self._console, refresh_per_second=5, disable=not self._console.is_terminal,
        )  # fmt: skip
        titles = {entry.lab: f"{entry.number} {entry.title}" for entry in labs()}
        self._task = {
            lab: self._rows.add_task(titles[lab], start=False, total=code_cells(lab), sign="[dim]·", says="[dim]waits")
            for lab in names
        }

    def __enter__(self) -> Self:
        self._rows.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.stop()

    def start(self, lab: str) -> None:
        """A lab has begun."""
        self._rows.start_task(self._task[lab])
        self._rows.update(self._task[lab], sign="…", says="")
        self._line(f"{lab} …")

    def cells(self, lab: str, cells: list[Cell]) -> None:
        """These cells of a lab have ended."""
        odd = sum(cell["outcome"] != "passed" for cell in cells)
        says = f"[yellow]{odd} not as committed" if odd else ""
        self._rows.update(self._task[lab], completed=len(cells), says=says)

    def end(self, report: LabReport) -> None:
        """A lab has ended."""
        sign, colour = SIGNS[report.outcome]
        cells = ", ".join(f"[{problem['cell']}]" for problem in report.problems[:6] if problem["cell"])
        says = f"[{colour}]{report.outcome}" + (f" in cell {cells}" if cells else "")
        self._rows.update(self._task[report.lab], completed=report.cells, sign=f"[{colour}]{sign}", says=says)
        self._rows.stop_task(self._task[report.lab])
        self._line(f"{report.lab}: {report.outcome} · {report.cells} cells · {report.seconds:.0f} s")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, markup=False)
