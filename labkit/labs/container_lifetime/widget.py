"""The state machine as buttons: each press acts on a real container."""

import ipywidgets as w

from ...course.context import Context
from ...course.widget_base import FigureView, LabWidget, button, told, words
from ...errors import LabError
from ...units import show_time
from .figures import state_machine, timeline
from .lifetime import ACTIONS, DrivenContainer

_HINTS = {
    "create": "docker create: set it up from its image, start nothing",
    "start": "docker start: run its main process",
    "pause": "docker pause: freeze every process in it",
    "unpause": "docker unpause: let them go on",
    "stop": "docker stop: SIGTERM, and SIGKILL after ten seconds",
    "kill": "docker kill: SIGKILL at once",
    "restart": "docker restart: stop, then start",
    "remove": "docker rm -f: delete it, its writable layer too",
}


class LifeWidget(LabWidget):
    """Eight buttons, the state diagram with the present state lit, and the events so far."""

    def __init__(self, on: Context):
        self._life = DrivenContainer(on)
        self.buttons = {action: button(action, _HINTS[action]) for action in ACTIONS}
        for action, one in self.buttons.items():
            one.on_click(lambda _, action=action: self.press(action))
        self.states, self.events = FigureView(), FigureView()
        self.says = w.HTML(words("Press create.", "note"))
        rows = list(self.buttons.values())
        super().__init__(
            "Drive a container through its life",
            [w.HBox(rows[:4]), w.HBox(rows[4:]), self.says, self.states, self.events],
            "Widget: buttons create, start, pause, unpause, stop, kill, restart and remove on a real container, "
            "the state diagram, and the engine's events.",
        )
        self._show("gone")

    def press(self, action: str) -> None:
        """Do one thing to the container and show what became of it."""
        for one in self.buttons.values():
            one.disabled = True
        try:
            with told(self.says):
                moment = self._life.press(action)
                flags = f"Running={str(moment.running).lower()}, Paused={str(moment.paused).lower()}"
                code = f", ExitCode={moment.exit_code}" if moment.status == "exited" else ""
                self.says.value = words(
                    f"{action}: {show_time(moment.took)}. The engine says: {moment.status} ({flags}{code})."
                )
        finally:
            self._show(self._status())

    def _status(self) -> str:
        try:
            return self._life.status()
        except LabError:
            return "gone"

    def _show(self, status: str) -> None:
        for action, one in self.buttons.items():
            one.disabled = status not in ACTIONS[action]
        self.states.show(state_machine(status))
        self.events.show(timeline(self._life.moments))
