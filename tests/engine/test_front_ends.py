"""Kind 9, beside the notebook: a lab runs where no widget can be shown, and its cells say what is missing."""

import os
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient

from labkit.course.notebook import NO_WIDGETS
from labkit.paths import COURSE

WIDGET = "application/vnd.jupyter.widget-view+json"


def by_nbclient(source: Path, target: Path) -> None:
    notebook = nbformat.read(source, 4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": source.parent}}).execute()
    nbformat.write(notebook, target)


def by_papermill(source: Path, target: Path) -> None:
    """With a parameter, which Papermill sets in a cell of its own, above the lab's first one."""
    papermill.execute_notebook(source, target, {"room": 7}, cwd=source.parent, progress_bar=False)


LABS = sorted(path.stem for path in (COURSE / "notebooks").glob("[0-9]*.ipynb"))
QUICK = [("00-start-here", by_papermill), ("07-container-lifetime", by_nbclient)]
EACH = [pytest.param(lab, by_papermill, marks=pytest.mark.slow) for lab in LABS if (lab, by_papermill) not in QUICK]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("lab", "run"), [*QUICK, *EACH])
def test_a_program_runs_a_lab_and_its_widgets_are_words(engine, monkeypatch, tmp_path, lab, run):
    """Every cell, one after the other, and nobody who presses."""
    monkeypatch.setenv("LABKIT_ENGINE", engine.endpoint)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(COURSE), os.environ.get("PYTHONPATH")])))
    run(COURSE / "notebooks" / f"{lab}.ipynb", tmp_path / "done.ipynb")
    notebook = nbformat.read(tmp_path / "done.ipynb", 4)
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    texts = [data["text/plain"] for data in shown if WIDGET in data]
    assert texts and all(text.endswith(NO_WIDGETS) and len(text) > len(NO_WIDGETS) + 5 for text in texts)
    assert "children=" not in "".join(data.get("text/plain", "") for data in shown)
