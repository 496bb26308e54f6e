"""What ``labkit run`` shows while it works: a row per lab on a terminal, a line per event elsewhere."""

from __future__ import annotations

import json
import threading
import time

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..course import labs
from ..workingcopy import notebook_file
from .rerun import Cell, LabReport

#: How an outcome looks: sign and colour; the word stands beside it, so that colour is never the only cue.
SIGNS = {"pass": ("✓", "green"), "drift": ("≠", "yellow"), "fail": ("✗", "red")}


def code_cells(lab: str) -> int:
    """How many code cells a committed notebook has."""
    return sum(cell["cell_type"] == "code" for cell in json.loads(notebook_file(lab).read_text("utf-8"))["cells"])


class _Row:
    """How far one lab is."""

    def __init__(self, lab: str, title: str):
        self.lab, self.title = lab, title
        self.total = code_cells(lab)
        self.done = self.odd = 0
        self.began: float | None = None
        self.report: LabReport | None = None
        self.spinner = Spinner("dots")

    def sign(self) -> Text | Spinner:
        if self.report:
            sign, colour = SIGNS[self.report.outcome]
            return Text(sign, colour)
        return self.spinner if self.began is not None else Text("·", "dim")

    def says(self) -> Text:
        if self.report:
            cells = ", ".join(f"[{problem['cell']}]" for problem in self.report.problems[:6] if problem["cell"])
            words = self.report.outcome + (f" in cell {cells}" if cells else "")
            return Text(words, SIGNS[self.report.outcome][1])
        if self.began is None:
            return Text("waits", "dim")
        return Text(f"{self.odd} not as committed", "yellow") if self.odd else Text("")

    def seconds(self) -> str:
        if self.report:
            return f"{self.report.seconds:.0f} s"
        return "" if self.began is None else f"{time.monotonic() - self.began:.0f} s"


class Board:
    """Use it in a ``with`` block; it may be told of several labs at once.

    Args:
        names: the labs, in the order of the rows.
        console: where to show it; standard error by default, so that ``--json`` stays clean.
    """

    def __init__(self, names: list[str], console: Console | None = None):
        self._console = console or Console(stderr=True)
        titles = {entry.lab: f"{entry.number} {entry.title}" for entry in labs()}
        self._rows = {lab: _Row(lab, titles[lab]) for lab in names}
        self._lock = threading.Lock()
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=5)

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def start(self, lab: str) -> None:
        """A lab has begun."""
        with self._lock:
            self._rows[lab].began = time.monotonic()
        self._line(f"{lab} …")

    def cells(self, lab: str, cells: list[Cell]) -> None:
        """These cells of a lab have ended."""
        with self._lock:
            row = self._rows[lab]
            row.done = len(cells)
            row.odd = sum(cell["outcome"] != "passed" for cell in cells)

    def end(self, report: LabReport) -> None:
        """A lab has ended."""
        with self._lock:
            row = self._rows[report.lab]
            row.report, row.done = report, report.cells
        self._line(f"{report.lab}: {report.outcome} · {report.cells} cells · {report.seconds:.0f} s")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, markup=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        with self._lock:
            for row in self._rows.values():
                bar = ProgressBar(
                    total=row.total, completed=row.done, width=24, complete_style="cyan", finished_style="cyan"
                )
                table.add_row(row.sign(), row.title, bar, f"{row.done}/{row.total}", row.seconds(), row.says())
        return table
