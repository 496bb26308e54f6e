"""Results in, matplotlib figures out. Importing this package signs all figures up for their results."""

from . import architecture, course, first, lifetime, oom, oom_machine, xray
from .style import Picture

__all__ = ["Picture", "architecture", "course", "first", "lifetime", "oom", "oom_machine", "xray"]
