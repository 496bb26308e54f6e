"""What a lab adds to a notebook's kernel: readable errors and folded solutions."""

from __future__ import annotations

import os
from typing import Any

from ..engine.faults import explain
from ..errors import LabError

#: Stands below a widget's text, which is shown only where the widget itself can't be. Never saved, nor compared.
NO_WIDGETS = (
    "(No widget to be seen? What shows this notebook has no ipywidgets: "
    "open it with labkit lab, or give VS Code its Jupyter extension.)"
)


def prepare(endpoint: str = "") -> None:
    """Set up the running IPython shell; safe to call again.

    Args:
        endpoint: the engine that faults of docker-py itself, raised in a learner's own call, come from.
    """
    import docker.errors
    import requests.exceptions
    from IPython import get_ipython

    def show(
        shell: Any, kind: type[BaseException], fault: BaseException, trace: object, tb_offset: object = None
    ) -> list[str]:
        # The whole traceback stays reachable with %tb; a learner needs the sentence.
        told = explain(fault, endpoint)
        lines = [f"{kind.__name__}: {told.what}"]
        lines += [line for line in (told.engine and f"Engine: {told.engine}", told.cause, told.next_step) if line]
        shell._showtraceback(kind, fault, lines)
        return lines

    shell = get_ipython()
    told_in_sentences = (LabError, docker.errors.DockerException, requests.exceptions.RequestException)
    shell.set_custom_exc(told_in_sentences, show)
    shell.register_magic_function(solution, "cell", "solution")


def solution(line: str, cell: str) -> None:
    """``%%solution key``: this cell's code is a reference solution.

    It runs where the course is tested (``LABKIT_SOLUTIONS=1``) or when a learner changes the
    first line to ``%%solution key --run``. Otherwise "Run all" leaves the exercise to the learner.
    """
    from IPython import get_ipython

    words = line.split()
    if os.environ.get("LABKIT_SOLUTIONS") == "1" or "--run" in words:
        done = get_ipython().run_cell(cell)
        done.raise_error()
        return
    print("A solution is folded here. Try first; to run it, add --run to its first line.")
