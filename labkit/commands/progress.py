"""``labkit progress``: what a learner has done, and how a class stands."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..course import labs
from ..course.progress import Progress
from ..errors import BadInput
from .common import add_json, tell

#: How many of the hardest exercises and predictions are named.
HARDEST = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", metavar="FILE.json", help="what learners handed in (from --json): shows the class"
    )
    parser.add_argument("--name", default="", help="put your name into --json; without it nobody's name is in it")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    if options.files:
        found = of_class([_handed_in(Path(file)) for file in options.files])
        tell(options, found, _class_as_text(found))
    else:
        tell(options, Progress().hand_in(options.name), _as_text(Progress()))
    return 0


def _as_text(progress: Progress) -> str:
    lines, follows = [], progress.next_lab()
    for entry in labs():
        found = progress.standings()[entry.lab]
        state = found.state + (", next" if entry.lab == follows else "")
        lines.append(
            f"{entry.number} {entry.title:<24}{state:<13}"
            f"exercises {found.passed}/{len(found.exercises)}"
            f"   predictions right {found.right('predictions')}/{len(found.predictions)}"
            f"   quiz {found.right('quiz')}/{len(found.quiz)}"
        )
    return "\n".join([*lines, f"Kept in {progress.path}"])


def _handed_in(path: Path) -> dict[str, Any]:
    """One learner's report.

    Raises:
        BadInput: the file can't be read, or is no such report.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if all({"state", "exercises", "predictions"} <= set(lab) for lab in found["labs"].values()):
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BadInput(f"{path} is no learner's report.", next_step="labkit progress --json > FILE.json") from fault
    raise BadInput(f"{path} is no learner's report.", next_step="labkit progress --json > FILE.json")


def of_class(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over a class: per lab who has begun and done, and what was hard. No name is in it.

    ``exercises`` and ``predictions`` count, per ``lab/key``, those who tried and those who succeeded.
    """
    states = {entry.lab: Counter(report["labs"].get(entry.lab, {}).get("state") for report in reports)
              for entry in labs()}  # fmt: skip
    return {
        "learners": len(reports),
        "labs": {lab: {state: found[state] for state in ("open", "begun", "done")} for lab, found in states.items()},
        "exercises": _successes(reports, "exercises", "passed"),
        "predictions": _successes(reports, "predictions", "right"),
    }


def _successes(reports: list[dict[str, Any]], kind: str, success: str) -> dict[str, dict[str, int]]:
    tried: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for report in reports:
        for lab, found in report["labs"].items():
            for key, outcome in found[kind].items():
                tried[f"{lab}/{key}"] += outcome is not None
                done[f"{lab}/{key}"] += outcome == success
    return {key: {"tried": tried[key], success: done[key]} for key in tried}


def _class_as_text(found: dict[str, Any]) -> str:
    lines = [f"{found['learners']} learners"]
    for entry in labs():
        counts = found["labs"][entry.lab]
        lines.append(
            f"{entry.number} {entry.title:<24}done {counts['done']:<4} begun {counts['begun']:<4} open {counts['open']}"
        )
    for kind, success in (("exercises", "passed"), ("predictions", "right")):
        hard = hardest(found[kind], success)
        lines += [f"Hardest {kind}:"] * bool(hard)
        lines += [f"  {key}: {success} {row[success]} of {row['tried']}" for key, row in hard]
    return "\n".join(lines)


def hardest(counts: dict[str, dict[str, int]], success: str) -> list[tuple[str, dict[str, int]]]:
    """Of what :func:`of_class` counts, the few rows with the least share of success; never what all have done."""
    hard = [(row[success] / row["tried"], key, row) for key, row in counts.items() if row["tried"]]
    return [(key, row) for share, key, row in sorted(hard, key=lambda each: each[:2]) if share < 1][:HARDEST]
