"""Lab 08: a process grows inside a limit, and every trace of its end is collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import oom, oom_cases, oom_machine

if TYPE_CHECKING:
    from .widget import OomWidget


class Oom(Topic):
    """Limits, growth, and the kernel's choice."""

    program = staticmethod(oom.program)
    grow = experiment(oom.grow)
    start = experiment(oom.start)
    refused = experiment(oom.refused)
    stop_by_hand = experiment(oom.stop_by_hand)
    job = experiment(oom_cases.job)
    candidates = experiment(oom_cases.candidates)
    shared_parent = experiment(oom_cases.shared_parent)
    flags = experiment(oom_cases.flags)
    repeat = experiment(oom_cases.repeat)
    exhaust = experiment(oom_machine.exhaust)

    def live(self) -> OomWidget:
        """The live widget on this lab's engine."""
        from .widget import OomWidget

        return OomWidget(self._on)
