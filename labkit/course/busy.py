"""A line below a cell that works for long: what it does, and for how long already. It leaves nothing behind."""

from __future__ import annotations

import contextvars
import html
import threading
import time

from .card import in_notebook

#: Seconds of work without a word; what takes longer shows the line.
PATIENCE = 2.0
#: Seconds between two looks of the line: seldom enough for what is being measured meanwhile.
EVERY = 1.0


class Busy:
    """Shown while its ``with`` block runs in a notebook's cell. Elsewhere it does nothing.

    The line is a display that begins empty and ends empty, and is filled by updates in between. So it neither
    stays in a notebook that is saved, nor counts as an output where nbval compares.
    """

    def __init__(self):
        self._line = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, line: str) -> None:
        """What is being done now."""
        self._line = line

    def share(self, done: float, line: str) -> None:
        """What is being done now, and which part of the whole is done (0 to 1)."""
        self._line = f"{done * 100:.0f} % · {line}"

    def __enter__(self) -> Busy:
        if in_notebook():
            # The thread speaks for the cell that runs now, and no later one.
            work = contextvars.copy_context().run
            self._thread = threading.Thread(target=work, args=(self._show, time.monotonic()), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self, began: float) -> None:
        from IPython.display import display

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
            handle.update({}, raw=True)
