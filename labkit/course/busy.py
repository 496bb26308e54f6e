"""The line below a cell that shows what takes long."""

import contextvars
import html
import threading
import time
from contextlib import ExitStack
from typing import Self

from ..saying import listening
from .card import in_notebook

#: Seconds of work without a word; what takes longer shows the line.
PATIENCE = 2.0
#: Seconds between two looks of the line: seldom enough for what is being measured meanwhile.
EVERY = 1.0
#: Seconds in which VS Code has drawn an output; of two changes within less it draws the last (0.2 s were enough).
DRAWN = 0.3


class Busy:
    """Shows what is being said while its ``with`` block runs in a notebook's cell. Elsewhere it does nothing.

    The line is a display that begins empty and ends empty, and is filled by updates in between. So it neither
    stays in a notebook that is saved, nor counts as an output where nbval compares.
    """

    def __init__(self) -> None:
        self._line = ""
        self._ended = threading.Event()
        self._stack = ExitStack()

    def hear(self, line: str, done: float | None = None) -> None:
        """As a :class:`labkit.saying.Listener`."""
        self._line = line if done is None else f"{done * 100:.0f} % · {line}"

    def __enter__(self) -> Self:
        if in_notebook():
            # The thread speaks for the cell that runs now, and no later one.
            work = contextvars.copy_context().run
            thread = threading.Thread(target=work, args=(self._show, time.monotonic()), daemon=True)
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(self._ended.set)
            self._stack.enter_context(listening(self.hear))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _show(self, began: float) -> None:
        from IPython.display import display

        from .notebook import in_vscode

        if self._ended.wait(PATIENCE):
            return
        handle = display({}, raw=True, display_id=True)
        try:
            while True:
                what = f"Working: {self._line}" if self._line else "Working"
                text = f"{what} · {time.monotonic() - began:.0f} s"
                markup = f'<div class="labkit-busy" role="status" style="opacity:.75">{html.escape(text)}</div>'
                handle.update({"text/html": markup, "text/plain": text}, raw=True)
                if self._ended.wait(EVERY):
                    return
        finally:
            # VS Code does not draw anew what becomes nothing: first nothing to be seen, and once that is drawn, nothing.
            handle.update({"text/html": "", "text/plain": ""}, raw=True)
            time.sleep(DRAWN if in_vscode() else 0)
            handle.update({}, raw=True)
