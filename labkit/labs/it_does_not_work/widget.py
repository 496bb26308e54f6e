"""The widget: an incident to choose, a clock that runs, hints, a check, and the card of how it went."""

import html
import threading
import time

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from . import incidents
from .figures import plot_report

#: Seconds after which a forgotten clock stands still.
FORGOTTEN = 2 * 3600


class IncidentWidget(LabWidget):
    """Choose a number, read what a user reports, and mend it from cells or a terminal."""

    def __init__(self, on: Context):
        self._on = on
        keys = incidents.order("")
        numbers = {
            f"{place} · {incidents.LEVELS[incidents.catalogue()[key].level]}": place
            for place, key in enumerate(keys, 1)
        }
        self.number = w.Dropdown(
            options=list(numbers.items()), description="Incident", layout=w.Layout(width="360px", max_width="95%")
        )
        self.seed = w.Text(
            description="Word", placeholder="the room's, if any", layout=w.Layout(width="260px", max_width="95%")
        )
        self.start = button(
            "Start", "Break the system; what is there of an earlier incident goes", button_style="primary", icon="play"
        )
        self.hint = button("Hint", "Where to look; each press says more", disabled=True)
        self.check = button("Check", "Ask as a customer, and look at the cause", icon="check", disabled=True)
        self.clock = w.HTML()
        self.report, self.says, self.hints = (
            w.HTML(),
            w.HTML(words("Choose an incident, and press Start.", "note")),
            w.HTML(),
        )
        self.figure = FigureView()
        self.on_press(self.start, self.says, "Something is being broken …", self._start)
        self.on_press(self.hint, self.says, "Looking …", self._hint)
        self.on_press(self.check, self.says, "A customer orders, and the cause is looked for …", self._check)
        wrap = w.Layout(flex_flow="row wrap")
        super().__init__(
            "It does not work",
            [
                w.HBox([self.number, self.seed, self.start], layout=wrap),
                self.report,
                w.HBox([self.hint, self.check, self.clock], layout=wrap),
                self.says,
                self.hints,
                self.figure,
            ],
            "Widget: choose an incident and start it; a user's report, a clock, a button for hints, a button for the check, "
            "and at the end the card of how it went.",
        )

    def _start(self) -> None:
        started = incidents.start(self._on, self.number.value, seed=self.seed.value.strip() or None)
        self.report.value = str(started._repr_mimebundle_()["text/html"])
        self.hints.value, self.figure.layout.display = "", "none"
        self.says.value = words("Look, guess, prove, repair. Then press Check.", "note")
        self.hint.disabled = self.check.disabled = False
        at = incidents.current(self._on)
        threading.Thread(target=self._tick, args=(at,), daemon=True, name="labkit-clock").start()

    def _tick(self, at: incidents.Running) -> None:
        while incidents.running(self._on) is at and not at.done and at.seconds < FORGOTTEN:
            self.clock.value = words(f"{int(at.seconds) // 60}:{int(at.seconds) % 60:02}", "note")
            time.sleep(1)

    def _hint(self) -> None:
        self.hints.value += f"<div>{words(incidents.hint(self._on), 'note')}</div>"
        self.says.value = ""

    def _check(self) -> None:
        report = incidents.check(self._on)
        self.figure.show(plot_report(report))
        said = html.unescape(report.facts())
        self.says.value = words(said[:1].upper() + said[1:], "good" if report.mended else "bad")
