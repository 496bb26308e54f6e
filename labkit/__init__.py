"""Container labs on a real, live engine.

>>> import labkit
>>> lab = labkit.open("08-out-of-memory")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lab import Lab

__version__ = "0.2.2"

__all__ = ["open"]


def open(name: str, *, engine: str | None = None) -> Lab:
    """Open a lab on a live engine; see :func:`labkit.lab.open_lab`."""
    from .beside import step_aside

    step_aside()
    from .lab import open_lab  # here, so that importing labkit costs next to nothing

    return open_lab(name, engine=engine)
