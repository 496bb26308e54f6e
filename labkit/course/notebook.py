"""What a lab adds to a notebook's kernel: readable errors, folded solutions, cells of docker commands."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..engine import Session
from ..engine.dockercli import commands, stream
from ..engine.faults import explain, told
from ..errors import BadInput
from .busy import Busy

#: Stands below a widget's text, which is shown only where the widget itself can't be. Never saved, nor compared.
NO_WIDGETS = (
    "(No widget to be seen? Run this cell. Where that shows none, what shows this notebook has no ipywidgets: "
    "open it with labkit lab, or give VS Code its Jupyter extension.)"
)


#: Seconds that a kernel takes at most to tidy up when it is told to end.
LAST = 15.0


def end_tidily(close: Callable[[], object]) -> None:
    """When SIGTERM ends this kernel, tidy up first; safe to call again.

    JupyterLab asks a kernel to end, and it does so by itself. VS Code sends the signal a second after that.

    Args:
        close: what tidies. It runs in a thread: what the signal interrupts may hold what it needs.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    ending = threading.Event()
    atexit.register(ending.set)  # runs before what was registered earlier: who tidies up already is left to it

    def tidy() -> None:
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(LAST)
        os._exit(128 + signal.SIGTERM)

    def told_to_end(*_: object) -> None:
        if not ending.is_set():
            ending.set()
            threading.Thread(target=tidy, daemon=True).start()

    signal.signal(signal.SIGTERM, told_to_end)


def in_vscode() -> bool:
    """Whether VS Code's Jupyter extension has started this kernel: it leaves the notebook's path in a variable."""
    from IPython import get_ipython

    return "__vsc_ipynb_file__" in getattr(get_ipython(), "user_ns", ())


def prepare(endpoint: str = "", session: Session | None = None) -> None:
    """Set up the running IPython shell; safe to call again.

    Args:
        endpoint: the engine that faults of docker-py itself, raised in a learner's own call, come from.
        session: what cells of docker commands belong to; there are none without.
    """
    from IPython import get_ipython

    def show(
        shell: Any, kind: type[BaseException], fault: BaseException, trace: object, tb_offset: object = None
    ) -> list[str]:
        # The whole traceback stays reachable with %tb; a learner needs the sentence.
        found = explain(fault, endpoint)
        lines = [f"{kind.__name__}: {found.what}"]
        lines += [line for line in (found.engine and f"Engine: {found.engine}", found.cause, found.next_step) if line]
        shell._showtraceback(kind, fault, lines)
        return lines

    shell = get_ipython()
    shell.set_custom_exc(told(), show)
    shell.register_magic_function(solution, "cell", "solution")
    if session:
        shell.register_magic_function(lambda line, cell: typed(session, line, cell), "cell", "docker")


def typed(session: Session, line: str, cell: str) -> None:
    """``%%docker``: this cell is docker commands, as one types them in a terminal.

    They run one after the other on the lab's engine, and what they make is the lab's. ``%%docker own`` runs them on the
    engine of the lab that the variable ``own`` holds; with ``--keep-going`` a command that fails says its status, and
    the next one runs all the same.

    Raises:
        BadInput: a command that failed, with its line; or one that is no docker command.
    """
    from IPython import get_ipython

    words = line.split()
    for name in words:
        if name != "--keep-going":
            lab = get_ipython().user_ns.get(name)
            if not hasattr(lab, "context"):
                raise BadInput(f"{name!r} is no lab that is open.", next_step="Such as own, after own = lab.own().")
            session = lab.context.session
    with Busy():
        session.engine.cli_path()  # here: fetching it, once, takes a while
    for number, command in commands(cell, session.id):
        try:
            status = stream(session, command, lambda text: (sys.stdout.write(text), sys.stdout.flush()))
        except BadInput as fault:  # the line of the cell, of which the magic's own is the first
            raise BadInput(f"Line {number + 1}: {fault.what}", cause=fault.cause, next_step=fault.next_step) from fault
        if status and "--keep-going" in words:
            print(f"(status {status})")
        elif status:
            raise BadInput(
                f"Line {number + 1} ended with status {status}: {command}",
                next_step="Docker's own words are above. Change the line and run the cell again.",
            )


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
    print("This is a solution. Try first; to run it, add --run to its first line.")
