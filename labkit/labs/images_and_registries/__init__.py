"""Lab 03: images built, opened and changed, and registries that keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import (
    anatomy,
    attestations,
    building,
    layering,
    logins,
    names,
    platforms,
    pushes,
    registry,
    samples,
    tidying,
    writable,
)

if TYPE_CHECKING:
    from .widget import ExplorerWidget, PuzzleWidget


class Images(Topic):
    """Building images, and what is in them."""

    source = staticmethod(samples.source)
    build = experiment(building.build)
    rebuild = experiment(layering.rebuild)
    same_content = experiment(layering.same_content)
    copy_up = experiment(writable.copy_up)
    two_containers = experiment(writable.two_containers)
    compare = experiment(anatomy.compare)
    sample = experiment(anatomy.sample)
    anatomy = experiment(anatomy.anatomy)
    names = experiment(names.names)
    remembered = experiment(tidying.remembered)
    tidied = experiment(tidying.tidied)

    def explorer(self) -> ExplorerWidget:
        """The layer explorer, on this lab's engine."""
        from .widget import ExplorerWidget

        return ExplorerWidget(self._on)

    def puzzle(self) -> PuzzleWidget:
        """The build cache as a puzzle, on this lab's engine."""
        from .widget import PuzzleWidget

        return PuzzleWidget(self._on)


class Registry(Topic):
    """A registry of the lab's own: pushes, pulls, platforms."""

    start = experiment(registry.start)
    two_pushes = experiment(pushes.two_pushes)
    pull_back = experiment(pushes.pull_back)
    matched = experiment(pushes.matched)
    everywhere = experiment(pushes.everywhere)
    broken_push = experiment(pushes.broken_push)
    publish = experiment(platforms.publish)
    force = experiment(platforms.force)
    attested = experiment(attestations.attested)
    login = experiment(logins.login)
