"""Topics: what a lab offers by name, such as ``lab.oom.grow(limit="32m")``."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ..engine.faults import explained
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
    """An experiment as a method of a topic, which knows the context, shows what takes long, and explains faults."""

    @functools.wraps(function)
    def method(topic: Topic, /, *values: P.args, **named: P.kwargs) -> R:
        with Busy(), explained(topic._on.session.engine.endpoint):
            return function(topic._on, *values, **named)

    return method
