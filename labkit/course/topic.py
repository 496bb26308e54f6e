"""Topics: what a lab offers by name, such as ``lab.oom.grow(limit="32m")``."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

from .busy import Busy
from .context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Topic:
    """The experiments of one topic, bound to the lab whose attribute it is; derived in each lab's folder."""

    def __init__(self, on: Context):
        self._on = on

    def __repr__(self) -> str:
        words = ", ".join(word for word in vars(type(self)) if not word.startswith("_"))
        return f"<experiments on {type(self).__name__.lower()}: {words}>"


def experiment(function: Callable[Concatenate[Context, P], R]) -> Callable[Concatenate[Topic, P], R]:
    """An experiment as a method of a topic, which knows the context and shows what takes long."""
    told = "progress" in inspect.signature(function).parameters

    @functools.wraps(function)
    def method(topic: Topic, *values: P.args, **named: P.kwargs) -> R:
        with working(topic._on) as busy:
            if told:
                named.setdefault("progress", busy.share)
            return function(topic._on, *values, **named)

    return method


@contextlib.contextmanager
def working(on: Context) -> Iterator[Busy]:
    """What takes long shows what it does, below its cell, as long as it takes."""
    with Busy() as busy:
        on.progress = busy.say
        try:
            yield busy
        finally:
            on.progress = None
