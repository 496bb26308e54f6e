"""What the agent answers, as types: here both ends of the line agree on names and order.

Times are seconds on the monotonic clock of the engine's machine (see :mod:`labkit.observe.clock`), sizes bytes.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Self, TypedDict, TypeVar

from ..errors import NotPossibleHere
from .helper import Stream

R = TypeVar("R")
E = TypeVar("E")


class Event(NamedTuple):
    """One event of the kernel's trace; ``task`` is the thread in which it happened."""

    time: float
    task: int
    comm: str
    name: str
    fields: dict[str, str]


class Look(NamedTuple):
    """A process that appeared, changed or, without a command, ended, as a look at ``/proc`` showed it."""

    time: float
    pid: int
    parent: int
    name: str
    command: list[str] | None


class Sample(NamedTuple):
    """What is charged to a control group, and what of it is swapped out."""

    time: float
    usage: int
    swap: int = 0


class MachineSample(NamedTuple):
    """What a whole machine has available, free, and free in swap."""

    time: float
    available: float
    free: float
    swap_free: float


class LogLine(NamedTuple):
    """One line of the kernel's log."""

    time: float
    text: str


class Machine(TypedDict):
    """The engine's machine."""

    kernel: str
    boot_id: str
    cpus: int
    memory: int
    available: int


class ProcessRow(TypedDict):
    """One process; ``started`` is in seconds since boot, ``namespaces`` by name, such as ``pid:[4026531836]``."""

    pid: int
    ppid: int
    group: int
    comm: str
    state: str
    exe: str
    command: list[str]
    inner_pid: int
    started: float
    namespaces: dict[str, str]


class CgroupFiles(TypedDict):
    """The files of a control group that are there, by name."""

    path: str
    version: int
    files: dict[str, str]


class Sampled(TypedDict):
    """What a sampled control group said last; ``files`` are the kernel's names of what was read."""

    path: str
    version: int
    files: dict[str, str]
    count: int
    peak: int | None
    limit: int | None
    counters: dict[str, int]


class FileFacts(TypedDict):
    """A file as ``ls -l`` tells of it."""

    kind: str
    mode: str
    owner: str
    group: str


class Link(TypedDict):
    """A network interface; ``peer`` is the number of a veth pair's other end, 0 for none, ``bridge`` whose port it is."""

    index: int
    name: str
    peer: int
    bridge: str
    addresses: list[str]


class Ending(TypedDict, total=False):
    """How a trace ended (``count``, ``lost``), or a watch (``looks``, ``longest`` pause between two of them)."""

    count: int
    lost: int
    looks: int
    longest: float


class Rows(Generic[R, E]):
    """Rows of one kind that come bit by bit; a ``with`` block, which stops them however it is left.

    ``first`` is what the operation said when it was ready.

    Raises:
        NotPossibleHere: it did not start.
    """

    def __init__(self, stream: Stream, kind: Callable[..., R]):
        self._stream, self._kind = stream, kind
        self.rows: list[R] = []
        self.first: dict[str, Any] = stream.next(15) or {}
        if not self.first:
            stream.stop()
            raise NotPossibleHere("The observer did not begin in time.")

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._stream.ended

    def poll(self, timeout: float | None = 0.1) -> list[R]:
        """The rows that came since the last call; waits up to ``timeout`` seconds for some."""
        before, chunk = len(self.rows), self._stream.next(timeout)
        while chunk is not None:
            self.rows += [self._kind(*row) for row in chunk["rows"]]
            chunk = self._stream.next(0)
        return self.rows[before:]

    def end(self, *, stop: bool = True) -> E:
        """Take all that still comes, and return what the operation said last.

        Args:
            stop: ask it to end; otherwise it ends by itself.
        """
        if stop:
            self._stream.stop()
        while not self.ended:
            self.poll(None)
        found: E = self._stream.result()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.stop()
