"""A widget: choose a way, roll a release out under load, and watch each request as it is answered or lost."""

import time

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from ...observe.visitor import Visit
from .kiosk import BAD, WAYS
from .rollouts import release_of, rollout

#: Seconds between two looks of the page, and how many requests it shows.
_EVERY, _SHOWN = 0.3, 80


class RolloutWidget(LabWidget):
    """The way, the release and whether its health is looked at; a press rolls out on the engine."""

    def __init__(self, on: Context):
        self._on, self._drawn = on, 0.0
        self.way = w.ToggleButtons(options=WAYS, description="Way")
        self.bad = w.Checkbox(value=False, description="the bad release", indent=False)
        self.look = w.Checkbox(value=True, description="look at its health", indent=False)
        self.start = button("Roll out", "Roll the release out under load", button_style="primary", icon="play")
        self.says = w.HTML(words("Choose a way, and press.", "note"))
        self.strip = w.HTML()
        self.figure = FigureView()
        self.on_press(self.start, self.says, "Customers ask, and the release is rolled out …", self._run)
        super().__init__(
            "Roll out under load",
            [self.way, w.HBox([self.bad, self.look]), self.start, self.says, self.strip, self.figure],
            "Widget: choose a way, a good or a bad release, and whether its health is looked at; each request of the "
            "customers appears as it is answered or lost.",
        )

    def _run(self) -> None:
        release = BAD if self.bad.value else ""
        run = rollout(self._on, self.way.value, release, look=self.look.value, watch=self._watch)
        self._show(run.visits)
        self.figure.show(run.plot())
        ended = f"given up: {run.found}" if run.found else f"release {run.after} serves."
        self.says.value = words(f"{run.way}: {ended} Requests lost: {len(run.lost)} of {len(run.visits)}.",
                                "bad" if run.lost else "good")  # fmt: skip

    def _watch(self, rows: list[Visit]) -> None:
        if time.monotonic() > self._drawn + _EVERY:
            self._drawn = time.monotonic()
            self._show(rows)

    def _show(self, rows: list[Visit]) -> None:
        marks = []
        for visit in rows[-_SHOWN:]:
            new = release_of(visit) != "1"
            marks.append(words("✗", "bad") if visit.status != 200 else words("■", "good") if new else "●")
        lost = sum(visit.status != 200 for visit in rows)
        self.strip.value = (
            f'<div style="overflow-wrap:anywhere;line-height:1.3">{"".join(marks)}</div>'
            f"<small>● release 1 · ■ another release · ✗ lost: {lost} of {len(rows)} requests</small>"
        )
