"""``labkit run --save``: refresh committed outputs without noise in the diff."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..course.notebook import NO_WIDGETS
from ..course.result import EVIDENCE
from ..errors import LabError
from ..workingcopy import notebook_file
from .outputs import as_text, inside, plain
from .rerun import CELL_TIMEOUT, Cell, LabReport, run_environment

if TYPE_CHECKING:
    from nbformat import NotebookNode

_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Cell metadata that only tell when a cell ran.
_NOISE = ("execution", "ExecuteTime", "collapsed")
#: A cell with this tag says something else on every run, and nothing compares it.
_LOOSE = "nbval-ignore-output"


def save(
    lab: str,
    *,
    engine: str | None = None,
    watch: Callable[[list[Cell]], None] = lambda cells: None,
    stop: Callable[[], bool] = lambda: False,
) -> LabReport:
    """Execute a notebook and keep its outputs: all figures and evidence of this one run, and words only where they changed.

    A lab that fails is not written. Widget views and state are left out: JupyterLab does not
    restore them, and the text beside them says what the widget is.

    Args:
        lab: its name.
        engine: as for ``--engine``.
        watch: called after each cell with the cells that have ended so far.
        stop: asked before each cell; once it says True, nothing more is run or written.
    """
    import nbformat
    from jupyter_client.manager import KernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    path = notebook_file(lab)
    notebook = nbformat.read(path, as_version=4)
    before = {cell.id: (cell.source, cell.get("outputs", [])) for cell in notebook.cells if cell.cell_type == "code"}
    report, began = LabReport(lab), time.monotonic()
    ended: list[Cell] = []

    def starts(cell: NotebookNode, cell_index: int) -> None:
        if stop():
            raise LabError("Interrupted.")

    def has_ended(cell: NotebookNode, cell_index: int, execute_reply: object) -> None:
        ended.append({"cell": len(ended) + 1, "id": cell.id, "outcome": "passed"})
        watch(ended)

    with tempfile.TemporaryDirectory(prefix="labkit-save-") as state:
        client = NotebookClient(
            notebook, timeout=CELL_TIMEOUT, kernel_name="python3", kernel_manager_class=KernelManager,
            resources={"metadata": {"path": str(path.parent)}}, on_cell_start=starts, on_cell_executed=has_ended,
            coalesce_streams=True,  # what a busy cell's line parts is printed in one piece
        )  # fmt: skip
        try:
            client.execute(env=run_environment(engine, state))
        except (CellExecutionError, CellTimeoutError, DeadKernelError, LabError) as fault:
            report.outcome = "fail"
            report.problems.append(_problem(notebook, len(ended), fault))
    report.seconds = round(time.monotonic() - began, 1)
    report.cells = len(ended)
    if report.outcome == "pass":
        tidy(notebook, before)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
    return report


def _problem(notebook: NotebookNode, ended: int, fault: Exception) -> Cell:
    """The cell that raised, as ``labkit run`` tells of it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # nbclient calls a cell that raised executed, too; one that timed out is the next.
    raised = [n for n, cell in enumerate(cells) if any(output.output_type == "error" for output in cell.outputs)]
    number = raised[0] if raised else min(ended, len(cells) - 1)
    cell = cells[number]
    return {
        "cell": number + 1, "id": cell.id, "what": "raised", "source": cell.source,
        "got": as_text(cell.outputs), "detail": plain(str(fault)),
    }  # fmt: skip


def tidy(notebook: NotebookNode, before: dict[str, tuple[str, list[NotebookNode]]]) -> None:
    """Take out what is noise, and keep the words that say the same as ``before``: source and outputs by cell id."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    number = 0
    for cell in notebook.cells:
        for key in _NOISE:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [_tidy_output(output) for output in cell.outputs if not _empty(output)]
        number += 1
        cell.execution_count = number
        source, outputs = before.get(cell.id, (None, []))
        if source == cell.source:
            cell.outputs = keep(outputs, cell.outputs, loose=_LOOSE in cell.metadata.get("tags", []))
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def keep(old: list[NotebookNode], new: list[NotebookNode], *, loose: bool) -> list[NotebookNode]:
    """A cell's new outputs, with the old one in place of each that says the same; what was measured is always new.

    Args:
        old: as committed.
        new: of this run.
        loose: the cell's text differs on every run, so that only its pictures are worth a change, or another engine.
    """
    same = [_words(output) for output in old] == [_words(output) for output in new]
    loose = loose and _engines(old) == _engines(new)
    measured = any(_measured(output) for output in new)
    if old and not measured and (same or loose):
        return old
    if not same:
        return new
    for earlier, now in zip(old, new):
        if _measured(now):
            now.data["text/plain"] = earlier.data["text/plain"]
    return [now if _measured(now) else earlier for earlier, now in zip(old, new)]


def _engines(outputs: list[NotebookNode]) -> set[str]:
    """The engines that a cell's words name, as the engine card does."""
    return {name for output in outputs for name in re.findall(r"Docker Engine \d\S*", str(_words(output)))}


def _measured(output: NotebookNode) -> bool:
    """A picture, or the evidence beside it: both are of one run."""
    data = output.get("data", {})
    return "image/png" in data or EVIDENCE in data.get("text/html", "")


def _empty(output: NotebookNode) -> bool:
    """A display that shows nothing any more, as the line of a busy cell."""
    return bool(output.output_type == "display_data" and not output.data)


def _tidy_output(output: NotebookNode) -> NotebookNode:
    if "data" in output:
        if output.data.pop(_WIDGET, None):
            output.data["text/plain"] = output.data["text/plain"].removesuffix(f"\n{NO_WIDGETS}")
    output.pop("transient", None)
    for place, text in output.get("data", {}).items():
        if place.startswith("text/"):
            output.data[place] = inside(text)
    return output


def _words(output: NotebookNode) -> tuple[object, ...]:
    """What a reader reads, without pictures, HTML and the session's id."""
    if output.output_type == "stream":
        return "stream", output.name, _without_session(output.text)
    return (
        output.output_type,
        _without_session(output.get("data", {}).get("text/plain", "")),
        tuple(sorted(output.get("data", {}))),
    )


def _without_session(text: str) -> str:
    return re.sub(r"-[0-9a-f]{8}\b", "-SESSION", text)
