"""The course itself: its labs in order, its glossary, and what becomes of the notes, from ``data/``."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from ..errors import BadInput
from ..paths import data_file


@dataclass(frozen=True)
class LabEntry:
    """One lab: its name, title, a line on what it asks, minutes, and the headings of the notes it covers.

    ``limits`` says what of it an engine of some kind (:attr:`labkit.engine.EngineFacts.limited`) does not show, or
    shows otherwise.
    """

    lab: str
    title: str
    line: str
    minutes: int
    sections: tuple[str, ...]
    limits: Mapping[str, str] = field(default_factory=dict)

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


#: How a statement of the notes is taken up, in the order in which they are counted.
HOW = ("live", "corrected", "told", "missing")


@dataclass(frozen=True)
class Statement:
    """One statement of the notes, in a few words, and the cell that is its evidence.

    ``how``: ``live``, the cell's output shows it; ``corrected``, the same, and the notes say otherwise; ``told``, it
    can't be shown; ``missing``, it is yet to come, and ``cell`` is "". ``note`` has the correction or the reason.
    """

    section: str
    says: str
    lab: str
    cell: str
    how: str
    note: str = ""

    def told(self) -> str:
        """How it is taken up, with the correction or the reason."""
        return f"{self.how} · {self.note}" if self.note else self.how


@cache
def labs() -> tuple[LabEntry, ...]:
    """All labs, in order."""
    rows = json.loads(data_file("course.json").read_text(encoding="utf-8"))
    return tuple(LabEntry(**{**row, "sections": tuple(row["sections"])}) for row in rows)


@cache
def budgets() -> dict[str, dict[str, int]]:
    """What each lab may take from its first cell to its last one, in seconds, on two cores with nothing else to do;
    ``native`` with another lab beside it, ``emulated`` alone."""
    return dict(json.loads(data_file("budgets.json").read_text(encoding="utf-8")))


@cache
def glossary() -> tuple[Term, ...]:
    """All terms, in alphabetical order."""
    return tuple(Term(**row) for row in json.loads(data_file("glossary.json").read_text(encoding="utf-8")))


@cache
def notes() -> tuple[Statement, ...]:
    """All statements of the notes, in the notes' order."""
    return tuple(Statement(**row) for row in json.loads(data_file("notes.json").read_text(encoding="utf-8")))


def notes_count() -> str:
    """How many statements there are, and how many are taken up in which way."""
    counts = Counter(one.how for one in notes())
    return f"{len(notes())} statements: " + " · ".join(f"{counts[how]} {how}" for how in HOW)


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
