"""Lab 07: a container's states, its ends, and what stays of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import endings, lifetime

if TYPE_CHECKING:
    from .widget import LifeWidget


class Life(Topic):
    """From ``docker create`` to ``docker rm``."""

    walk = experiment(lifetime.walk)
    layer = experiment(lifetime.layer)
    exit_codes = experiment(endings.exit_codes)
    stop_times = experiment(endings.stop_times)
    zombies = experiment(endings.zombies)
    restarts = experiment(endings.restarts)

    def machine(self) -> LifeWidget:
        """The state machine widget on this lab's engine."""
        from .widget import LifeWidget

        return LifeWidget(self._on)
