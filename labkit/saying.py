"""What is being done just now: one channel for it, from whoever works to whoever shows it."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Listener(Protocol):
    """Hears what is being done, and which part of the whole is done (0 to 1) where that is known."""

    def __call__(self, line: str, done: float | None = None, /) -> object: ...


# Each thread has its own: a widget's work and a cell that runs at the same time don't hear each other.
_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("listener", default=None)


def say(line: str, done: float | None = None) -> None:
    """Tell whoever listens what is being done now, such as ``layered: building logic``, and its share (0 to 1)."""
    hears = _listener.get()
    if hears is not None:
        hears(line) if done is None else hears(line, done)


@contextmanager
def listening(hears: Listener) -> Iterator[None]:
    """For the length of the block, what is said in this thread is heard by this one alone."""
    before = _listener.set(hears)
    try:
        yield
    finally:
        _listener.reset(before)
