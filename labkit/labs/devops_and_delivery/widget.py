"""The pipeline's board: stages turn green or red while the real engine works on them."""

import ipywidgets as w

from ...course.context import Context
from ...course.style import COLOURS
from ...course.widget_base import FigureView, LabWidget, button, words
from ...units import show_time
from . import pipeline
from .figures import STATES, plot_release


class BoardWidget(LabWidget):
    """A box a stage, a switch for the mode, a switch for a broken test, Run and Approve."""

    def __init__(self, on: Context):
        self._on = on
        self._release: pipeline.Release | None = None
        self._version = 100  # far from the versions that the lab's cells and exercises release
        self.mode = w.ToggleButtons(options=list(pipeline.MODES), description="Continuous",
                                    style={"description_width": "90px", "button_width": "120px"})  # fmt: skip
        self.broken = w.Checkbox(value=False, description="break a test", indent=False)
        self.run = button("Commit and run", "Run the whole pipeline", button_style="primary", icon="play")
        self.approve = button("Approve", "A person opens the gate", icon="check", disabled=True)
        self.says = w.HTML(words("Choose, then commit.", "note"))
        self.stages = w.HTML()
        self.figure = FigureView()
        self.on_press(self.run, self.says, "Running …", self._run)
        self.approve.on_click(lambda _: self.beside(self._approve, self.run, self.says))
        self._begin()
        super().__init__(
            "The pipeline's board",
            [
                w.HBox([self.mode, self.broken], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.run, self.approve, self.says]),
                self.stages,
                self.figure,
            ],
            "Widget: run the pipeline as delivery or deployment, with or without a broken test; each stage turns "
            "green or red while the engine works, and a person approves at the gate.",
        )

    def _begin(self) -> None:
        self._rows = {name: pipeline.StageRun(name, "skipped") for name in pipeline.STAGES}
        self._draw()

    def _run(self) -> None:
        self.approve.disabled = True
        self._version += 1
        self._begin()
        make = pipeline.broken if self.broken.value else pipeline.tea
        self._end(pipeline.run(self._on, make(str(self._version)), mode=self.mode.value, watch=self._watch))

    def _approve(self) -> None:
        self.approve.disabled = True
        if self._release is not None:
            self._end(pipeline.approve(self._on, self._release, watch=self._watch))

    def _end(self, release: pipeline.Release) -> None:
        self._release = release
        self.figure.show(plot_release(release))
        waits = release.stage("gate").state == "waiting"
        self.approve.disabled = not waits
        if release.released:
            self.says.value = words("Released.", "good")
        elif waits:
            self.says.value = words("Ready to release, on demand: a person decides.", "note")
        else:
            failed = next(stage for stage in release.stages if stage.state == "failed")
            self.says.value = words(f"Stopped at {failed.name}: {failed.words}", "bad")

    def _watch(self, stage: pipeline.StageRun) -> None:
        self._rows[stage.name] = stage
        self._draw()

    def _draw(self) -> None:
        boxes = []
        for stage in self._rows.values():
            colour, _, sign = STATES[stage.state]
            time = show_time(stage.seconds) if stage.seconds else "&nbsp;"
            boxes.append(
                f'<div style="border:2px solid {COLOURS[colour]};border-radius:6px;padding:4px;min-width:96px;'
                f'box-sizing:border-box;flex:1;text-align:center"><b>{sign} {stage.name}</b><br><small>{stage.state} {time}</small></div>'
            )
        self.stages.value = f'<div style="display:flex;flex-wrap:wrap;gap:6px;margin:6px 0">{"".join(boxes)}</div>'
