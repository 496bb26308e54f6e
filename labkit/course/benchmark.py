"""One harness for all measured comparisons: rounds, a budget, medians, and what was left out.

A benchmark has several *subjects* that do the same thing in different places. They are measured
in turn, round by round, so that a busy moment of the machine hits all of them. It ends when every
subject has its rounds, when the budget is used up, or when somebody interrupts it; what was
measured until then is kept, and the result says that it is partial.
"""

import dataclasses
import datetime
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..engine import EngineFacts
from ..errors import BadInput
from ..paths import data_file, state_dir
from ..saying import say
from ..units import at_least_one, show_time
from .result import Result

#: Rounds at most where the processor is emulated: each takes ten times as long, and tells of the emulator.
FEW = 3


def rounds(engine: EngineFacts, n: int | None, usual: int = 10) -> int:
    """How often to measure: as asked; else ``usual``, and :data:`FEW` on an emulated machine.

    Raises:
        BadInput: what was asked for is no count.
    """
    n = (min(usual, FEW) if engine.emulated else usual) if n is None else n
    at_least_one(n=n)
    return n


@dataclass(frozen=True)
class Subject:
    """Something to be measured.

    Args:
        label: its name on the figure.
        model: which of the course's models it is (see ``figures.style.MODELS``).
        once: measures once and returns the value.
        n: rounds wanted; at most :data:`FEW` where its processor is emulated.
        emulated: its processor is emulated in software.
        warm: measured once before, uncounted.
    """

    label: str
    model: str
    once: Callable[[], float]
    n: int = 10
    emulated: bool = False
    warm: bool = True

    @property
    def wanted(self) -> int:
        return min(self.n, FEW) if self.emulated else self.n


@dataclass(frozen=True)
class Series:
    """What one subject gave: its values in the order measured, in the benchmark's unit."""

    label: str
    model: str
    values: list[float]
    wanted: int
    emulated: bool = False

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def partial(self) -> bool:
        """Whether it ended before all its rounds were done."""
        return self.n < self.wanted

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and third quartile: half of all values lie between them."""
        if self.n < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


class Benchmark(Result):
    """A measured comparison.

    ``unit`` is the values' unit, ``less_is_better`` how to read them, ``method`` what is timed, from
    when to when, warm or cold. ``budget`` and ``seconds`` are what it was given and what it took.
    """

    name: str
    title: str
    unit: str
    method: str
    series: list[Series]
    budget: float
    seconds: float
    interrupted: bool = False
    less_is_better: bool = True
    note: str = ""
    #: Whether the order of the medians is the same on every machine, and so a fact.
    clear_order: bool = False
    #: Subjects on another machine than the rest, and so without a place in that order.
    apart: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, engine: EngineFacts, name: str, title: str, unit: str, method: str, subjects: Sequence[Subject],
        budget: float, **more: Any,
    ) -> Self:  # fmt: skip
        """Measure these subjects, as :func:`measure` does; ``more`` are further fields of the result."""
        series, seconds, interrupted = measure(subjects, budget)
        return cls(engine, name, title, unit, method, series, budget, seconds, interrupted, **more)

    @property
    def partial(self) -> bool:
        """Whether anything that was wanted is missing."""
        return self.interrupted or any(row.partial for row in self.series)

    @property
    def again(self) -> str:
        """The command that measures the same once more."""
        return f"labkit bench {self.name} -n {max(row.n for row in self.series)}"

    @property
    def subjects(self) -> str:
        """Who was measured, in words that are the same on every engine."""
        return ", ".join(row.label for row in self.series)

    def find(self, label: str) -> Series:
        """A subject's series by its label.

        Raises:
            BadInput: it has no values.
        """
        for row in self.series:
            if row.label == label:
                return row
        raise BadInput(
            f"{label!r} was not measured.", next_step=f"Measured: {', '.join(r.label for r in self.series)}."
        )

    def ordered(self) -> list[Series]:
        """By median, smallest first."""
        return sorted(self.series, key=lambda row: row.median)

    def facts(self) -> str:
        if self.clear_order:
            ranked = [row.label for row in self.ordered() if row.label not in self.apart]
            beside = [f" · beside them: {row.label}" for row in self.series if row.label in self.apart]
            text = f"{self.title}, smallest first: {' < '.join(ranked)}{''.join(beside)}"
        else:
            text = f"{self.title}, measured: {' · '.join(row.label for row in self.series)}"
        return text + (" (interrupted: partial)" if self.interrupted else "")

    def summary(self) -> dict[str, Any]:
        """n, median, quartiles and the machine's facts: what is recorded and what ``--json`` prints."""
        rows = [
            {
                "label": row.label, "model": row.model, "n": row.n, "median": row.median,
                "quartiles": list(row.spread), "emulated": row.emulated, "partial": row.partial, "values": row.values,
            }
            for row in self.series
        ]  # fmt: skip
        return {
            "name": self.name, "title": self.title, "unit": self.unit, "method": self.method, "series": rows,
            "budget_s": self.budget, "took_s": round(self.seconds, 2), "partial": self.partial, "note": self.note,
            "machine": dataclasses.asdict(self.engine),
        }  # fmt: skip


