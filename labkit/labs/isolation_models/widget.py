"""Widgets of the isolation lab: namespaces by flag, and benchmarks within a budget."""

import threading

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from ...saying import listening
from . import isolation_disk, visibility


class NamespaceWidget(LabWidget):
    """One toggle per flag; each change starts a real container with those flags and compares."""

    def __init__(self, on: Context):
        self._on = on
        self.toggles = {
            name: w.ToggleButton(description=flag, tooltip=f"share the {name} namespace with the machine",
                                 layout=w.Layout(width="auto"))
            for name, (flag, _) in visibility.FLAGS.items()
        }  # fmt: skip
        self.start = button(
            "Run", "Start a container with these flags and compare", button_style="primary", icon="play"
        )
        self.says = w.HTML(words("Choose what the container shares with the machine, press Run.", "note"))
        self.picture = FigureView()
        self.on_press(self.start, self.says, "Starting a container …", self._run)
        row = w.HBox(list(self.toggles.values()), layout=w.Layout(flex_flow="row wrap"))
        super().__init__(
            "Which namespaces are its own?",
            [row, w.HBox([self.start, self.says], layout=w.Layout(align_items="center")), self.picture],
            "Widget: a toggle each for --pid, --network, --ipc, --uts, --cgroupns and --userns=host, and Run.",
        )

    def _run(self) -> None:
        chosen = [name for name, toggle in self.toggles.items() if toggle.value]
        view = visibility.namespaces(self._on, *chosen)
        self.picture.show(view.plot())
        self.says.value = words(view.facts())


class StopwatchWidget(LabWidget):
    """Choose a benchmark and a budget; Start measures, Stop keeps what was measured until then."""

    def __init__(self, on: Context):
        self._on = on
        self._stopped = threading.Event()
        self.which = w.Dropdown(options=list(isolation_disk.BENCHMARKS), description="Measure",
                                style={"description_width": "80px"}, layout=w.Layout(width="260px"))  # fmt: skip
        self.budget = w.IntSlider(value=40, min=10, max=240, step=10, description="Budget (s)",
                                  style={"description_width": "80px"}, layout=w.Layout(width="360px"))  # fmt: skip
        self.start = button("Start", "Measure within the budget", button_style="primary", icon="play")
        self.stop = button("Stop", "End now; what was measured is kept", icon="stop", disabled=True)
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout=w.Layout(width="240px"))
        self.says = w.HTML(words("Nothing measured yet.", "note"))
        self.picture = FigureView()
        self.on_press(self.start, self.says, "Getting ready …", self._run)
        self.stop.on_click(lambda _: self._stopped.set())
        super().__init__(
            "Measure it yourself",
            [
                w.HBox([self.which, self.budget], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.start, self.stop, self.bar], layout=w.Layout(align_items="center")),
                self.says,
                self.picture,
            ],
            "Widget: choose a benchmark and a budget in seconds; Start, Stop, a progress bar and the figure.",
        )

    def _hear(self, text: str, share: float | None = None) -> None:
        self.bar.value = self.bar.value if share is None else share
        self.says.value = words(text, "note")
        if self._stopped.is_set():
            raise KeyboardInterrupt

    def _run(self) -> None:
        self._stopped.clear()
        self.stop.disabled = False
        self.bar.value = 0
        try:
            name = self.which.value
            with listening(self._hear):
                result = isolation_disk.BENCHMARKS[name](self._on, self.budget.value)
            self.bar.value = 1
            self.picture.show(result.plot("ecdf" if name == "start-latency" else "plot"))
            self.says.value = words(result.facts())
        except KeyboardInterrupt:
            self.says.value = words("Stopped before anything was measured.", "note")
        finally:
            self.stop.disabled = True
