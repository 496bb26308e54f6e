"""The live out-of-memory widget: set a limit, let a process grow, watch the kernel."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from ...errors import LabError
from ...units import MIB
from . import oom
from .figures_oom import LiveCurve, plot

#: Seconds between drawings: smooth enough to watch, and the kernel's thread stays free.
REDRAW = 0.2


class OomWidget(LabWidget):
    """Sliders, two buttons, a moving curve and the verdict. One run at a time."""

    def __init__(self, on: Context):
        self._on = on
        self._run: oom.LiveRun | None = None
        wide = {"style": {"description_width": "130px"}, "layout": w.Layout(width="440px")}
        self.limit = w.IntSlider(value=32, min=8, max=128, step=8, description="Limit (MiB)", **wide)
        self.growth = w.IntSlider(value=20, min=5, max=100, step=5, description="Growth (MiB/s)", **wide)
        self.swap = w.IntSlider(value=0, min=0, max=128, step=8, description="Swap on top (MiB)", **wide)
        self.grower = w.ToggleButtons(
            options=[("the main process", "main"), ("a child", "child")], description="Who grows",
            style={"description_width": "130px", "button_width": "140px"}, layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.start = button("Start", "Start a container with these settings", button_style="primary", icon="play")
        self.stop = button("Stop", "docker kill: end it by hand, before the kernel does", icon="stop", disabled=True)
        self.says = w.HTML(words("Set a limit, press Start, and watch.", "note"))
        self.curve = FigureView()
        self.curve.layout.display = ""
        self.curve.value = LiveCurve(self.limit.value * MIB).draw([])
        self.verdict = w.HTML()
        self.start.on_click(self._start)
        self.stop.on_click(self._stop)
        super().__init__(
            "Grow a process inside a limit",
            [
                w.VBox([self.limit, self.growth, self.swap, self.grower]),
                w.HBox([self.start, self.stop, self.says], layout=w.Layout(align_items="center", margin="6px 0")),
                self.curve,
                self.verdict,
            ],
            "Widget: sliders for limit, growth and swap, a choice of who grows, Start and Stop, and the live curve.",
        )

    def _start(self, _: object = None) -> None:
        self.verdict.value = ""
        self.says.value = words("Starting a container …", "note")
        self.beside(self._watch, self.start, self.says)

    def _stop(self, _: object = None) -> None:
        self.stop.disabled = True
        run = self._run
        if run is None:
            return
        try:
            run.stop()
        except LabError as fault:
            self.says.value = words(str(fault), "bad")

    def _watch(self) -> None:
        try:
            limit = self.limit.value * MIB
            curve = LiveCurve(limit)
            settings = {
                "pace": 1 / self.growth.value,
                "swap": self.swap.value * MIB,
                "grower": self.grower.value,
            }
            with oom.start(self._on, limit, **settings) as self._run:
                self.stop.disabled = False
                self.says.value = words("It grows …", "note")
                while not self._run.ended:
                    self._run.poll(REDRAW)
                    self.curve.value = curve.draw(self._run.samples)
                result = self._run.finish()
            self.curve.show(plot(result))
            self.says.value = words(result.verdict.explanation)
            self.verdict.value = f"<pre>{result.verdict}</pre>"
        finally:
            self._run = None
            self.stop.disabled = True
