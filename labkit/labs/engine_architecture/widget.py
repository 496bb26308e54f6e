"""The X-ray with flags to change: run, look, zoom."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from . import xray
from .figures_xray import plot

_NETWORKS = [("bridge (default)", ""), ("none", "--network none"), ("host", "--network host")]
_LIMITS = [
    ("no limits", ""),
    ("--memory 64m", "--memory 64m"),
    ("--cpus 0.5", "--cpus 0.5"),
    ("--read-only", "--read-only"),
]


class XrayWidget(LabWidget):
    """Choices of flags, one button, the swimlane, and a zoom on any span of it."""

    def __init__(self, on: Context):
        self._on = on
        self._result: xray.Xray | None = None
        wide = {"style": {"description_width": "90px"}, "layout": w.Layout(width="300px")}
        self.network = w.Dropdown(options=_NETWORKS, description="Network", **wide)
        self.limit = w.Dropdown(options=_LIMITS, description="Limits", **wide)
        self.zoom = w.Dropdown(options=[("whole run", None)], description="Zoom to", disabled=True, **wide)
        self.start = button("docker run", "Run a container with these flags, and see through it",
                            button_style="primary", icon="play")  # fmt: skip
        self.says = w.HTML(words("Choose flags and press docker run.", "note"))
        self.picture = FigureView()
        self.start.on_click(self._start)
        self.zoom.observe(self._draw, names="value")
        super().__init__(
            "X-ray a docker run",
            [w.HBox([self.network, self.limit, self.start]), self.zoom, self.says, self.picture],
            "Widget: choices of network and limits, a button docker run, the swimlane of that run, and a zoom.",
        )

    def _start(self, _: object = None) -> None:
        self.zoom.disabled = True
        self.says.value = words("Running …", "note")
        self.beside(self.run, self.start, self.says)

    def run(self) -> None:
        """One run with the chosen flags; shows it."""
        flags = " ".join(part for part in (self.network.value, self.limit.value) if part)
        try:
            self._result = xray.run(self._on, flags)
            names = [span.name for span in self._result.spans if span.end > span.start]
            self.zoom.options = [("whole run", None), *((name, name) for name in dict.fromkeys(names))]
            self.zoom.value = None
            self._draw()
            self.says.value = words(self._result.facts())
        finally:
            self.zoom.disabled = self._result is None

    def _draw(self, _: object = None) -> None:
        if self._result is not None:
            self.picture.show(plot(self._result, zoom=self.zoom.value))
