"""What a lab adds to a notebook's kernel: readable errors and folded solutions."""

from __future__ import annotations

import os

from .errors import LabError


def prepare() -> None:
    """Set up the running IPython shell; safe to call again."""
    from IPython import get_ipython

    shell = get_ipython()
    shell.set_custom_exc((LabError,), _show_sentence)
    shell.register_magic_function(solution, "cell", "solution")


def _show_sentence(shell, kind, fault, trace, tb_offset=None):
    # The whole traceback stays reachable with %tb; a learner needs the sentence.
    lines = [f"{kind.__name__}: {fault.what}"]
    lines += [line for line in (fault.engine and f"Engine: {fault.engine}", fault.cause, fault.next_step) if line]
    shell._showtraceback(kind, fault, lines)
    return lines


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
