"""Lab 04: what Docker promises, each promise tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import machines, promises

if TYPE_CHECKING:
    from .widget import ScaleWidget


class Solves(Topic):
    """The same everywhere, side by side without conflict, set up in seconds, many at once."""

    SCRIPT = promises.SCRIPT
    SETUP = promises.SETUP
    carry = experiment(promises.carry)
    conflict = experiment(promises.conflict)
    environments = experiment(promises.environments)
    set_up = experiment(promises.set_up)
    replicas = experiment(machines.replicas)
    roll_out = experiment(machines.roll_out)
    machines = experiment(machines.machines)

    def scale(self) -> ScaleWidget:
        """Replicas by a slider, on this lab's engine."""
        from .widget import ScaleWidget

        return ScaleWidget(self._on)
