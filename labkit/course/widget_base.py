"""One look for all widgets, and a plain text in place of their ever-changing repr."""

import html
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets as w
from traitlets import Unicode

from ..engine import faults
from ..paths import text_beside
from .notebook import NO_WIDGETS
from .style import LARGER, Picture

#: Set once per displayed widget; JupyterLab's own variables follow the light and dark theme.
CSS = f"\n<style>\n{text_beside(__file__, 'widget.css')}</style>\n"


class LabWidget(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Base of the course's widgets.

    Args:
        title: above its ``children``.
        text: what stands in the notebook where widgets don't run (GitHub, nbval): the same words
            on every run, no live value.
    """

    def __init__(self, title: str, children: Sequence[w.Widget], text: str) -> None:
        super().__init__([w.HTML(CSS), w.HTML(words(title, "title")), *children])
        self.add_class("labkit-widget")
        self._text = text

    def on_press(self, starter: w.Button, says: w.HTML, meanwhile: str, work: Callable[[], object]) -> None:
        """From now on a press of ``starter`` does this work, as :meth:`beside`; ``says`` tells of it meanwhile."""

        def start(_: w.Button) -> None:
            says.value = words(meanwhile, "note")
            self.beside(work, starter, says)

        starter.on_click(start)

    def beside(self, work: Callable[[], object], starter: w.Button, says: w.HTML) -> None:
        """Do what a press asks for in a thread of its own, so that the page stays alive.

        Args:
            work: what to do; whatever goes wrong in it is told in ``says``.
            starter: the pressed button; it can't be pressed again until the work has ended.
            says: the widget's line of words.
        """
        starter.disabled = True

        def guarded() -> None:
            try:
                with told(says):
                    work()
            finally:
                starter.disabled = False

        threading.Thread(target=guarded, daemon=True, name=f"labkit-{type(self).__name__}").start()

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        # The text beside the widget must be the same on every run, and whole: ipywidgets cuts its own.
        return {**super()._repr_mimebundle_(**options), "text/plain": f"{self._text}\n{NO_WIDGETS}"}


@contextmanager
def told(says: w.HTML) -> Iterator[None]:
    """Whatever goes wrong in the block stands in ``says`` as a sentence; a fault of labkit's own is raised on as well."""
    try:
        yield
    except BaseException as fault:
        says.value = words(str(faults.explain(fault)), "bad")
        if not isinstance(fault, faults.told()):
            raise


class FigureView(w.Image):  # type: ignore[misc]  # ipywidgets has no types
    """Where a widget shows figures: takes no room before the first one, and says each one in words, too."""

    #: ipywidgets 8.1 looks at the length of this before it shows any tooltip; its own Image has none.
    description = Unicode("").tag(sync=True)

    def __init__(self) -> None:
        super().__init__(format="png", layout=w.Layout(width="100%", max_width=f"{920 * LARGER:.0f}px", display="none"))

    def show(self, picture: Picture) -> None:
        """Show a figure in place of the one before."""
        self.tooltip = picture.alt
        self.value = picture.png
        self.layout.display = ""


def words(text: str, kind: str = "") -> str:
    """Text as HTML; ``kind`` is ``title``, ``good``, ``bad`` or ``note``. Backticks mark code."""
    parts = html.escape(text).split("`")
    marked = "".join(part if n % 2 == 0 else f"<code>{part}</code>" for n, part in enumerate(parts))
    return f'<span class="labkit-{kind}">{marked}</span>' if kind else marked


def button(text: str, hint: str, **options: Any) -> w.Button:
    """A button with a tooltip; as wide as its text needs."""
    return w.Button(
        description=text, tooltip=hint, layout=w.Layout(width="auto", min_width="96px", flex="0 0 auto"), **options
    )
