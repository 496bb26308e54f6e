"""Three clocks, one time: whatever was noted by any of them becomes seconds since one moment."""

import time
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Clock:
    """The clocks of the engine's machine and our own at one moment, and the moment that counts as zero.

    ``here`` is this process's monotonic clock, ``machine`` that of the engine's machine, ``wall`` the time of
    day there, all in seconds; ``doubt`` is how much earlier or later ours may have been, for a round trip lies
    between them. ``zero`` is a time of ``machine``.
    """

    here: float
    machine: float
    wall: float
    doubt: float = 0.0
    zero: float = 0.0

    @classmethod
    def ours(cls) -> Self:
        """Where nobody can be asked: as if the engine's machine were this one."""
        now = time.monotonic()
        return cls(now, now, time.time())

    def since(self, zero: float) -> Self:
        """The same, counting from a monotonic time of the engine's machine."""
        return replace(self, zero=zero)

    def of_machine(self, moment: float) -> float:
        """A monotonic time of the engine's machine, in seconds since zero."""
        return moment - self.zero

    def of_here(self, moment: float) -> float:
        """A monotonic time of our own, in seconds since zero."""
        return moment - self.here + self.machine - self.zero

    def of_wall(self, moment: float) -> float:
        """A time of day of the engine's machine (s since 1970), in seconds since zero."""
        return moment - self.wall + self.machine - self.zero

    def to_wall(self, moment: float) -> float:
        """Seconds since zero, as the time of day of the engine's machine."""
        return moment - self.of_wall(0.0)
