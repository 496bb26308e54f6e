"""Lab 11: what its exercises ask of the engine. One for each kind of incident; which one it is, each learner's seed says."""

from __future__ import annotations

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from . import incidents

CONTENT = LabContent.beside(__file__)

HINTS = (
    "Start one of this kind, with the number that the text names: `lab.incidents.start(…)`.",
    "What the user reported is still so. `lab.incidents.hint()` says where to look first, and more at each call.",
    "The user is content, and something is not as it was agreed: print `lab.incidents.manual()` and compare.",
    "What is gone is gone. Start the incident once more; remove containers, but neither their volumes nor each other's.",
)
#: Which hint belongs to a rule that does not hold; all others are about the agreement.
HINT = {**dict.fromkeys(("running", "served", "quick", "stops"), 1), "lost": 3, "there": 3}


def mended(on: Context, level: int) -> Outcome:
    """Is an incident of this level running in this session, and mended?"""
    at = incidents.running(on)
    if at is None or at.incident.level != level:
        return not_yet("no incident of this kind is running.", 0)
    report = incidents.check(on)
    if not report.mended:
        return not_yet(report.says, HINT.get(report.rule, 2))
    return passed("the customer is served, the cause is gone, and no order is lost.")


@CONTENT.exercise("stopped", "A part does not run", *HINTS)
def stopped(on: Context) -> Outcome:
    return mended(on, 1)


@CONTENT.exercise("unreached", "What runs can't be reached", *HINTS)
def unreached(on: Context) -> Outcome:
    return mended(on, 2)


@CONTENT.exercise("amiss", "All runs, and something is wrong", *HINTS)
def amiss(on: Context) -> Outcome:
    return mended(on, 3)
