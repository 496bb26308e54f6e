"""``labkit progress``: what this learner has done."""

from __future__ import annotations

import argparse
import json

from ..course import labs
from ..exercises import Progress, load
from .common import add_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    progress = Progress()
    summary = progress.summary()
    if options.json:
        print(json.dumps(summary, indent=1, sort_keys=True))
        return 0
    for entry in labs():
        done = summary.get(entry.lab, {})
        content = load(entry.lab)
        print(
            f"{entry.number} {entry.title:<24}"
            f"exercises {done.get('exercises_passed', 0)}/{len(content.exercises)}"
            f"   predictions right {done.get('predictions_right', 0)}/{len(content.predictions)}"
            f"   quiz {done.get('quiz_right', 0)}/{len(content.quiz)}"
        )
    print(f"Kept in {progress.path}")
    return 0
