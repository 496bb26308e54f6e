"""Replicas by a slider: how many answer to one name, and how many answers a second that gives."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from . import machines
from .figures import plot_replicas


class ScaleWidget(LabWidget):
    """A slider for the number of replicas and a button that starts and loads them."""

    def __init__(self, on: Context):
        self._on = on
        self.most = w.IntSlider(value=2, min=1, max=5, description="Replicas", style={"description_width": "90px"})
        self.go = button("Start and load", "Start the replicas one by one, load them", button_style="primary")
        self.says = w.HTML(words("Choose a number, then start.", "note"))
        self.figure = FigureView()
        self.on_press(self.go, self.says, "Starting containers, sending requests …", self._run)
        super().__init__(
            "Replicas behind one name",
            [w.HBox([self.most, self.go]), self.says, self.figure],
            "Widget: choose how many replicas answer to one name, start them on the engine, and see how many "
            "answers a second they give.",
        )

    def _run(self) -> None:
        run = machines.replicas(self._on, self.most.value, n=2)
        self.figure.show(plot_replicas(run))
        self.says.value = words("Done; the replicas are gone again.", "good")
