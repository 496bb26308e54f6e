"""Build your own container: a switch for each part, and what the program inside can still do."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from . import own_container


class BuilderWidget(LabWidget):
    """Toggles for root filesystem, namespaces and limits; Run builds the container and reports from inside."""

    def __init__(self, on: Context):
        self._on = on
        self.toggles = {
            name: w.ToggleButton(description=name, tooltip=f"take away {what}", layout=w.Layout(width="auto"))
            for name, what in own_container.PARTS.items()
        }
        self.run = button("Run", "Build it with these parts and look from inside", button_style="primary", icon="play")
        self.says = w.HTML(words("Switch parts on, press Run, and see what the program inside can still do.", "note"))
        self.picture = FigureView()
        self.on_press(self.run, self.says, "Building …", self._build)
        row = w.HBox(list(self.toggles.values()), layout=w.Layout(flex_flow="row wrap"))
        super().__init__(
            "Build your own container",
            [row, w.HBox([self.run, self.says], layout=w.Layout(align_items="center")), self.picture],
            f"Widget: a switch each for {', '.join(own_container.PARTS)}, and Run.",
        )

    def _build(self) -> None:
        built = own_container.build(self._on, *(name for name, toggle in self.toggles.items() if toggle.value))
        self.picture.show(built.plot())
        able = sum(built.can(row) for row in own_container.ROWS)
        self.says.value = words(f"{able} of {len(own_container.ROWS)} still possible inside.")
