"""Makes HTTP requests inside a lab's networks: a small container there, and this end of its line.

A notebook can't reach a container's address when the engine runs on another machine, and a
published port would time the port's forwarding too. So requests start in a container that
joins the lab's networks, and their times are taken there.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import queue
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from .. import images
from ..engine.attached import AttachedStream
from ..engine.faults import explained
from ..engine.session import ROLE, Session
from ..errors import EngineGone, LabError

PROGRAM = Path(__file__).with_name("caller") / "main.py"


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


@dataclass(frozen=True)
class Load:
    """Many requests: ``rows`` hold start (s), seconds, status and who served; ``seconds`` is the whole time."""

    rows: list[tuple[float, float, int, str]]
    seconds: float

    @property
    def good(self) -> list[tuple[float, float, int, str]]:
        """The requests that were answered with 200."""
        return [row for row in self.rows if row[2] == 200]

    @property
    def per_second(self) -> float:
        """Good answers divided by the whole time."""
        return len(self.good) / self.seconds


class Visitor:
    """The container that makes a session's HTTP requests; started when first needed."""

    def __init__(self, session: Session):
        self._session = session
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue] = {}
        self._line: AttachedStream | None = None
        self._networks: set[str] = set()
        self._ready = threading.Event()
        self.container_id = ""

    def join(self, network: str) -> None:
        """Make the visitor a member of a network (name or id); already in it is fine."""
        api = self._session.docker.api
        with explained(self._session.engine.endpoint):
            if self._line is None:
                self._start(network)
            elif network not in self._networks:
                api.connect_container_to_network(self.container_id, network)
        self._networks.add(network)

    def leave(self, network: str) -> None:
        """Leave a network, so that it can be removed; not in it is fine."""
        if network not in self._networks:
            return
        self._networks.discard(network)
        try:
            self._session.docker.api.disconnect_container_from_network(self.container_id, network, force=True)
        except (NotFound, APIError):
            pass  # the network or the visitor is gone: it has left

    def _start(self, network: str) -> None:
        api = self._session.docker.api
        image = images.ensure(self._session.docker, images.PYTHON)
        made = api.create_container(
            image,
            ["python3", "-u", "/opt/caller.py"],
            name=self._session.name("labkit-visitor"),
            stdin_open=True,
            labels={ROLE: "visitor"},
            host_config=api.create_host_config(network_mode=network, init=True),
        )
        self.container_id = made["Id"]
        self._networks = {network}
        api.put_archive(self.container_id, "/", _archive())
        self._line = AttachedStream(api, self.container_id)
        api.start(self.container_id)
        threading.Thread(target=self._listen, daemon=True, name="labkit-visitor").start()
        if not self._ready.wait(60):
            raise EngineGone("The visitor did not start.", engine=self._session.engine.endpoint)

    def _listen(self) -> None:
        for kind, line in self._line.lines():
            if kind == 2:
                continue
            message = json.loads(line)
            if message["id"] == 0:
                self._ready.set()
            elif message["id"] in self._answers:
                self._answers.pop(message["id"]).put(message)
        self._line = None
        self._networks.clear()
        self._ready.clear()
        for waiting in list(self._answers.values()):
            waiting.put({"error": "the visitor's container ended"})

    def _call(self, operation: str, patience: float, **arguments) -> dict:
        if self._line is None:
            raise LabError("The visitor is in no network.", next_step="Join one first.")
        number = next(self._numbers)
        answer = self._answers[number] = queue.SimpleQueue()
        self._line.send(json.dumps({"id": number, "op": operation, "args": arguments}))
        try:
            message = answer.get(timeout=patience)
        except queue.Empty as late:
            raise EngineGone("The visitor did not answer in time.", next_step="Run the cell again.") from late
        if "error" in message:
            raise LabError(f"The visitor could not do this: {message['error']}.")
        return message["done"]

    def request(
        self, method: str, url: str, *, headers: dict | None = None, body: bytes = b"", timeout: float = 10.0
    ) -> Reply:
        """One HTTP request, as seen from inside the networks that were joined.

        A refused or broken connection is an answer too: status 0, with the reason in ``error``.
        """
        done = self._call(
            "once", timeout + 30, method=method, url=url, headers=list((headers or {}).items()),
            body=base64.b64encode(body).decode(), timeout=timeout,
        )  # fmt: skip
        found = {key.lower(): value for key, value in done["headers"]}
        return Reply(done["status"], found, base64.b64decode(done["body"]), done["seconds"], done.get("error", ""))

    def get(self, url: str, **options) -> Reply:
        """A GET; arguments as for :meth:`request`."""
        return self.request("GET", url, **options)

    def digest(self, url: str, *, timeout: float = 60.0) -> tuple[int, str, str]:
        """Fetch a blob and hash it there: status, its digest, and the digest of what gzip had packed in it.

        Both digests are the same where it is not gzip. Large blobs need not cross the line to here.
        """
        done = self._call("digest", timeout + 30, url=url, timeout=timeout)
        return done["status"], "sha256:" + done["stored"], "sha256:" + done["opened"]

    def load(self, urls: list[str], count: int, *, workers: int = 1, timeout: float = 10.0) -> Load:
        """``count`` GETs over ``urls`` in turn, by ``workers`` at once, each on a connection of its own."""
        done = self._call("load", timeout * count + 30, urls=urls, count=count, workers=workers, timeout=timeout)
        return Load([tuple(row) for row in done["rows"]], done["seconds"])

    def close(self) -> None:
        """End the container's program; the session removes the container."""
        if self._line is not None:
            self._line.close()


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(PROGRAM, "opt/caller.py")
    return buffer.getvalue()
