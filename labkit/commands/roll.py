"""A class's roll: who has joined, what each has done, who is stuck; it trusts no message that isn't its learner's own.

The learners' side is :mod:`labkit.course.classroom`.
"""

import csv
import hmac
import io
import json
import secrets
import time
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

from ..course import labs
from ..course.classroom import signature
from ..course.exercises import load
from ..files import write_whole
from .progress import hardest, of_class

#: What codes are made of: nothing that is read or heard as something else.
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
#: A class's largest size, a name's longest, and how many wrong codes a minute may have.
LEARNERS, LONGEST, WRONG_CODES = 500, 40, 30
PSEUDONYMS = (
    "Amber Brave Calm Clever Cosmic Crisp Daring Eager Gentle Golden Happy Jolly Lucky Mellow Merry Mighty Misty Noble "
    "Polar Quick Quiet Rapid Silver Sunny Swift Tidy Vivid Witty".split(),
    "Badger Bison Crane Dolphin Falcon Ferret Gecko Heron Ibex Jackal Koala Lemur Lynx Marten Narwhal Ocelot Otter "
    "Panda Penguin Puffin Raven Robin Seal Stork Tapir Walrus Whale Wombat".split(),
)


class Refused(Exception):
    """A message that is not taken. ``status`` is HTTP's; ``more`` goes into the answer beside the sentence."""

    def __init__(self, status: int, says: str, **more: int) -> None:
        super().__init__(says)
        self.status, self.more = status, more


class Cell(NamedTuple):
    """One exercise of one learner: a sign, how it is styled (``done``, ``tried``, ``open``), and both in words."""

    sign: str
    kind: str
    words: str


class Row(NamedTuple):
    """One learner; ``stuck`` is empty or a sentence, ``minutes`` how long that is so."""

    name: str
    cells: list[Cell]
    stuck: str
    minutes: int
    heard: int


