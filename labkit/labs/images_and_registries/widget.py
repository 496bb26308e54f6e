"""Widgets on images: the build cache as a puzzle, and the layer explorer."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, words
from ...engine.faults import explained
from ...engine.session import SESSION
from ...errors import LabError
from ...images import RECIPES
from . import anatomy, layering
from .anatomy import has_image
from .figures import plot_rebuild, plot_shelf, tidy_name


class PuzzleWidget(LabWidget):
    """Order the steps of a Dockerfile, change a file, build twice: which steps are reused?"""

    def __init__(self, on: Context):
        self._on = on
        self._order = ["set", "list", "code", "install"]
        self.rows = w.VBox()
        self.change = w.ToggleButtons(options=["app.sh", "packages.txt"], description="Then change",
                                      style={"description_width": "100px", "button_width": "140px"})  # fmt: skip
        self.build = button("Build twice", "Build, change the file, build again", button_style="primary", icon="play")
        self.says = w.HTML(words("Order the steps, guess what is reused, then build.", "note"))
        self.figure = FigureView()
        self.on_press(self.build, self.says, "Building twice …", self._run)
        self._show()
        super().__init__(
            "The build cache as a puzzle",
            [self.rows, self.change, w.HBox([self.build, self.says]), self.figure],
            "Widget: move the steps of a Dockerfile up and down, choose the file that changes, build twice on the "
            "real engine, and see which steps were reused.",
        )

    def _show(self) -> None:
        rows = [w.HTML(words("1. `FROM labkit/busybox:1`"))]
        for place, step in enumerate(self._order):
            up = button("▲", "Move this step up", disabled=place == 0)
            down = button("▼", "Move this step down", disabled=place == len(self._order) - 1)
            for each, way in ((up, -1), (down, 1)):
                each.layout.min_width = "40px"
                each.on_click(lambda _, place=place, way=way: self.move(place, way))
            rows.append(w.HBox([up, down, w.HTML(words(f"{place + 2}. `{layering.PIECES[step]}`"))]))
        self.rows.children = rows

    def move(self, place: int, way: int) -> None:
        """Exchange a step with its neighbour."""
        order = self._order
        order[place], order[place + way] = order[place + way], order[place]
        self._show()

    def _run(self) -> None:
        run = layering.rebuild(self._on, self._order, change=self.change.value)
        self.figure.show(plot_rebuild(run))
        self.says.value = words(f"{run.reused} of {len(run.second.steps) - 1} steps reused.", "good")


class ExplorerWidget(LabWidget):
    """Choose images of this engine and see which layers they share."""

    def __init__(self, on: Context):
        self._on = on
        self.chosen = w.SelectMultiple(options=[], rows=6, layout=w.Layout(width="360px"))
        self.again = button("Look again", "Read the list of images from the engine", icon="refresh")
        self.draw = button("Open", "Save the chosen images, open them, draw their layers", button_style="primary")
        self.says = w.HTML()
        self.figure = FigureView()
        self.again.on_click(lambda _: self._list())
        self.on_press(self.draw, self.says, "Opening the images …", self._compare)
        super().__init__(
            "Layer explorer: choose images (hold Ctrl or Shift for several)",
            [w.HBox([self.chosen, w.VBox([self.draw, self.again])]), self.says, self.figure],
            "Widget: choose images of this engine, and see their layers side by side, shared ones in the same colour.",
        )
        self._list()

    def _list(self) -> None:
        try:
            self.chosen.options = [(tidy_name(name), name) for name in lab_images(self._on)]
        except LabError as fault:
            self.says.value = words(str(fault), "bad")

    def _compare(self) -> None:
        if not self.chosen.value:
            self.says.value = words("Choose at least one image.", "note")
            return
        shelf = anatomy.compare(self._on, *self.chosen.value)
        self.figure.show(plot_shelf(shelf))
        self.says.value = words(shelf.facts())


def lab_images(on: Context) -> list[str]:
    """References of the images that belong to the lab: those built in this session and the base images.

    Names that a registry gave them are left out: they are the same images.
    """
    with explained(on.session.engine.endpoint):
        built = on.docker.api.images(filters={"label": f"{SESSION}={on.session.id}"})
        names = {name for row in built for name in row.get("RepoTags") or [] if on.session.id in name}
        return [*sorted(names), *(name for name in RECIPES if has_image(on, name))]
