"""Waiting for something that takes a moment, with a limit and with a sentence for when it never comes."""

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LabError

T = TypeVar("T")


def wait_until(
    look: Callable[[], T],
    seconds: float,
    otherwise: str | Callable[[], Exception] = "",
    *,
    every: float = 0.05,
) -> T:
    """Ask again and again until the answer is true; returns that answer.

    It is asked once at least, and once more at the end of the time. What ``look`` raises ends the waiting: so
    it may say that the thing can't come any more.

    Args:
        look: asked without arguments.
        seconds: how long to wait at most.
        otherwise: the sentence of the :class:`~labkit.errors.LabError` raised when the time is over, or what makes
            the exception then. Without it nothing is raised, and the last, untrue answer is returned.
        every: seconds between two questions.

    Raises:
        LabError: the answer was never true, and ``otherwise`` is a sentence.
    """
    end = time.monotonic() + seconds
    while True:
        late = time.monotonic() >= end
        answer = look()
        if answer or (late and not otherwise):
            return answer
        if late:
            raise LabError(otherwise) if isinstance(otherwise, str) else otherwise()
        time.sleep(max(0.0, min(every, end - time.monotonic())))
