"""Lab 01: from a commit to what runs, and one shop in two architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import pipeline, repository, shop

if TYPE_CHECKING:
    from .widget import BoardWidget


class Delivery(Topic):
    """A pipeline with its stages, its gate and its two places."""

    tea = staticmethod(pipeline.tea)
    broken = staticmethod(pipeline.broken)
    integrate = experiment(repository.integrate)
    run = experiment(pipeline.run)
    approve = experiment(pipeline.approve)
    rebuilt = experiment(pipeline.rebuilt)
    call = experiment(pipeline.call)

    def board(self) -> BoardWidget:
        """The pipeline's board on this lab's engine."""
        from .widget import BoardWidget

        return BoardWidget(self._on)


class Shop(Topic):
    """One shop as a monolith and as microservices."""

    ARCHITECTURES = shop.ARCHITECTURES
    deploy = experiment(shop.deploy)
    latency = experiment(shop.latency)
    blast_radius = experiment(shop.blast_radius)
    rebuild_scope = experiment(shop.rebuild_scope)
    scaling = experiment(shop.scaling)
