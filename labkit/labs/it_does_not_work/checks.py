"""Lab 11: what its exercises ask of the engine. One for each kind of incident; which one it is, each learner's seed says."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from . import incidents

CONTENT = LabContent.beside(__file__)

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


@CONTENT.exercise("stopped")
def stopped(on: Context) -> Outcome:
    return mended(on, 1)


@CONTENT.exercise("unreached")
def unreached(on: Context) -> Outcome:
    return mended(on, 2)


@CONTENT.exercise("amiss")
def amiss(on: Context) -> Outcome:
    return mended(on, 3)
