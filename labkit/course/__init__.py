"""The course itself: its labs in order and its glossary, from ``data/``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from ..errors import BadInput
from ..paths import data_file


@dataclass(frozen=True)
class LabEntry:
    """One lab: its name, title, a line on what it asks, minutes, and the headings of the notes it covers.

    ``podman`` says what of it Podman does not show, or shows otherwise.
    """

    lab: str
    title: str
    line: str
    minutes: int
    sections: tuple[str, ...]
    podman: str = ""

    @property
    def number(self) -> str:
        return self.lab[:2]

    @property
    def folder(self) -> str:
        """The lab's folder below ``labkit/labs/``: ``out_of_memory`` for ``08-out-of-memory``."""
        return self.lab[3:].replace("-", "_")


@dataclass(frozen=True)
class Term:
    """One entry of the glossary: the term, its meaning in a line, the lab that shows it."""

    term: str
    meaning: str
    lab: str


@cache
def labs() -> tuple[LabEntry, ...]:
    """All labs, in order."""
    rows = json.loads(data_file("course.json").read_text(encoding="utf-8"))
    return tuple(LabEntry(**{**row, "sections": tuple(row["sections"])}) for row in rows)


@cache
def glossary() -> tuple[Term, ...]:
    """All terms, in alphabetical order."""
    return tuple(Term(**row) for row in json.loads(data_file("glossary.json").read_text(encoding="utf-8")))


def search(word: str) -> list[Term]:
    """Terms that have a word in their name, or else in their meaning."""
    wanted = word.strip().lower()
    named = [entry for entry in glossary() if wanted in entry.term.lower()]
    return named or [entry for entry in glossary() if wanted in entry.meaning.lower()]


def resolve(name: str) -> LabEntry:
    """The lab that a number or a name means: ``8``, ``08``, ``08-out-of-memory`` or ``out_of_memory``.

    Raises:
        BadInput: there's no such lab.
    """
    for entry in labs():
        if name in (entry.lab, entry.number, entry.folder) or (name.isdigit() and int(name) == int(entry.number)):
            return entry
    raise BadInput(f"There is no lab {name!r}.", next_step="The labs: " + ", ".join(e.lab for e in labs()) + ".")
