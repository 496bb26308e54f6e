"""``labkit run --save``: refresh committed outputs without noise in the diff."""

from __future__ import annotations

import tempfile
import time

from ..paths import COURSE

_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Cell metadata that only tell when a cell ran.
_NOISE = ("execution", "ExecuteTime", "collapsed")


def save(lab: str, *, engine: str | None = None):
    """Execute a notebook and keep its outputs; what says the same as before stays byte for byte.

    A cell's old outputs are kept when source and text are unchanged: a figure with other measured
    numbers is no reason for a diff. Widget views and state are left out: JupyterLab does not
    restore them, and the text beside them says what the widget is.
    """
    import nbformat
    from jupyter_client.manager import KernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    from .run import CELL_TIMEOUT, LabReport, run_environment

    path = COURSE / "notebooks" / f"{lab}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    before = {cell.id: (cell.source, cell.get("outputs", [])) for cell in notebook.cells if cell.cell_type == "code"}
    report, began = LabReport(lab), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labkit-save-") as state:
        client = NotebookClient(
            notebook, timeout=CELL_TIMEOUT, kernel_name="python3", kernel_manager_class=KernelManager,
            resources={"metadata": {"path": str(path.parent)}},
        )  # fmt: skip
        try:
            client.execute(env=run_environment(engine, state))
        except CellExecutionError as fault:
            report.outcome = "fail"
            report.problems.append({"cell": 0, "what": "raised", "detail": str(fault)})
    report.seconds = round(time.monotonic() - began, 1)
    report.cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    if report.outcome == "pass":
        tidy(notebook, before)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
    return report


def tidy(notebook, before: dict) -> None:
    """Take out what is noise, and put back outputs that say the same as before."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    number = 0
    for cell in notebook.cells:
        for key in _NOISE:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [_tidy_output(output) for output in cell.outputs]
        number += 1
        cell.execution_count = number
        source, outputs = before.get(cell.id, (None, []))
        if source == cell.source and outputs and _text(outputs) == _text(cell.outputs):
            cell.outputs = outputs
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def _tidy_output(output):
    if "data" in output:
        output.data.pop(_WIDGET, None)
    output.pop("transient", None)
    return output


def _text(outputs) -> list:
    """What a reader reads, without pictures and HTML."""
    rows = []
    for output in outputs:
        if output.output_type == "stream":
            rows.append((output.name, output.text))
        else:
            rows.append(
                (output.output_type, output.get("data", {}).get("text/plain"), "image/png" in output.get("data", {}))
            )
    return rows
