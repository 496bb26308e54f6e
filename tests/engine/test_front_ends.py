"""Kind 9, beside the notebook: a lab runs where no widget can be shown, and its cells say what is missing."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.course.notebook import NO_WIDGETS
from labkit.paths import COURSE

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lab", ["00-start-here", "07-container-lifetime"])
def test_plain_nbclient_runs_a_lab_and_its_widgets_are_words(engine, lab):
    """As Papermill does, which is nbclient with parameters: every cell, one after the other, and nobody who presses."""
    notebook = nbformat.read(COURSE / "notebooks" / f"{lab}.ipynb", 4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": COURSE / "notebooks"}})
    client.execute(env={**os.environ, "LABKIT_ENGINE": engine.endpoint, "PYTHONPATH": str(COURSE)})
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    texts = [data["text/plain"] for data in shown if WIDGET in data]
    assert texts and all(text.endswith(NO_WIDGETS) and len(text) > len(NO_WIDGETS) + 5 for text in texts)
    assert "children=" not in "".join(data.get("text/plain", "") for data in shown)
