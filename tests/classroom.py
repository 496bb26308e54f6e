"""A class as it is: ``labkit class`` as a process, and learners with progress files of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from labkit.course import labs
from labkit.course.exercises import load
from labkit.course.progress import Progress


class Class:
    """One ``labkit class`` process; it can be stopped and started again on the same port."""

    def __init__(self, state: Path):
        self._environment = {**os.environ, "LABKIT_STATE": str(state), "PYTHONUNBUFFERED": "1"}
        self.port = "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labkit", "class", "--port", self.port],
            stdout=subprocess.PIPE, text=True, env=self._environment,
        )  # fmt: skip
        said = self.process.stdout.readline() + self.process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+)/board/\S+)\n.*join (\S+) (\S+)", said)
        assert found, said
        self.board, self.port, self.address, self.code = found.groups()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def learner(folder: Path, number: int) -> Progress:
    """Somebody's progress, each one's another: the first labs done, one exercise tried in vain, predictions made."""
    progress = Progress(folder / f"learner{number}" / "progress.json")
    entries = labs()[: 1 + number % 4]
    for place, entry in enumerate(entries):
        content = load(entry.lab)
        for key in list(content.exercises)[: None if place < len(entries) - 1 else number % 3]:
            progress.checked(entry.lab, key, True)
        for at, (key, question) in enumerate(content.predictions.items()):
            right = (at + number) % 3 != 0
            progress.predicted(entry.lab, key, question.right if right else question.choices[0], right)
    if number % 2:
        lab = entries[-1].lab
        stuck = list(load(lab).exercises)[min(number % 3, len(load(lab).exercises) - 1)]
        for _ in range(number):
            progress.checked(lab, stuck, False)
    return progress