def check_budget(budget: float) -> float:
    """A budget in seconds.

    Raises:
        BadInput: not a number above zero.
    """
    try:
        seconds = float(budget)
    except (TypeError, ValueError) as fault:
        raise BadInput(f"{budget!r} is not a number of seconds.", next_step="Try budget=20.") from fault
    if not seconds > 0:
        raise BadInput("A budget must be above zero seconds.", next_step="Try budget=20.")
    return seconds


def measure(subjects: Sequence[Subject], budget: float) -> tuple[list[Series], float, bool]:
    """Measure all subjects in turn within a budget, and say before each run which one it is.

    Args:
        subjects: what to measure; each is run once before, uncounted, where ``warm``.
        budget: seconds for everything, the uncounted runs included.

    Returns:
        The series, the seconds it took, and whether it was interrupted.

    Raises:
        BadInput: the budget is too small for one run of each.
        KeyboardInterrupt: interrupted before anything was measured.
    """
    budget = check_budget(budget)
    began = time.monotonic()
    values: dict[str, list[float]] = {subject.label: [] for subject in subjects}
    costs: dict[str, float] = {}
    total = sum(subject.wanted for subject in subjects)
    interrupted = False

    def left() -> float:
        return budget - (time.monotonic() - began)

    def one(subject: Subject) -> float:
        before = time.monotonic()
        value = subject.once()
        costs[subject.label] = time.monotonic() - before
        return value

    try:
        for subject in subjects:
            if subject.warm:
                say(f"{subject.label}: once to warm up", 0.0)
                one(subject)
        for number in range(max(subject.wanted for subject in subjects)):
            for subject in subjects:
                if number >= subject.wanted:
                    continue
                # A run that would overshoot is not begun; the first of each only when time is left at all.
                if left() <= (costs.get(subject.label, 0.0) if number else 0.0):
                    continue
                done = sum(len(rows) for rows in values.values())
                say(f"{subject.label}: {len(values[subject.label]) + 1} of {subject.wanted}", done / total)
                values[subject.label].append(one(subject))
    except KeyboardInterrupt:
        if not any(values.values()):
            raise
        interrupted = True
    empty = [subject.label for subject in subjects if not values[subject.label]]
    if empty and not interrupted:
        cost = sum(costs.values()) * 2
        raise BadInput(
            f"A budget of {show_time(budget)} is too small for one run of: {', '.join(empty)}.",
            cause=f"One uncounted and one counted run of everything take about {show_time(max(cost, budget))} here.",
            next_step=f"Ask for budget={max(1, round(max(cost, budget) * 1.5 + 0.5))}.",
        )
    series = [
        Series(subject.label, subject.model, values[subject.label], subject.wanted, subject.emulated)
        for subject in subjects
        if values[subject.label]
    ]
    return series, time.monotonic() - began, interrupted


def record(result: Benchmark) -> Path:
    """Keep a benchmark's numbers with its machine's facts in the learner's state folder; returns the file."""
    target = state_dir("measured") / f"{result.name}-{result.engine.kind}.json"
    kept = {"measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **result.summary()}
    target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return target


@dataclass(frozen=True)
class Published:
    """A figure that others published: never ours, other machine, other year."""

    benchmark: str
    label: str
    model: str
    value: float
    unit: str
    source: str


def published(name: str) -> list[Published]:
    """What ``data/published.json`` has for a benchmark."""
    table = json.loads(data_file("published.json").read_text(encoding="utf-8"))
    sources = table["sources"]
    return [
        Published(row["benchmark"], row["label"], row["model"], row["value"], row["unit"],
                  sources[row["source"]]["short"])
        for row in table["figures"]
        if row["benchmark"] == name
    ]  # fmt: skip
