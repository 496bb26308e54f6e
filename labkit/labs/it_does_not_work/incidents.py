"""Incidents: a running system, broken in one of many ways, a complaint, hints, and the check that it is mended."""

from __future__ import annotations

import hashlib
import html
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from docker.errors import NotFound

from ...course.context import Context
from ...course.progress import Progress
from ...course.result import Evidence, Result
from ...engine.client import engine_time
from ...engine.session import SESSION
from ...errors import BadInput
from .rules import broken
from .system import PARTS, Customer, System, launch, prepare, typed

LEVELS = {1: "a part does not run", 2: "what runs can't be reached", 3: "all runs, and something is wrong"}

#: What the engine's events call a change that somebody made; starts and ends also happen by themselves.
CHANGES = {"create", "destroy", "update", "rename", "restart", "stop", "pause", "unpause"}


@dataclass(frozen=True)
class Incident:
    """A way to break the system; see the head of ``incidents.toml``."""

    key: str
    level: int
    title: str
    complaint: str
    hints: list[str]
    repair: list[str]
    details: dict[str, list[str]] = field(default_factory=dict)
    change: dict[str, dict[str, str]] = field(default_factory=dict)
    before: dict[str, list[str]] = field(default_factory=dict)
    fails: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)

    def chosen(self, seed: str) -> dict[str, str]:
        """Each detail's value for a seed; the same on every machine."""
        return {
            name: min(values, key=lambda value: _draw(seed, self.key, name, value))
            for name, values in self.details.items()
        }


def _draw(*words: str) -> bytes:
    return hashlib.sha256(" ".join(words).encode()).digest()


@cache
def catalogue() -> dict[str, Incident]:
    """All incidents by their key."""
    rows = tomllib.loads(Path(__file__).with_name("incidents.toml").read_text(encoding="utf-8"))
    return {key: Incident(key, **row) for key, row in rows.items()}


def order(seed: str) -> list[str]:
    """The keys in the order in which a learner with this seed meets them: level by level."""
    return sorted(catalogue(), key=lambda key: (catalogue()[key].level, _draw(seed, key)))


def _filled(value: Any, words: dict[str, str]) -> Any:
    """Texts, and what holds texts, as templates that are filled in."""
    if isinstance(value, dict):
        return {Template(key).substitute(words): _filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, words) for inner in value]
    return Template(value).substitute(words)


@dataclass
class Running:
    """An incident of this session that has been started, and what its learner has done."""

    number: int
    incident: Incident
    system: System
    words: dict[str, str]
    hints: list[float] = field(default_factory=list)
    #: When it was checked, and whether it was mended then.
    checks: list[tuple[float, bool]] = field(default_factory=list)
    #: Between which moments of the engine's clock labkit's own looks acted on it.
    looks: list[tuple[float, float]] = field(default_factory=list)
    done: Report | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.system.began

    def filled(self, on: Context, text: str) -> str:
        """A template with all names and details, and what the engine says of each part now."""
        told = [part for part in PARTS if f"${part}_is" in text or "$name_is" in text]
        states = {f"{part}_is": _state(on, self.words[part]) for part in told}
        states["name_is"] = states.get(f"{self.words.get('part', 'web')}_is", "")
        return Template(text).safe_substitute({**self.words, **states})


_running: dict[str, Running] = {}
_customers: dict[str, Customer] = {}


def _state(on: Context, name: str) -> str:
    with suppress(NotFound):
        row = on.docker.api.inspect_container(name)
        state, count = row["State"], row["RestartCount"]
        ended = f", exit code {state['ExitCode']}" if state["Status"] != "running" else ""
        return f"is {state['Status']}{ended}{f', started again {count} times' if count else ''}"
    return "is gone"


class Started(Result):
    """An incident has begun: its number, and what a user reports. The report differs from learner to learner."""

    number: int
    count: int
    report: str
    url: str

    def facts(self) -> str:
        return f"Incident {self.number} of {self.count} has begun."

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """The report for the page, and as plain text what is the same for everybody."""
        return {"text/plain": self.facts(), "text/html": (
            f'<div style="border-left:4px solid #D55E00;padding:6px 12px"><b>Incident {self.number}.</b> A user reports:'
            f"<br><q>{html.escape(self.report)}</q><br><small>The page, as that user gets it: <code>lab.incidents.ask()</code>"
            "</small></div>")}  # fmt: skip


class Report(Result):
    """How an incident stands, or how it was mended.

    ``rule`` is what does not hold yet, "" where all does; times in seconds since it began. ``commands`` were typed
    through the lab, ``changes`` is how many the engine's events tell of, however they were made.
    """

    number: int
    level: int
    title: str
    rule: str
    says: str
    seconds: float
    commands: list[tuple[float, str]]
    changes: int
    hints: list[float]
    checks: list[tuple[float, bool]]
    way: list[str]

    @property
    def mended(self) -> bool:
        """Whether everything is as agreed again."""
        return not self.rule

    def facts(self) -> str:
        if not self.mended:
            return f"not yet: {self.says}"
        return f"mended: yes · orders lost: 0 · it was: {self.title}"

    def shortest(self) -> str:
        """The shortest way, a command a line.

        Raises:
            BadInput: it is not mended yet.
        """
        if not self.mended:
            raise BadInput("The shortest way is shown afterwards.", next_step="Ask for a hint: lab.incidents.hint()")
        return "\n".join(self.way)


