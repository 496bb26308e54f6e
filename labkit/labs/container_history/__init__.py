"""Lab 05: the steps from chroot to containers, each by hand, and what stands below Docker today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import history, lxc, lxc_api, own_container, runtimes, timeline

if TYPE_CHECKING:
    from ...course.style import Picture
    from .own_container import Built
    from .widget import BuilderWidget


class History(Topic):
    """A container by hand, step by step in the order of history."""

    timeline = experiment(timeline.timeline)
    jail = experiment(history.jail)
    walk_program = staticmethod(history.walk_program)
    walk_out = experiment(history.walk_out)
    behind_pivot = experiment(history.behind_pivot)
    each_namespace = experiment(history.each_namespace)
    group_script = staticmethod(history.group_script)
    group_by_hand = experiment(history.group_by_hand)
    runtime = staticmethod(own_container.runtime)
    build = experiment(own_container.build)
    runc_alone = experiment(runtimes.runc_alone)
    ctr_without_dockerd = experiment(runtimes.ctr_without_dockerd)
    lxc_steps = staticmethod(lxc.lxc_steps)
    lxc_against_docker = experiment(lxc.lxc_against_docker)
    lxc_program = staticmethod(lxc_api.program)
    lxc_by_api = experiment(lxc_api.by_api)

    @staticmethod
    def layers() -> Picture:
        """Where CRI-O and Kubernetes sit: a drawing, not something that runs here."""
        from .figures import layers

        return layers()

    @staticmethod
    def side_by_side(*built: Built) -> Picture:
        """Several own containers in one table: what the program inside could do."""
        from .figures import side_by_side

        return side_by_side(*built)

    def builder(self) -> BuilderWidget:
        """Switches for every part of an own container."""
        from .widget import BuilderWidget

        return BuilderWidget(self._on)
