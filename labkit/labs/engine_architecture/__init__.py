"""Lab 06: the engine's parts, and what they do during one ``docker run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...course.topic import Topic, experiment
from . import parts, parts_owned, xray

if TYPE_CHECKING:
    from ...course.style import Picture
    from .widget import XrayWidget


class Parts(Topic):
    """dockerd, containerd, shims and runc: who they are, how they talk, what happens when one is gone."""

    processes = experiment(parts.processes)
    wiretap = experiment(parts.wiretap)
    ways = experiment(parts.ways)
    socket = experiment(parts.socket)
    without_daemons = experiment(parts_owned.without_daemons)
    kill_shim = experiment(parts_owned.kill_shim)
    by_hand = experiment(parts_owned.by_hand)
    ordinary_user = experiment(parts_owned.ordinary_user)

    @staticmethod
    def then_and_now() -> Picture:
        """Old Docker, one daemon that does everything, beside new Docker, a chain of small parts."""
        from .figures_architecture import then_and_now

        return then_and_now()


class Xray(Topic):
    """A ``docker run`` seen through: who did what, when."""

    run = experiment(xray.run)
    compare = experiment(xray.compare)

    def live(self) -> XrayWidget:
        """The X-ray widget on this lab's engine."""
        from .widget import XrayWidget

        return XrayWidget(self._on)
