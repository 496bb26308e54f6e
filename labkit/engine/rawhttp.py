"""The Engine API by hand: HTTP over a Unix socket or over TCP with TLS, and nothing else.

Only the standard library, so that a learner can read what a client really does.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import NotPossibleHere
from .base import Engine
from .faults import explain


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. ``body`` is bytes as received."""

    method: str
    path: str
    sent: str
    status: int
    reason: str
    body: bytes

    def json(self) -> Any:
        """The answer's body, parsed."""
        return json.loads(self.body or b"null")

    def __str__(self) -> str:
        sent = f"\n{self.sent}" if self.sent else ""
        return f"{self.method} {self.path} HTTP/1.1{sent}\n→ {self.status} {self.reason}"


def connect(engine: Engine, *, timeout: float = 60.0, certificate: bool = True) -> http.client.HTTPConnection:
    """A plain HTTP connection to an engine.

    Args:
        engine: which.
        timeout: seconds.
        certificate: show the client certificate, where the engine asks for one.

    Raises:
        NotPossibleHere: its endpoint is neither a Unix socket nor TCP.
    """
    url = urlsplit(engine.endpoint)
    if url.scheme == "unix":
        return _UnixConnection(url.path, timeout)
    if url.scheme not in ("tcp", "http", "https"):
        raise NotPossibleHere(
            f"Raw HTTP over {url.scheme} is not shown in this lab.",
            next_step="Use lab.docker, which also speaks ssh and named pipes.",
            engine=engine.endpoint,
        )
    context = tls(engine, certificate=certificate)
    if context is None:
        return http.client.HTTPConnection(url.hostname or "", url.port or 2375, timeout=timeout)
    return http.client.HTTPSConnection(url.hostname or "", url.port or 2376, timeout=timeout, context=context)


def tls(engine: Engine, *, certificate: bool = True) -> ssl.SSLContext | None:
    """How this client and an engine know each other; None where they don't ask. ``certificate``: show the client's."""
    folder = engine.environment().get("DOCKER_CERT_PATH")
    if not folder:
        return None
    context = ssl.create_default_context(cafile=str(Path(folder, "ca.pem")))
    if certificate and Path(folder, "cert.pem").exists():
        context.load_cert_chain(Path(folder, "cert.pem"), Path(folder, "key.pem"))
    return context


def request(engine: Engine, method: str, path: str, body: Mapping[str, Any] | None = None, **options: Any) -> Exchange:
    """Send one request and read the whole answer.

    Args:
        engine: which.
        method: such as ``"GET"``.
        path: such as ``"/version"``; without a version prefix the engine uses its newest.
        body: sent as JSON.
        options: for :func:`connect`.

    Raises:
        labkit.errors.LabError: no connection, refused, or it broke.
    """
    text = json.dumps(body) if body is not None else ""
    headers = {"Content-Type": "application/json"} if text else {}
    connection = connect(engine, **options)
    try:
        connection.request(method, path, text or None, headers)
        answer = connection.getresponse()
        return Exchange(method, path, text, answer.status, answer.reason, answer.read())
    except (OSError, http.client.HTTPException) as fault:
        raise explain(fault, engine.endpoint) from fault
    finally:
        connection.close()
