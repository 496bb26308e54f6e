"""Waiting for something, with an end to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], seconds: float, *, every: float = 0.05) -> T:
    """Look again and again, until what is seen is true or the time is up.

    Args:
        look: what to do each time; at least once.
        seconds: for how long.
        every: seconds between two looks.

    Returns:
        What was seen last: false where it did not come in time.
    """
    end = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(every)
    return seen
