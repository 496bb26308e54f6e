"""Two widgets: a quota to slide, and flags to choose for the program that tries everything."""

from typing import Any

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from . import cpu, flags
from .figures_limits import plot_throttle
from .figures_security import plot_flags


class QuotaWidget(LabWidget):
    """A slider for ``--cpus``, and the staircase that comes of it."""

    def __init__(self, on: Context):
        self._on = on
        self.cpus = w.FloatSlider(
            value=0.3, min=0.05, max=1, step=0.05, description="--cpus", layout=w.Layout(width="440px")
        )
        self.start = button("Run", "Serve fifteen requests inside this quota", button_style="primary", icon="play")
        self.says = w.HTML(words("Set a quota, press Run, and compare the slopes.", "note"))
        self.figure = FigureView()
        self.on_press(self.start, self.says, "Fifteen requests are served …", self._run)
        super().__init__(
            "Work inside a quota",
            [w.HBox([self.cpus, self.start]), self.says, self.figure],
            "Widget: a slider for the quota, a button Run, and the staircase of processor time against the clock.",
        )

    def _run(self) -> None:
        run = cpu.throttle(self._on, self.cpus.value)
        self.figure.show(plot_throttle(run))
        self.says.value = words(run.facts().splitlines()[0])


class FlagsWidget(LabWidget):
    """Boxes for flags, and what the program that tries everything says with all that are ticked."""

    def __init__(self, on: Context):
        self._on = on
        self.boxes = {flag.text: w.Checkbox(description=flag.text, indent=False) for flag in flags.FLAGS if flag.text}
        self.start = button("Try everything", "Run the program with these flags", button_style="primary", icon="play")
        self.says = w.HTML(words("Tick some flags, and press.", "note"))
        self.figure = FigureView()
        self.on_press(self.start, self.says, "The program tries everything …", self._run)
        super().__init__(
            "Take rights away",
            [*self.boxes.values(), self.start, self.says, self.figure],
            "Widget: a box for each flag, a button, and the table of what root may do without and with them.",
        )

    def _run(self) -> None:
        chosen = [flag for flag in flags.FLAGS if flag.text and self.boxes[flag.text].value]
        options: dict[str, Any] = {}
        for flag in chosen:
            for name, value in flag.options.items():
                options[name] = [*options.get(name, []), *value] if isinstance(value, list) else value
        together = flags.Flag(" ".join(flag.text for flag in chosen) or "no flag", options, "your flags")
        run = flags.with_flags(self._on, [flags.FLAGS[0], together])
        self.figure.show(plot_flags(run))
        self.says.value = words(f"With `{together.text}`, {len(run.may(1))} of {len(flags.ATTEMPTS)} attempts succeed.")
