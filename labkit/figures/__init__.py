"""Results in, matplotlib figures out. Importing this package signs all figures up for their results."""

from . import first, oom
from .style import Picture

__all__ = ["Picture", "first", "oom"]
