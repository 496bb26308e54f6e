"""Lab 09: what a limit takes from a container, and what root in it may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import cpu, crowd, disk, flags, given

if TYPE_CHECKING:
    from .widget import FlagsWidget, QuotaWidget


class Limits(Topic):
    """Processor time, processes and the disk, each with its limit."""

    throttle = experiment(cpu.throttle)
    latency = experiment(cpu.latency)
    shares = experiment(cpu.shares)
    program = staticmethod(crowd.program)
    bomb = experiment(crowd.bomb)
    write = experiment(disk.write)
    disk = experiment(disk.disk)

    def live(self) -> QuotaWidget:
        """The widget with a quota to slide, on this lab's engine."""
        from .widget import QuotaWidget

        return QuotaWidget(self._on)


class Security(Topic):
    """What root in a container may not do, and what each flag changes."""

    capabilities = experiment(flags.capabilities)
    profile = staticmethod(flags.profile)
    filtered = experiment(flags.filtered)
    job = staticmethod(flags.job)
    remapped = experiment(given.remapped)
    given_away = experiment(given.given_away)
    flags = experiment(flags.flags)

    def live(self) -> FlagsWidget:
        """The widget with flags to choose, on this lab's engine."""
        from .widget import FlagsWidget

        return FlagsWidget(self._on)
