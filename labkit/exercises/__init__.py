"""Predictions, checks on the engine's state, hints and progress."""

from .model import Exercise, LabContent, Outcome, Question, load, not_yet, passed
from .progress import Progress

__all__ = ["Exercise", "LabContent", "Outcome", "Progress", "Question", "load", "not_yet", "passed"]
