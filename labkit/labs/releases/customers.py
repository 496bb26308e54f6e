"""Customers in the background, for an exercise: they ask the kiosk's door without pause."""

from ...course.context import Context
from ...course.result import Result
from ...errors import EngineGone
from ...observe.visitor import Steady, Visit
from .kiosk import open_kiosk, pace

_customers: dict[str, Steady] = {}


class Customers(Result):
    """Who serves them, with which release."""

    servers: list[str]
    release: str

    def facts(self) -> str:
        return f"customers ask at the door; release {self.release} serves them from {' and '.join(self.servers)}"


def customers(on: Context) -> Customers:
    """Have customers ask the kiosk's door from now on; whoever asked before goes home, and is not counted any more.

    The kiosk is opened first where it is not open, or was left in pieces.
    """
    home(on)
    kiosk, times = open_kiosk(on), pace(on)
    kiosk.prepare("rolling", "2" if kiosk.release == "1" else "1")  # both images are there to be run
    load = on.visitor(kiosk.network).steady(kiosk.url, 2 * times.every, timeout=2 * times.timeout)
    _customers[on.session.id] = load.__enter__()
    return Customers(on.facts, list(kiosk.servers), kiosk.release)


def home(on: Context) -> None:
    """Send the customers home."""
    if load := _customers.pop(on.session.id, None):
        load.stop()


def asked(on: Context) -> list[Visit]:
    """The requests of the customers so far, in the order of their begin; none where nobody asks."""
    load = _customers.get(on.session.id)
    try:
        return sorted(load.look()) if load else []
    except EngineGone:  # they went with the kiosk's network, when it was opened anew
        home(on)
        return []
