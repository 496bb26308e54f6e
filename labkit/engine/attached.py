"""A container's standard input and output as a duplex line stream, over any connection to its engine."""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import EngineGone
from ..files import kept_from_forks


class AttachedStream:
    """Lines to and from a container without a terminal.

    Attach before the container starts, so that nothing is missed. The engine multiplexes
    standard output and error into frames (Engine API, ContainerAttach); both come out as text.
    When the connection breaks, the container's input ends.

    Args:
        api: docker-py's low-level client.
        container: id of a container created with ``stdin_open``.
    """

    def __init__(self, api: Any, container: str):
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._holder = kept_from_forks(api.attach_socket(container, params=params))
        self._raw: socket.socket = getattr(self._holder, "_sock", self._holder)
        self._tls = self._raw if isinstance(self._raw, ssl.SSLSocket) else None
        # One thread may read while another writes, but not inside the same TLS connection.
        self._lock = threading.Lock()
        if not self._tls:
            self._raw.settimeout(None)

    def send(self, line: str) -> None:
        """Write one line to the container's standard input.

        Raises:
            EngineGone: the connection or the container has ended.
        """
        try:
            with self._lock:
                if self._tls:
                    self._raw.settimeout(30)
                self._raw.sendall(line.encode() + b"\n")
        except (OSError, ValueError) as fault:
            raise EngineGone(
                "The connection to the container has ended.", next_step="Run the lab's first cell again."
            ) from fault

    def _receive(self) -> bytes:
        if not self._tls:
            return self._raw.recv(1 << 16)
        while True:
            if not self._tls.pending():
                select.select([self._raw], [], [], 1.0)
            try:
                with self._lock:
                    self._raw.settimeout(0)
                    return self._raw.recv(1 << 16)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue  # a TLS record that carries no data, such as a session ticket

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Each frame as (stream, bytes); stream 1 is standard output, 2 standard error."""
        buffer = b""
        while True:
            while len(buffer) >= 8:
                kind, size = struct.unpack(">BxxxL", buffer[:8])
                if len(buffer) < 8 + size:
                    break
                yield kind, buffer[8 : 8 + size]
                buffer = buffer[8 + size :]
            try:
                data = self._receive()
            except (OSError, ValueError):
                return  # closed, here or there
            if not data:
                return
            buffer += data

    def lines(self) -> Iterator[tuple[int, str]]:
        """Each whole line as (stream, text without its line end); ends with the container."""
        rest = {1: b"", 2: b""}
        for kind, data in self.frames():
            *whole, rest[kind] = (rest.get(kind, b"") + data).split(b"\n")
            for line in whole:
                yield kind, line.decode("utf-8", "replace")

    def close(self) -> None:
        """End the container's standard input."""
        try:
            self._raw.shutdown(2)
        except OSError:
            pass
        self._holder.close()
