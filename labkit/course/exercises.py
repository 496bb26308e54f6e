"""Predictions, quiz questions and exercises: what they are, without any display."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import BadInput
from . import labs
from .context import Context


@dataclass(frozen=True)
class Question:
    """A question with one right answer, for predictions and for the quiz.

    ``answer`` is the index of the right choice; ``why`` explains it in a sentence or two.
    """

    key: str
    prompt: str
    choices: tuple[str, ...]
    answer: int
    why: str

    def __post_init__(self):
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(f"{self.key}: answer {self.answer} is not one of {len(self.choices)} choices")

    def as_text(self) -> str:
        """Prompt and lettered choices, as plain text."""
        lines = [f"  {letter}) {choice}" for letter, choice in zip("ABCDEF", self.choices)]
        return "\n".join([self.prompt, *lines])


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


@dataclass(frozen=True)
class Exercise:
    """Something to do on the engine. ``check`` looks at the engine's state, never at what was typed.

    ``hints`` go from a nudge to nearly the answer; a check names the one that fits.
    """

    key: str
    title: str
    hints: tuple[str, ...]
    check: Callable[[Context], Outcome]


@dataclass
class LabContent:
    """All questions and exercises of one lab."""

    lab: str
    predictions: dict[str, Question] = field(default_factory=dict)
    quiz: list[Question] = field(default_factory=list)
    exercises: dict[str, Exercise] = field(default_factory=dict)

    def prediction(self, *question) -> None:
        """Add a prediction; arguments as for :class:`Question`."""
        made = Question(*question)
        self.predictions[made.key] = made

    def ask(self, *question) -> None:
        """Add a quiz question; arguments as for :class:`Question`."""
        self.quiz.append(Question(*question))

    def exercise(self, key: str, title: str, *hints: str):
        """Decorator: the function below is this exercise's check."""

        def register(check: Callable[[Context], Outcome]):
            self.exercises[key] = Exercise(key, title, hints, check)
            return check

        return register

    def find(self, kind: str, key: str):
        """One entry by its key.

        Raises:
            BadInput: this lab has none of that name.
        """
        entries = getattr(self, kind)
        if key not in entries:
            raise BadInput(
                f"This lab has no {kind[:-1]} {key!r}.", next_step=f"It has: {', '.join(entries) or 'none'}."
            )
        return entries[key]


def load(lab: str) -> LabContent:
    """The content of a lab, from the ``checks.py`` in its folder; an empty one for what is no lab of the course."""
    for entry in labs():
        if entry.lab == lab:
            return importlib.import_module(f"..labs.{entry.folder}.checks", __package__).CONTENT
    return LabContent(lab)
