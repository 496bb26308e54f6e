"""What a learner reads when a cell fails: sentences, also where docker-py itself raised, and no traceback."""

import nbformat
from nbclient import NotebookClient

from labkit.paths import COURSE

OPEN = 'import labkit\nlab = labkit.open("00-start-here")'


def shown(*cells: str) -> list[str]:
    """The error text of each cell's output, run in a kernel of its own."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": COURSE}}).execute()
    outputs = [[output for output in cell.outputs if output.output_type == "error"] for cell in notebook.cells]
    return ["\n".join(found[0].traceback) if found else "" for found in outputs]


def test_faults_in_a_learners_own_calls_are_sentences(engine):
    opened, missing, taken, own, slip = shown(
        OPEN,
        'lab.docker.containers.get("nobody")',
        'for _ in range(2): lab.docker.containers.create("labkit/busybox:1", ["true"], name=lab.name_for("twice"))',
        'lab.oom.grow("lots")',
        "1 / 0",
    )
    assert opened == ""
    assert "The engine answered 404: No such container: nobody" in missing and engine.endpoint in missing
    assert "exists already" in taken and "lab.name_for" in taken
    for text in (missing, taken, own):
        assert text and "Traceback" not in text and "site-packages" not in text
    assert "ZeroDivisionError" in slip and "----" in slip  # any other fault stays as Python shows it
