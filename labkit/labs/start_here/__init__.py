"""Lab 00: a first container, three ways to the same engine, and whether everything is ready."""

from ...course.topic import Topic, experiment
from . import first, preflight


class First(Topic):
    """A first container, and what must be there for one."""

    by_sdk = experiment(first.by_sdk)
    by_cli = experiment(first.by_cli)
    by_http = experiment(first.by_http)
    three_ways = experiment(first.three_ways)
    preflight = experiment(preflight.preflight)
