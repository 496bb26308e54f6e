"""Errors that a learner can act on: what failed, where, why, and what to do next."""


class LabError(Exception):
    """A failure told in sentences.

    Args:
        what: what failed, as a full sentence.
        cause: the likely cause, as a full sentence; may be empty.
        next_step: what to do or type next, as a full sentence; may be empty.
        engine: the endpoint of the engine concerned; may be empty.
    """

    def __init__(self, what: str, *, cause: str = "", next_step: str = "", engine: str = ""):
        self.what = what
        self.cause = cause
        self.next_step = next_step
        self.engine = engine
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"(engine: {self.engine})" if self.engine else ""
        return " ".join(part for part in (self.what, where, self.cause, self.next_step) if part)


class NoEngine(LabError):
    """No live engine could be found or started."""


class EngineRefused(LabError):
    """The engine is there, but this user may not talk to it."""


class EngineGone(LabError):
    """The engine stopped answering in the middle of something."""


class NotPossibleHere(LabError):
    """The engine or machine can't do what was asked (architecture, rights, resources)."""


class BadInput(LabError):
    """A value the learner gave is outside what the engine accepts."""
