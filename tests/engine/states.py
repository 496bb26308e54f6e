"""Exercises by table: states that learners really leave, each with the hint that fits, and ways that are right.

Every exercise has three wrong states and two different right ways at least (``tests/unit/test_exercises.py`` counts).
What one state made is gone before the next.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from labkit.course.context import Context
from labkit.course.exercises import load
from labkit.course.state import containers
from labkit.engine import dockercli

FOREVER = ["sleep", "600"]


@dataclass(frozen=True)
class State:
    """What ``make`` leaves behind, and the hint for it; None where the exercise is done."""

    lab: str
    key: str
    hint: int | None
    make: Callable[[Context], object]
    marks: tuple[pytest.MarkDecorator, ...] = ()

    def __str__(self) -> str:
        return f"{self.key}-{'passes' if self.hint is None else self.hint}-{self.make.__name__}"

    def holds(self, on: Context, seconds: float = 20.0) -> None:
        """Make it, and look until the check says what it should: what was started may take a moment to come up."""
        check, expected = load(self.lab).exercises[self.key].check, (self.hint is None, self.hint or 0)
        try:
            self.make(on)
            deadline = time.monotonic() + seconds
            while True:
                found = check(on)
                assert self.hint is None or not found.passed, found.message
                if (found.passed, found.hint) == expected:
                    return
                assert time.monotonic() < deadline, f"hint {found.hint}: {found.message}"
                time.sleep(0.2)
        finally:
            for row in containers(on):
                if row["Name"] != "/" + on.session.name("registry"):  # of the lab's own, and slow to start
                    on.docker.api.remove_container(row["Id"], force=True, v=True)


class States:
    """A lab's table: ``@WRONG(key, hint)`` and ``@RIGHT(key)`` above what makes a state."""

    def __init__(self, lab: str):
        self.lab = lab
        self.rows: list[State] = []

    def wrong(self, key: str, hint: int | None, *marks: pytest.MarkDecorator):
        def register(make: Callable[[Context], object]):
            self.rows.append(State(self.lab, key, hint, make, marks))
            return make

        return register

    def right(self, key: str, *marks: pytest.MarkDecorator):
        return self.wrong(key, None, *marks)

    def each(self):
        """Over all of them. What leads to a hint in one more way is slow; nothing at all, and right ways, are not."""
        wrong = [row for row in self.rows if row.hint is not None and row.make.__name__ != "nothing"]
        first = {(row.key, row.hint): row for row in reversed(wrong)}
        again = [row in wrong and first[row.key, row.hint] is not row for row in self.rows]
        rows = [
            pytest.param(row, id=str(row), marks=[*row.marks, *[pytest.mark.slow] * more])
            for row, more in zip(self.rows, again)
        ]
        return pytest.mark.parametrize("state", rows)


def start(on: Context, command: list[str] = FOREVER, **options):
    """A container in the background, with docker-py; without a network where ``options`` name none."""
    options.setdefault("network_mode", "none")
    return on.docker.containers.run(options.pop("image", on.image()), command, detach=True, **options)


def ended(on: Context, command: list[str], **options):
    """A container that was run to its end and kept."""
    container = start(on, command, **options)
    container.wait(timeout=120)
    return container


def typed(on: Context, line: str) -> str:
    """A ``docker`` command as in a terminal: with no label of the lab's. ``{name}`` is the session's own ending."""
    words = shlex.split(line.replace("{name}", on.session.id))
    command = [dockercli.program(on.session.engine), *words]
    environment = on.session.engine.process_environment()
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


def many_events(on: Context) -> None:
    """More than the 256 events that an engine keeps."""
    container = on.docker.containers.create(on.image(), ["true"], name=on.session.name("renamed-0"))
    for number in range(1, 270):
        container.rename(on.session.name(f"renamed-{number}"))
    container.remove()
