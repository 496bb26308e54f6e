"""Lab 10: what a container's network is made of, and where its files lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import places, rules, torn, wires, yard

if TYPE_CHECKING:
    from .widget import YardWidget


class Network(Topic):
    """Cables, bridges, names and rules."""

    cables = experiment(wires.cables)
    modes = experiment(wires.modes)
    names = experiment(wires.names)
    reach = experiment(yard.reach)
    published = experiment(rules.published)

    def live(self) -> YardWidget:
        """The widget with containers to connect and disconnect, on this lab's engine."""
        from .widget import YardWidget

        return YardWidget(self._on)


class Data(Topic):
    """Volumes, binds and memory, and what is left after a kill."""

    survival = experiment(places.survival)
    owners = experiment(places.owners)
    carry = experiment(places.carry)
    program = staticmethod(torn.program)
    torn = experiment(torn.torn)
