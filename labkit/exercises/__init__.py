"""Predictions, checks on the engine's state, hints and progress."""

from .model import Exercise, LabContent, Outcome, Question, load, not_yet, passed
from .progress import Progress, Standing

__all__ = ["Exercise", "LabContent", "Outcome", "Progress", "Question", "Standing", "load", "not_yet", "passed"]
