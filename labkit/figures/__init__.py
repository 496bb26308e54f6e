"""Results in, matplotlib figures out. Importing this package signs all figures up for their results."""

from . import course, delivery, first, images, oom, solves
from .style import Picture

__all__ = ["Picture", "course", "delivery", "first", "images", "oom", "solves"]
