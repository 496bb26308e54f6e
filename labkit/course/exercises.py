"""Predictions, quiz questions and exercises: what they are, without any display."""

from __future__ import annotations

import functools
import hashlib
import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

from docker.errors import APIError

from ..engine.faults import explained
from ..errors import BadInput, LabError
from . import labs, resolve
from .context import Context

#: How often a check looks, where containers vanish under its eyes.
LOOKS = 5


@dataclass(frozen=True)
class Question:
    """A question with one right answer, for predictions and for the quiz.

    ``right`` is one of ``choices``; ``why`` explains it in a sentence or two.
    """

    key: str
    asks: str
    choices: tuple[str, ...]
    right: str
    why: str

    def __post_init__(self) -> None:
        if self.choices.count(self.right) != 1 or len(set(self.choices)) < len(self.choices):
            raise ValueError(f"{self.key}: one of its choices must be {self.right!r}, and no two alike: {self.choices}")

    def as_text(self) -> str:
        """The question and its lettered choices, in the file's order: the same for everybody."""
        lines = [f"  {letter}) {choice}" for letter, choice in zip("ABCDEF", self.choices)]
        return "\n".join([self.asks, *lines])

    def shuffled(self, seed: str) -> list[str]:
        """The choices in the order that a learner sees, whose ``seed`` it is; every time the same."""
        return sorted(self.choices, key=lambda choice: hashlib.sha256(f"{seed} {self.key} {choice}".encode()).digest())


@dataclass(frozen=True)
class Outcome:
    """What a check found. ``hint`` is the index of the hint that fits this wrong state."""

    passed: bool
    message: str
    hint: int = 0


def passed(message: str) -> Outcome:
    """The exercise is done; ``message`` says what was seen."""
    return Outcome(True, message)


def not_yet(message: str, hint: int = 0) -> Outcome:
    """Not done; ``message`` says what was seen instead, ``hint`` is the index of the hint that fits."""
    return Outcome(False, message, hint)


Check = Callable[[Context], Outcome]


@dataclass(frozen=True)
class Exercise:
    """Something to do on the engine. ``check`` looks at the engine's state, never at what was typed.

    ``hints`` go from a nudge to nearly the answer; a check names the one that fits.
    """

    key: str
    title: str
    hints: tuple[str, ...]
    check: Check


def _steady(check: Check) -> Check:
    """A check that looks again where a container has vanished (``--rm``) or ended since it was listed."""

    @functools.wraps(check)
    def look(on: Context) -> Outcome:
        with explained(on.session.engine.endpoint):
            for _ in range(LOOKS - 1):
                try:
                    return check(on)
                except (APIError, LabError) as fault:
                    said = fault.__cause__ if isinstance(fault, LabError) else fault
                    if not isinstance(said, APIError) or said.status_code not in (404, 409):
                        raise
            return check(on)

    return look


@dataclass
class LabContent:
    """All questions and exercises of one lab."""

    lab: str
    predictions: dict[str, Question] = field(default_factory=dict)
    quiz: list[Question] = field(default_factory=list)
    exercises: dict[str, Exercise] = field(default_factory=dict)
    #: Each exercise's title and hints, by its key; ``hints`` may be the key of another one that has the same.
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def beside(cls, checks: str) -> LabContent:
        """A lab's content with the words from ``questions.toml`` in the folder of its ``checks.py``.

        Raises:
            ValueError: a question whose right answer isn't exactly one of its choices.
        """
        folder = Path(checks).parent
        found = tomllib.loads((folder / "questions.toml").read_text(encoding="utf-8"))
        asked = {
            kind: {key: Question(key, **{**row, "choices": tuple(row["choices"])}) for key, row in found[kind].items()}
            for kind in ("predictions", "quiz")
        }
        return cls(
            resolve(folder.name).lab, asked["predictions"], list(asked["quiz"].values()), tasks=found["exercises"]
        )

    def exercise(self, key: str) -> Callable[[Check], Check]:
        """Decorator: the function below is this exercise's check."""

        def register(check: Check) -> Check:
            hints = self.tasks[key]["hints"]
            hints = self.tasks[hints]["hints"] if isinstance(hints, str) else hints
            self.exercises[key] = Exercise(key, self.tasks[key]["title"], tuple(hints), _steady(check))
            return self.exercises[key].check

        return register

    @overload
    def find(self, kind: Literal["predictions"], key: str) -> Question: ...
    @overload
    def find(self, kind: Literal["exercises"], key: str) -> Exercise: ...
    def find(self, kind: Literal["predictions", "exercises"], key: str) -> Question | Exercise:
        """One entry by its key.

        Raises:
            BadInput: this lab has none of that name.
        """
        entries: dict[str, Question] | dict[str, Exercise] = getattr(self, kind)
        if key not in entries:
            raise BadInput(
                f"This lab has no {kind[:-1]} {key!r}.", next_step=f"It has: {', '.join(entries) or 'none'}."
            )
        return entries[key]


def load(lab: str) -> LabContent:
    """The content of a lab, from the ``checks.py`` in its folder; an empty one for what is no lab of the course."""
    for entry in labs():
        if entry.lab == lab:
            content: LabContent = importlib.import_module(f"..labs.{entry.folder}.checks", __package__).CONTENT
            return content
    return LabContent(lab)
