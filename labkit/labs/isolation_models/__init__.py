"""Lab 02: what a program sees in a process, a container and a virtual machine, and what each costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import gvisor, isolation, isolation_disk, isolation_work, two_engines, visibility

if TYPE_CHECKING:
    from ...course.style import Picture
    from .widget import NamespaceWidget, StopwatchWidget


class Isolation(Topic):
    """What is shared and what is not, and the measured comparisons."""

    probe_script = staticmethod(visibility.probe_script)
    matrix = experiment(visibility.matrix)
    neighbours = experiment(visibility.neighbours)
    namespaces = experiment(visibility.namespaces)
    density = experiment(isolation.density)
    memory = experiment(isolation.memory)
    start_latency = experiment(isolation.start_latency)
    cpu = experiment(isolation_work.cpu)
    network = experiment(isolation_work.network)
    system_calls = experiment(isolation_work.system_calls)
    disk = experiment(isolation_disk.disk)
    random_read = experiment(isolation_disk.random_read)
    gvisor = experiment(gvisor.gvisor)
    two_engines = experiment(two_engines.two_engines)

    @staticmethod
    def others_chart(*names: str) -> Picture:
        """Published comparisons alone, each relative to its own native value; nothing here is ours."""
        from .figures import others_chart

        return others_chart(*names)

    def namespace_board(self) -> NamespaceWidget:
        """Toggles for the flags that share namespaces."""
        from .widget import NamespaceWidget

        return NamespaceWidget(self._on)

    def stopwatch(self) -> StopwatchWidget:
        """The benchmarks of this lab, with a budget."""
        from .widget import StopwatchWidget

        return StopwatchWidget(self._on)