class Roll:
    """What the board knows; kept in one file, so that a class goes on after a restart.

    Args:
        path: the file, made with a new code and key where there's none.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Any = time.time) -> None:
        self.path, self._clock = path, clock
        self._wrong: list[float] = []
        self._nothing = _report({"labs": {}})  # reads all labs, which takes a second: before anybody waits for it
        try:
            self._kept = json.loads(path.read_text(encoding="utf-8"))
            self._kept["code"], self._kept["key"], self._kept["learners"]
        except (OSError, ValueError, KeyError, TypeError):
            code = "".join(secrets.choice(LETTERS) for _ in range(6))
            self._kept = {"code": code, "key": secrets.token_urlsafe(16), "learners": {}}
            self._keep()
        self.code: str = self._kept["code"]
        self.key: str = self._kept["key"]
        self._learners: dict[str, dict[str, Any]] = self._kept["learners"]

    def _keep(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(0o600)
        write_whole(self.path, json.dumps(self._kept))
        self.path.chmod(0o600)

    def join(self, body: bytes) -> dict[str, str]:
        """Take a learner in; gives their number, their secret and their name here.

        Raises:
            Refused: another code, too many wrong ones in this minute, or a full class.
        """
        now = self._clock()
        self._wrong = [when for when in self._wrong if now - when < 60]
        if len(self._wrong) >= WRONG_CODES:
            raise Refused(429, "too many wrong codes; wait a minute.")
        found = _parsed(body)
        given = str(found.get("code", "")).strip().upper()
        if not hmac.compare_digest(given.encode(), self.code.encode()):
            self._wrong.append(now)
            raise Refused(403, "its code is another one.")
        if len(self._learners) >= LEARNERS:
            raise Refused(403, f"it has {LEARNERS} learners already.")
        learner, secret, asked = secrets.token_hex(8), secrets.token_hex(32), _plain(str(found.get("name") or ""))
        name = self._name(asked)
        self._learners[learner] = {"name": name, "named": bool(asked), "secret": secret, "counter": 0, "heard": now,
                                   "report": self._nothing,
                                   "last": "", "since": now}  # fmt: skip
        self._keep()
        return {"learner": learner, "secret": secret, "name": name}

    def _name(self, wanted: str) -> str:
        # Nobody bears another's name.
        taken = {each["name"].casefold() for each in self._learners.values()}
        number = 1
        while True:
            name = wanted or " ".join(map(secrets.choice, PSEUDONYMS))
            name = name if number == 1 else f"{name} ({number})"
            if name.casefold() not in taken:
                return name
            number += bool(wanted) or len(taken) > 300

    def take(self, body: bytes, signed: str) -> None:
        """Take a learner's report, or the wish to leave.

        Raises:
            Refused: not of this class, forged, sent before, or no report.
        """
        found = _parsed(body)
        learner = self._learners.get(str(found.get("learner")))
        if learner is None:
            raise Refused(404, "it does not know you: join again.")
        if not hmac.compare_digest(signature(learner["secret"], body).encode(), signed.encode()):
            raise Refused(403, "this message is not yours.")
        counter = found.get("counter")
        if not isinstance(counter, int) or counter <= learner["counter"]:
            raise Refused(409, "this message was sent before.", counter=learner["counter"])
        learner["counter"] = counter
        if found.get("leave") is True:
            del self._learners[str(found["learner"])]
        else:
            self._note(learner, _report(found.get("report")))
        self._keep()

    def _note(self, learner: dict[str, Any], report: dict[str, Any]) -> None:
        now, before = self._clock(), learner["report"]["labs"]
        for lab, found in report["labs"].items():
            for key, outcome in found["exercises"].items():
                was = before.get(lab, {}).get("exercises", {}).get(key)
                if outcome != was and outcome is not None:
                    if learner["last"] != f"{lab}/{key}" or was is None:
                        learner["since"] = now
                    learner["last"] = f"{lab}/{key}"
        learner["report"], learner["heard"] = report, now

    def rows(self) -> list[Row]:
        """Who has joined, by name."""
        return [self._row(each) for each in sorted(self._learners.values(), key=lambda each: each["name"].casefold())]

    def _row(self, learner: dict[str, Any]) -> Row:
        now, found = self._clock(), learner["report"]["labs"]
        cells = []
        for entry in labs():
            lab = found[entry.lab]
            for key, exercise in load(entry.lab).exercises.items():
                cells.append(_cell(f"lab {entry.number}, {exercise.title}", lab["exercises"][key]))
            right = sum(each == "right" for each in lab["predictions"].values())
            made = sum(each is not None for each in lab["predictions"].values())
            words = f"lab {entry.number}: {right} of {made} predictions right"
            cells.append(Cell(f"{right}/{made}" if made else "·", "asked" if made else "open", words))
        lab, _, key = learner["last"].partition("/")
        tries = found.get(lab, {}).get("exercises", {}).get(key)
        stuck, minutes = "", 0
        if isinstance(tries, int):
            minutes = int((now - learner["since"]) / 60)
            stuck = f"lab {lab[:2]}, {load(lab).exercises[key].title}: {tries} {'try' if tries == 1 else 'tries'}"
        return Row(learner["name"], cells, stuck, minutes, int((now - learner["heard"]) / 60))

    def predictions(self) -> list[str]:
        """The hardest predictions, in words."""
        counts = of_class([each["report"] for each in self._learners.values()])["predictions"]
        said = []
        for place, row in hardest(counts, "right"):
            lab, _, key = place.partition("/")
            said.append(f"Lab {lab[:2]}: {load(lab).predictions[key].asks} ({row['right']} of {row['tried']} right)")
        return said

    def as_csv(self) -> str:
        """A row a learner, a column an exercise (``passed``, failed tries or nothing) and predictions right a lab."""
        columns = [(entry.lab, kind, key) for entry in labs() for kind in ("exercises", "predictions")
                   for key in getattr(load(entry.lab), kind)]  # fmt: skip
        lines = [["learner", *(f"{lab[:2]} {kind[:-1]} {key}" for lab, kind, key in columns)]]
        for each in self._learners.values():
            found = each["report"]["labs"]
            lines.append([each["name"], *("" if (was := found[lab][kind][key]) is None else str(was)
                                          for lab, kind, key in columns)])  # fmt: skip
        return _csv(lines)

    def grades(self) -> str:
        """Points for Canvas: an exercise passed is one.

        Its columns and the second row: Canvas Instructor Guide, "How do I import grades in the Gradebook?". It looks for
        a login first and then for a name (instructure/canvas-lms, lib/gradebook_importer.rb), and asks about the others.
        """
        points, most = self._points()
        head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
        lines = [[*head, *(f"Lab {entry.number} {entry.title}" for entry in labs())]]
        lines.append(["    Points Possible", "", "", "", "", *map(str, most)])
        for each, got in points:
            lines.append([each["name"], "", "", each["name"] if _named(each) else "", "", *map(str, got)])
        return _csv(lines)

    def moodle(self) -> str:
        """Per cent of each lab's exercises, for Moodle's import, for whom the learners' names here are its users.

        A row of nobody that it knows makes it refuse the whole file, and a new item's most is 100 (moodle/moodle,
        grade/import/csv/classes/load_data.php): no line of points, and no row for who goes by a pseudonym.
        """
        points, most = self._points()
        lines = [["username", *(f"Lab {entry.number} {entry.title}" for entry in labs())]]
        for each, got in points:
            if _named(each):
                lines.append([each["name"], *(f"{100 * right / of:.0f}" for right, of in zip(got, most))])
        return _csv(lines)

    def _points(self) -> tuple[list[tuple[dict[str, Any], list[int]]], list[int]]:
        most = [len(load(entry.lab).exercises) for entry in labs()]
        points = []
        for each in self._learners.values():
            found = each["report"]["labs"]
            points.append(
                (each, [sum(was == "passed" for was in found[entry.lab]["exercises"].values()) for entry in labs()])
            )
        return points, most


def _plain(name: str) -> str:
    # None hides what it is (control and direction characters).
    kept = "".join(sign if unicodedata.category(sign)[0] not in "CZ" else " " for sign in name)
    return " ".join(kept.split())[:LONGEST]


def _named(learner: dict[str, Any]) -> bool:
    return bool(learner.get("named", True))  # a class of before 0.2 did not note it


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "this is no message of labkit's.")
    return found


def _report(found: Any) -> dict[str, Any]:
    """A report with what this course asks, and nothing else of what was sent."""
    try:
        sent = {entry.lab: found["labs"].get(entry.lab, {}) for entry in labs()}
        return {
            "labs": {lab: {"state": str(rows.get("state", "open")), **_known(lab, rows)} for lab, rows in sent.items()}
        }
    except (TypeError, KeyError, AttributeError):
        raise Refused(400, "this is no report of a learner's progress.") from None


def _known(lab: str, rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    allowed = {"exercises": ("passed",), "predictions": ("right", "wrong")}
    kept: dict[str, dict[str, Any]] = {}
    for kind, words in allowed.items():
        said = {key: rows.get(kind, {}).get(key) for key in getattr(load(lab), kind)}
        kept[kind] = {
            key: was if was in words or (kind == "exercises" and type(was) is int and 0 <= was < 10000) else None
            for key, was in said.items()
        }
    return kept


def _cell(where: str, was: str | int | None) -> Cell:
    if was == "passed":
        return Cell("✓", "done", f"{where}: passed")
    return (
        Cell("·", "open", f"{where}: not tried") if was is None else Cell(f"{was}✗", "tried", f"{where}: {was} failed")
    )


def _csv(lines: list[list[str]]) -> str:
    # What a spreadsheet would take for a formula (OWASP, "CSV Injection") stays text.
    text = io.StringIO()
    csv.writer(text).writerows([["'" + cell if cell[:1] in tuple("=+-@") else cell for cell in line] for line in lines])
    return text.getvalue()
