"""A learner's progress, in one plain JSON file that can be read, copied and deleted."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..paths import state_dir


def _folders(found, depth: int) -> dict:
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

    def __init__(self, path: Path | None = None):
        self.path = path or state_dir() / "progress.json"

    def read(self) -> dict:
        """All of it; without what can't be understood; empty where there's none yet."""
        try:
            return _folders(json.loads(self.path.read_text()), 3)
        except (OSError, ValueError):
            return {}

    @contextmanager
    def _changing(self) -> Iterator[dict]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self.read()
            yield content
            part = self.path.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
            part.replace(self.path)

    def _entry(self, content: dict, lab: str, kind: str, key: str) -> dict:
        return content.setdefault(lab, {}).setdefault(kind, {}).setdefault(key, {})

    def predicted(self, lab: str, key: str, choice: int, right: bool) -> None:
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

    def prediction(self, lab: str, key: str) -> int | None:
        """The committed choice, or None."""
        return self.read().get(lab, {}).get("predictions", {}).get(key, {}).get("choice")

    def states(self) -> dict[str, str]:
        """Per lab: ``done`` when every exercise of it has passed, ``begun`` when anything was tried."""
        from .model import load

        found = {}
        for lab, kinds in self.read().items():
            passed = {key for key, entry in kinds.get("exercises", {}).items() if "passed" in entry}
            wanted = set(load(lab).exercises)
            found[lab] = "done" if wanted and wanted <= passed else "begun"
        return found

    def summary(self) -> dict[str, dict[str, int]]:
        """Per lab: exercises passed, predictions made and right, quiz questions right."""
        found = {}
        for lab, kinds in sorted(self.read().items()):
            exercises = kinds.get("exercises", {})
            predictions = kinds.get("predictions", {})
            found[lab] = {
                "exercises_passed": sum("passed" in entry for entry in exercises.values()),
                "predictions": len(predictions),
                "predictions_right": sum(entry.get("right", False) for entry in predictions.values()),
                "quiz_right": sum(entry.get("right", False) for entry in kinds.get("quiz", {}).values()),
            }
        return found
