"""Lab 11: a small system that does not work, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import incidents, system

if TYPE_CHECKING:
    from .widget import IncidentWidget


class Incidents(Topic):
    """A tea counter that is broken, and a user's report."""

    manual = experiment(system.manual)
    start = experiment(incidents.start)
    ask = experiment(incidents.ask)
    hint = experiment(incidents.hint)
    check = experiment(incidents.check)
    command = experiment(incidents.command)
    mend = experiment(incidents.mend)

    def live(self) -> IncidentWidget:
        """The widget with an incident to choose, hints, a check and a clock, on this lab's engine."""
        from .widget import IncidentWidget

        return IncidentWidget(self._on)
