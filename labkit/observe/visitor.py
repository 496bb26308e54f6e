"""Makes HTTP requests inside a lab's networks: a small container there, and this end of its line.

A notebook can't reach a container's address when the engine runs on another machine, and a
published port would time the port's forwarding too. So requests start in a container that
joins the lab's networks, and their times are taken there.
"""

import base64
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from docker import APIClient
from docker.errors import APIError, NotFound

from ..engine.faults import explained
from ..engine.session import Session
from ..errors import LabError
from .helper import Helper, Stream


@dataclass(frozen=True)
class Reply:
    """An HTTP answer. ``status`` is 0 where none came, and ``error`` says why; ``seconds`` is the whole exchange."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    error: str = ""

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Visit(NamedTuple):
    """One of many requests: when it began, how long it took (s), its answer's status, and which server's it was."""

    start: float
    seconds: float
    status: int
    server: str


@dataclass(frozen=True)
class Load:
    """Many requests, and the whole time that they took in seconds."""

    rows: list[Visit]
    seconds: float

    @property
    def good(self) -> list[Visit]:
        """The requests that were answered with 200."""
        return [row for row in self.rows if row.status == 200]

    @property
    def per_second(self) -> float:
        """Good answers divided by the whole time."""
        return len(self.good) / self.seconds


class Steady:
    """Requests that go on while a ``with`` block runs: see :meth:`Visitor.steady`.

    ``began`` is when the first of them did, by this process's ``time.perf_counter``, to within the time that an
    answer needs to get here.
    """

    def __init__(self, stream: Stream, patience: float):
        self._stream, self._patience = stream, patience
        self.rows: list[Visit] = []
        self.began = 0.0

    def look(self, timeout: float = 0.0) -> list[Visit]:
        """The requests that have ended so far; waits so many seconds for more."""
        while (part := self._stream.next(timeout)) is not None:
            self.rows += [Visit(*row) for row in part["rows"]]
            timeout = 0.0
        return self.rows

    @property
    def ended(self) -> bool:
        """Whether no request is to come any more."""
        return self._stream.ended

    def now(self) -> float:
        """Seconds since ``began``."""
        return time.perf_counter() - self.began

    def __enter__(self) -> Self:
        found = self.look(self._patience)
        if not found:
            raise LabError("The visitor's requests did not begin.", next_step="Run the cell again.")
        self.began = time.perf_counter() - found[-1].start - found[-1].seconds
        return self

    def stop(self) -> None:
        """Ask for no further requests."""
        self._stream.stop()

    def __exit__(self, *_: object) -> None:
        self.stop()
        before = -1
        while not self._stream.ended and before < len(self.rows):
            before = len(self.rows)
            self.look(self._patience)
        self.rows.sort()


class Visitor(Helper):
    """The container that makes a session's HTTP requests; started when first needed."""

    role = "visitor"
    modules = ("visits",)

    def __init__(self, session: Session):
        super().__init__(session)
        self._networks: list[str] = []
        self._first = ""

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        there = {network[key] for network in api.networks() for key in ("Name", "Id")}
        self._networks = [network for network in self._networks if network in there]
        if not self._networks:
            raise LabError("The visitor is in no network.", next_step="Join one first.")
        self._first = self._networks[0]
        return dict(api.create_host_config(network_mode=self._first, cap_drop=["ALL"], init=True))

    def _prepare(self, api: APIClient) -> None:
        for network in self._networks[1:]:
            api.connect_container_to_network(self.container_id, network)

    def join(self, network: str) -> None:
        """Make the visitor a member of a network (name or id); already in it is fine."""
        if network not in self._networks:
            if self.alive:
                with explained(self._session.engine.endpoint):
                    self._session.docker.api.connect_container_to_network(self.container_id, network)
            self._networks.append(network)
        self.start()

    def leave(self, network: str) -> None:
        """Leave a network, so that it can be removed; not in it is fine."""
        if network not in self._networks:
            return
        self._networks.remove(network)
        if network == self._first:
            # Engine 28 connects no container any more whose first network is gone: another one begins in the next.
            self.close()
            self._discard()
            return
        with contextlib.suppress(NotFound, APIError):  # the network or the visitor is gone: it has left
            self._session.docker.api.disconnect_container_from_network(self.container_id, network, force=True)

    def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes = b"", timeout: float = 10.0
    ) -> Reply:
        """One HTTP request, as seen from inside the networks that were joined.

        A refused or broken connection is an answer too: status 0, with the reason in ``error``.
        """
        done = self.call(
            "once", timeout=timeout + 30, method=method, url=url, headers=list((headers or {}).items()),
            body=base64.b64encode(body).decode(), limit=timeout,
        )  # fmt: skip
        found = {key.lower(): value for key, value in done["headers"]}
        return Reply(done["status"], found, base64.b64decode(done["body"]), done["seconds"], done.get("error", ""))

    def get(self, url: str, **options: Any) -> Reply:
        """A GET; arguments as for :meth:`request`."""
        return self.request("GET", url, **options)

    def digest(self, url: str) -> tuple[int, str, str]:
        """Fetch a blob and hash it there: status, its digest, and the digest of what gzip had packed in it.

        Both digests are the same where it is not gzip. Large blobs need not cross the line to here.
        """
        done = self.call("digest", timeout=90, url=url, limit=60.0)
        return done["status"], "sha256:" + done["stored"], "sha256:" + done["opened"]

    def load(self, urls: list[str], count: int, *, workers: int = 1, timeout: float = 10.0) -> Load:
        """``count`` GETs over ``urls`` in turn, by ``workers`` at once, each on a connection of its own."""
        done = self.call("load", timeout=timeout * count + 30, urls=urls, count=count, workers=workers, limit=timeout)
        return Load([Visit(*row) for row in done["rows"]], done["seconds"])

    def steady(self, url: str, every: float, *, timeout: float = 10.0) -> Steady:
        """A GET every so many seconds, each on a connection of its own, until the ``with`` block ends, or for half an hour.

        An answer that does not come holds no later request up: in an outage as many are lost as would have come.
        """
        return Steady(self.stream("steady", url=url, every=every, limit=timeout, lasts=1800.0), timeout + 30)
