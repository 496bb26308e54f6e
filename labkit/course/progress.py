"""A learner's progress, in one plain JSON file that can be read, copied and deleted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ..files import locked, told, write_whole
from ..paths import state_path
from . import classroom, labs
from .exercises import Question, load


class Entry(TypedDict, total=False):
    """What is kept of one prediction, quiz answer or exercise."""

    choice: str | int
    right: bool
    tries: int
    failed: int
    passed: str
    seed: str


#: Entries by lab, kind and key.
Content = dict[str, dict[str, dict[str, Entry]]]


def _folders(found: Any, depth: int) -> dict[str, Any]:
    """Dicts within dicts, ``depth`` levels down; what a hand or a fault put between is left out."""
    if not isinstance(found, dict):
        return {}
    if not depth:
        return found
    return {key: _folders(value, depth - 1) for key, value in found.items() if isinstance(value, dict)}


class Progress:
    """What has been tried and done: ``{"08-out-of-memory": {"exercises": {key: {...}}, …}}``.

    Args:
        path: the file; ``$LABKIT_STATE/progress.json`` by default. It is made when first written.
            Several kernels may write to it at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_path("progress.json")
        #: Why what was done last is known to this process only; empty where it is kept.
        self.unkept = ""
        self._here: Content | None = None

    def read(self) -> Content:
        """All of it; without what can't be understood; empty where there's none yet."""
        if self._here is not None:
            return self._here
        try:
            return _folders(json.loads(self.path.read_text(encoding="utf-8")), 3)
        except (OSError, ValueError):
            return {}

    @contextmanager
    def _changing(self) -> Iterator[Content]:
        # A disk that is full or read-only takes nobody's answer away: what was done counts, as long as this process.
        with contextlib.ExitStack() as held:
            fault = None
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path.with_suffix(".lock")))
            except OSError as reason:
                fault = reason
            content = self.read()
            yield content
            try:
                write_whole(self.path, json.dumps(content, indent=1, sort_keys=True) + "\n", durable=True)
                self._here, self.unkept = None, ""
            except OSError as reason:
                self._here = content
                self.unkept = f"Your progress can't be kept: {told(fault or reason, 'LABKIT_STATE')}"
        self.tell_class()

    @property
    def membership(self) -> Path:
        """Where it is kept which class the learner has joined."""
        return self.path.with_name("class.json")

    def tell_class(self) -> None:
        """Send all of it to the class that the learner has joined, if any, without waiting."""
        classroom.changed(self.membership, self.hand_in)

    def _entry(self, content: Content, lab: str, kind: str, key: str) -> Entry:
        return content.setdefault(lab, {}).setdefault(kind, {}).setdefault(key, {})

    def predicted(self, lab: str, key: str, choice: str, right: bool) -> None:
        """Keep a prediction; the first one counts."""
        with self._changing() as content:
            entry = self._entry(content, lab, "predictions", key)
            entry.setdefault("choice", choice)
            entry.setdefault("right", right)

    def answered(self, lab: str, key: str, right: bool) -> None:
        """Keep a quiz answer."""
        with self._changing() as content:
            entry = self._entry(content, lab, "quiz", key)
            entry["tries"] = entry.get("tries", 0) + 1
            entry["right"] = entry.get("right", False) or right

    def checked(self, lab: str, key: str, passed: bool) -> int:
        """Keep the outcome of a check; returns how many checks have failed so far."""
        with self._changing() as content:
            entry = self._entry(content, lab, "exercises", key)
            if passed:
                entry.setdefault("passed", time.strftime("%Y-%m-%d"))
            else:
                entry["failed"] = entry.get("failed", 0) + 1
            return entry.get("failed", 0)

    def seed(self) -> str:
        """What orders this learner's choices: random, made when first asked for."""
        made = self.read().get("learner", {}).get("choices", {}).get("order", {})
        if "seed" not in made:
            with self._changing() as content:
                made = self._entry(content, "learner", "choices", "order")
                made.setdefault("seed", secrets.token_hex(4))
        return str(made["seed"])

    def prediction(self, lab: str, question: Question) -> str | None:
        """The committed choice; None where there's none, or where the question has no such choice any more."""
        choice = self.read().get(lab, {}).get("predictions", {}).get(question.key, {}).get("choice")
        if isinstance(choice, int):  # labkit 0.1 kept its place
            return question.choices[choice] if choice < len(question.choices) else None
        return choice if choice in question.choices else None

    def passed_on(self, lab: str, key: str) -> str:
        """The day on which an exercise first passed, as ``2026-05-14``; empty where it has not."""
        return self.read().get(lab, {}).get("exercises", {}).get(key, {}).get("passed", "")

    def standings(self) -> dict[str, Standing]:
        """Every lab of the course, in order."""
        content = self.read()
        return {entry.lab: Standing.of(entry.lab, content.get(entry.lab, {})) for entry in labs()}

    def next_lab(self) -> str | None:
        """The first lab, in the course's order, that is not done; None when all are."""
        return next((lab for lab, found in self.standings().items() if found.state != "done"), None)

    def hand_in(self, name: str = "") -> dict[str, Any]:
        """What a learner may hand in to an instructor: counts and keys, no date, no path, no machine.

        Args:
            name: only what the learner types; anonymous otherwise.
        """
        standings = {lab: dataclasses.asdict(found) for lab, found in self.standings().items()}
        return {"learner": name or None, "next": self.next_lab(), "labs": standings}


@dataclass(frozen=True)
class Standing:
    """How a learner stands in one lab.

    ``state`` is ``open``, ``begun`` (anything was tried) or ``done`` (every exercise has passed).
    ``exercises``, ``predictions`` and ``quiz`` have one entry per key of the lab: ``"passed"`` or
    ``"right"``, the number of failed tries or ``"wrong"``, None where nothing was tried.
    """

    state: str
    exercises: dict[str, str | int | None]
    predictions: dict[str, str | None]
    quiz: dict[str, str | None]

    @classmethod
    def of(cls, lab: str, kinds: dict[str, dict[str, Entry]]) -> Standing:
        """From what the file says of a lab; what the lab no longer asks is left out."""
        content = load(lab)
        tried = {kind: kinds.get(kind, {}) for kind in ("exercises", "predictions", "quiz")}
        exercises = {key: _exercise(tried["exercises"].get(key)) for key in content.exercises}
        done = exercises and set(exercises.values()) == {"passed"}
        return cls(
            "done" if done else "begun" if any(tried.values()) else "open",
            exercises,
            {key: _answer(tried["predictions"].get(key)) for key in content.predictions},
            {question.key: _answer(tried["quiz"].get(question.key)) for question in content.quiz},
        )

    @property
    def passed(self) -> int:
        """How many exercises have passed."""
        return sum(found == "passed" for found in self.exercises.values())

    def right(self, kind: str) -> int:
        """How many ``predictions`` or ``quiz`` answers are right."""
        return sum(found == "right" for found in getattr(self, kind).values())


def _exercise(entry: Entry | None) -> str | int | None:
    if entry is None:
        return None
    return "passed" if "passed" in entry else entry.get("failed", 0)


def _answer(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    return "right" if entry.get("right") else "wrong"