def start(on: Context, which: int | str = 1, *, seed: str | None = None) -> Started:
    """Break the system in the way of this number, and say what a user reports; whatever was there before goes.

    Which way a number stands for, and with which details, depends on the learner.

    Args:
        which: 1 and up, from those that are plain to see to those that are not; or a key of ``incidents.toml``.
        seed: the same text gives the same incident to a whole room; the learner's own by default.

    Raises:
        BadInput: there's no such incident.
    """
    seed = Progress().seed() if seed is None else seed
    keys = order(seed)
    number = keys.index(which) + 1 if which in keys else which
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(keys):
        raise BadInput(f"There is no incident {which!r}.", next_step=f"Choose a number from 1 to {len(keys)}.")
    incident = catalogue()[keys[number - 1]]
    _running.pop(on.session.id, None)
    customer = _customers.setdefault(on.session.id, Customer(on.session))
    system = prepare(on, customer, f"{seed} {incident.key}", incident.needs)
    details = {
        name: on.session.name(value[1:]) if value.startswith("@") else value
        for name, value in incident.chosen(seed).items()
    }
    words = {**system.words, **details}
    words |= {f"run_{part}": Template(line).substitute(words) for part, line in PARTS.items()}
    if "part" in details:
        words |= {"name": words[details["part"]], "run": words[f"run_{details['part']}"]}
    lines = {part: words[f"run_{part}"] for part in PARTS}
    for part, changes in _filled(incident.change, words).items():
        for old, new in changes.items():
            if old not in lines[part]:
                raise ValueError(f"{incident.key}: {old!r} is not in {lines[part]}")
            lines[part] = lines[part].replace(old, new, 1)
    launch(on, system, lines, _filled(incident.before, words), incident.fails)
    _running[on.session.id] = Running(number, incident, system, words)
    return Started(on.facts, number, len(keys), _filled(incident.complaint, words), system.url)


def current(on: Context) -> Running:
    """The incident that is running.

    Raises:
        BadInput: none is.
    """
    if on.session.id not in _running:
        raise BadInput("No incident has been started.", next_step="Start one: lab.incidents.start(1)")
    return _running[on.session.id]


def running(on: Context) -> Running | None:
    """The incident that is running, if one is."""
    return _running.get(on.session.id)


def check(on: Context) -> Report:
    """Ask as a customer, and look whether the cause is gone and nothing else with it."""
    at = current(on)
    seconds = at.seconds
    commands = [(when - at.system.began, line) for when, line in on.session.typed[at.system.mark :]]
    began = engine_time(on.docker.api)
    name, sentence = broken(on, at.system, at.incident.also)
    ended = engine_time(on.docker.api)
    events = on.events(at.system.since, began, type="container", label=f"{SESSION}={on.session.id}")
    changes = [row["timeNano"] / 1e9 for row in events if row["Action"] in CHANGES]
    at.looks.append((began, ended))
    at.checks.append((seconds, not name))
    seen = sum(at.system.since < when < began and not any(a <= when <= b for a, b in at.looks) for when in changes)
    way = [at.filled(on, line) for line in at.incident.repair]
    report = Report(
        on.facts, at.number, at.incident.level, at.incident.title, name, sentence, seconds, commands, seen,
        list(at.hints), list(at.checks), way,
    )  # fmt: skip
    at.done = at.done or (report if report.mended else None)
    return report


class Answer(Result):
    """What a customer gets: an HTTP status, 0 for none, and the text or the reason."""

    status: int
    text: str

    def facts(self) -> str:
        return f"HTTP {self.status}\n{self.text}" if self.status else f"no answer: {self.text}"


def ask(on: Context, order: str = "") -> Answer:
    """Ask for the page as a customer does, from the engine's own machine; ``order`` is such as ``"mint-tea"``."""
    reply = current(on).system.asked(order)
    return Answer(on.facts, reply.status, reply.text().strip() or reply.error.partition(":")[0])


def hint(on: Context) -> str:
    """The next hint, from where to look to the cause, with what the engine says now; the last one again at the end."""
    at = current(on)
    place = min(len(at.hints), len(at.incident.hints) - 1)
    at.hints.append(at.seconds)
    return f"Hint {place + 1} of {len(at.incident.hints)}: {at.filled(on, at.incident.hints[place])}"


def command(on: Context, part: str) -> str:
    """The ``docker run`` with which a part was started in this incident, to be changed and typed again.

    Raises:
        BadInput: there is no such part.
    """
    if part not in PARTS:
        raise BadInput(f"The counter has no part {part!r}.", next_step=f"It has: {', '.join(PARTS)}.")
    return current(on).system.lines[part]


class Way(Result):
    """Commands that mended an incident."""

    commands: list[str]

    def facts(self) -> str:
        return "The shortest way was taken."

    def __repr__(self) -> str:
        return self.facts()

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        shown = Evidence({"typed": "\n".join(self.commands)})._repr_mimebundle_()
        return {**shown, "text/plain": repr(self)}


def mend(on: Context) -> Way:
    """Type the shortest way for the incident that is running, command by command."""
    at = current(on)
    way = [at.filled(on, line) for line in at.incident.repair]
    for number, line in enumerate(way):
        on.say(line[:60], number / len(way))
        typed(on, line)
    return Way(on.facts, way)
