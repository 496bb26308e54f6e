"""Lab 12: what a working engineer does around a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import customers, health, kiosk, places, rollouts, sbom, shipping

if TYPE_CHECKING:
    from .widget import RolloutWidget


class Releases(Topic):
    """What is built, how it takes the place of what runs, and what it is told there."""

    files = staticmethod(kiosk.files)
    folder = staticmethod(shipping.folder)
    leaks = experiment(shipping.leaks)
    cache_mount = experiment(shipping.cache_mount)
    shipping = experiment(shipping.shipping)
    health = experiment(health.health)
    rollout = experiment(rollouts.rollout)
    compare = experiment(rollouts.compare)
    bad = experiment(rollouts.bad)
    place_files = staticmethod(places.files)
    places = experiment(places.places)
    bill = experiment(sbom.bill)
    customers = experiment(customers.customers)

    def live(self) -> RolloutWidget:
        """The widget that rolls out under load, on this lab's engine."""
        from .widget import RolloutWidget

        return RolloutWidget(self._on)
