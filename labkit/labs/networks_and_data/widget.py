"""A widget: the map of two networks, with containers to connect and disconnect while they run."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from .figures_networks import plot_looks
from .yard import NETWORKS, PLAN, Yard


class YardWidget(LabWidget):
    """A box for each container in each network; a press makes it so on the engine, and pings from each to each."""

    def __init__(self, on: Context):
        self._on, self._yard = on, Yard(on)
        self.boxes = {
            (word, net): w.Checkbox(value=net in PLAN[word], description=f"{word} in {net}", indent=False)
            for word in PLAN for net in NETWORKS
        }  # fmt: skip
        self.start = button("Connect and ping", "Make it so, and ping", button_style="primary", icon="play")
        self.says = w.HTML(words("Tick who is in which network, and press.", "note"))
        self.figure = FigureView()
        self.on_press(self.start, self.says, "The engine connects, and each pings each …", self._run)
        rows = [w.HBox([self.boxes[word, net] for net in NETWORKS]) for word in PLAN]
        super().__init__(
            "Draw the map",
            [*rows, self.start, self.says, self.figure],
            "Widget: boxes for three containers in two networks, a button, the map and who reaches whom.",
        )

    def _run(self) -> None:
        typed = []
        self._yard.open()
        for (word, net), ticked in ((pair, one.value) for pair, one in self.boxes.items()):
            if ticked is not (net in self._yard.plan[word]):
                self._yard.join(word, net, leave=not ticked)
                typed.append(f"`docker network {'connect' if ticked else 'disconnect'} {net} {word}`")
        look = self._yard.look()
        self.figure.show(plot_looks(self._on.facts, {"The map now": look}))
        count = sum(look.reached[a, b] for a in PLAN for b in PLAN if a != b)
        typed = typed or ["nothing changed"]
        self.says.value = words(f"{' · '.join(typed)} → {count} of 6 ways between the three are open.")
