"""A container's life: the states it goes through, what survives them, and how a run ends.

``walk`` presses every button in turn; :class:`DrivenContainer` is one container that a widget presses.
"""

import contextlib
import re
import time
from dataclasses import dataclass
from typing import Self

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from ...course.context import Context
from ...course.result import Result
from ...engine.client import small_file
from ...engine.faults import explained
from ...errors import BadInput

#: What the engine calls the states (Engine API, ContainerState); ``gone`` is ours, for no container at all.
STATES = ("gone", "created", "running", "paused", "exited")

#: The buttons, and the states in which they change anything; elsewhere the engine refuses, or has nothing to do.
ACTIONS = {
    "create": ("gone",),
    "start": ("created", "exited"),
    "pause": ("running",),
    "unpause": ("paused",),
    "stop": ("running", "paused"),
    "kill": ("running", "paused"),
    "restart": ("created", "running", "paused", "exited"),
    "remove": ("created", "running", "paused", "exited"),
}


@dataclass(frozen=True)
class Moment:
    """One action and what the engine said right after it.

    ``time`` is seconds since the first action; ``events`` are the engine's own words for it.
    """

    action: str
    time: float
    took: float
    status: str
    running: bool
    paused: bool
    exit_code: int | None
    events: list[tuple[float, str]]


class DrivenContainer:
    """One container that is driven from state to state; use it in a ``with`` block or call :meth:`close`.

    Its main process sleeps, and leaves at once when asked with SIGTERM.
    """

    def __init__(self, on: Context, word: str = "life"):
        self._on, self.name = on, on.session.name(word)
        self._began: float | None = None
        self._wall = 0.0
        self.moments: list[Moment] = []

    @property
    def container(self) -> Container | None:
        """The container as docker-py knows it; None while there is none."""
        # By its name: an interrupted cell may have made it without hearing of its id.
        with contextlib.suppress(NotFound):
            return self._on.docker.containers.get(self.name)
        return None

    def status(self) -> str:
        """Its state now, in the engine's words; ``gone`` where there is no container."""
        with explained(self._on.session.engine.endpoint):
            found = self.container
        return found.status if found is not None else "gone"

    def possible(self) -> list[str]:
        """What can be pressed now."""
        now = self.status()
        return [action for action, states in ACTIONS.items() if now in states]

    def press(self, action: str) -> Moment:
        """Do one thing to the container, and see what the engine says.

        Raises:
            BadInput: no such action, or the engine refuses it in this state; its own words are given.
        """
        if action not in ACTIONS:
            raise BadInput(f"There is no action {action!r}.", next_step=f"Try: {', '.join(ACTIONS)}.")
        wall = self._wall_clock()
        before = time.monotonic()
        if self._began is None:
            self._began, self._wall = before, wall
        with explained(self._on.session.engine.endpoint):
            try:
                self._do(action)
            except APIError as refusal:
                if refusal.status_code not in (400, 409):
                    raise
                raise BadInput(
                    f"The engine refuses to {action} it: {refusal.explanation}",
                    next_step=f"Possible now: {', '.join(self.possible())}.",
                ) from refusal
        took = time.monotonic() - before
        with explained(self._on.session.engine.endpoint):
            moment = self._look(action, before - self._began, took, wall)
        self.moments.append(moment)
        return moment

    def _wall_clock(self) -> float:
        return float(self._on.observer.call("clocks")["wall"])

    def _do(self, action: str) -> None:
        if action == "create":
            if self.container is not None:
                raise BadInput("It exists already.", next_step="Remove it first, or start it.")
            program = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
            self._on.docker.containers.create(
                self._on.image(), ["sh", "-c", program], name=self.name, network_mode="none"
            )
            return
        found = self.container
        if found is None:
            raise BadInput(f"There is no container to {action}.", next_step="Create it first.")
        if action == "remove":
            found.remove(force=found.status in ("running", "paused"))
        else:
            getattr(found, action)()

    def _look(self, action: str, at: float, took: float, wall: float) -> Moment:
        found = self.container
        state = found.attrs["State"] if found is not None else {}
        rows = self._on.events(wall, self._wall_clock(), container=self.name, type="container")
        events = [(row["timeNano"] / 1e9 - self._wall, row["Action"]) for row in rows]
        return Moment(
            action, at, took, state.get("Status", "gone"), bool(state.get("Running")), bool(state.get("Paused")),
            state.get("ExitCode"), events,
        )  # fmt: skip

    def close(self) -> None:
        """Remove the container, whatever state it is in."""
        self._on.free(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Walk(Result):
    """A container taken through all its states; ``moments`` in order."""

    moments: list[Moment]

    def facts(self) -> str:
        head = f"{'pressed':<9} {'state':<9} {'Running':<8} {'Paused':<7} events"
        rows = [
            f"{one.action:<9} {one.status:<9} {str(one.running).lower():<8} {str(one.paused).lower():<7} "
            + in_words([word for _, word in one.events])
            for one in self.moments
        ]
        return "\n".join([head, *rows])


def in_words(events: list[str]) -> str:
    """Events in their order, save ``die`` and ``stop`` side by side: Engine 20.10 sends ``die`` first, 28.5 ``stop``."""
    return re.sub(r"die, stop|stop, die", "die + stop", ", ".join(events))


def walk(
    on: Context,
    actions: tuple[str, ...] = ("create", "start", "pause", "unpause", "stop", "start", "kill", "restart", "remove"),
) -> Walk:
    """Take one container through these actions, keys of :data:`ACTIONS`, and collect states and events.

    Raises:
        BadInput: an action that the engine refuses in that state.
    """
    with DrivenContainer(on, "walk") as life:
        for action in actions:
            life.press(action)
            time.sleep(0.05 if not on.facts.emulated else 0.2)  # so that the states can be told apart in the figure
        return Walk(on.facts, list(life.moments))


class LayerLife(Result):
    """A file in a container's writable layer, asked for after each step: step → the engine's answer, 200 or 404."""

    answers: dict[str, str]

    def facts(self) -> str:
        rows = [(step, "the file is there" if said[:3] == "200" else "no file") for step, said in self.answers.items()]
        return "\n".join(f"{step:<36} {found}" for step, found in rows)


def layer(on: Context) -> LayerLife:
    """Write a file in a running container and look for it after stop, start, restart and remove.

    The engine itself is asked (``docker cp`` reads a container's layer in every state); the program
    in the container only writes the file, once.
    """
    name = on.session.name("layer")
    wait = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"]
    answers: dict[str, str] = {}
    on.free(name)
    try:
        container = on.docker.containers.create(on.image(), wait, name=name, network_mode="none")
        answers["created"] = _asked(container)
        container.start()
        container.exec_run(["sh", "-c", "echo kept > /note"])
        answers["written while running"] = _asked(container)
        for step, act in (
            ("stopped", container.stop),
            ("started again", container.start),
            ("restarted", container.restart),
        ):
            act()
            answers[step] = _asked(container)
        container.remove(force=True)
        container = on.docker.containers.create(on.image(), wait, name=name, network_mode="none")
        answers["removed, and a new one of that name"] = _asked(container)
    finally:
        on.free(name)
    return LayerLife(on.facts, answers)


def _asked(container: Container) -> str:
    try:
        return f"200 {small_file(container, '/note')}"
    except NotFound as answer:
        return f"404 {answer.explanation}"
