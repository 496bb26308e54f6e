"""Results in, matplotlib figures out. Importing this package signs all figures up for their results."""

from . import (
    architecture,
    course,
    delivery,
    first,
    history,
    images,
    isolation,
    lifetime,
    oom,
    oom_machine,
    solves,
    xray,
)
from .style import Picture

__all__ = [
    "Picture",
    "architecture",
    "course",
    "delivery",
    "first",
    "history",
    "images",
    "isolation",
    "lifetime",
    "oom",
    "oom_machine",
    "solves",
    "xray",
]
