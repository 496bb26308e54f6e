"""The wiretap: a Unix socket in front of an engine that writes down every request and answer.

Bytes pass through as they come, in both directions, so streams and hijacked connections
(``docker run`` without ``-d``, ``docker exec -it``) work as they do without it. Reading along
is done by a parser per direction; what it can't understand it lets pass.

Sources: HTTP/1.1, RFC 9112 (message framing); Engine API, ContainerAttach (hijacking).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..engine.base import Engine
from ..errors import NotPossibleHere

#: Bytes of each body that are kept to look at.
KEPT = 64 * 1024


@dataclass
class Exchange:
    """One request and its answer, as they passed.

    Times are this machine's monotonic clock in seconds: ``began`` when the request's head was
    whole, ``answered`` when the answer's head was, ``ended`` at the answer's last byte. A
    ``hijacked`` one became a two-way stream; ``ended`` is when it closed.
    """

    method: str
    path: str
    began: float
    status: int = 0
    answered: float | None = None
    ended: float | None = None
    hijacked: bool = False
    request_body: bytearray = field(default_factory=bytearray)
    response_body: bytearray = field(default_factory=bytearray)
    sent: int = 0
    received: int = 0

    @property
    def duration(self) -> float | None:
        """Seconds from the request to the end of its answer; None while it lasts."""
        return None if self.ended is None else self.ended - self.began

    def asked(self):
        """The request's body, parsed where it is JSON."""
        return _readable(self.request_body)

    def answer(self):
        """The answer's body, parsed where it is JSON; a list where it is a stream of JSON lines."""
        return _readable(self.response_body)


def _readable(body: bytearray):
    if not body:
        return None
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return text


class _Messages:
    """Reads along one direction of a connection: heads, bodies, and the point where HTTP ends.

    ``on_head(start_line, headers)`` answers how a body without a stated length is to be read:
    ``"none"``, ``"until close"`` or ``"raw"`` (no HTTP any more). ``on_body(bytes)`` gets what a
    body holds, ``on_end()`` is called after each message.
    """

    def __init__(self, on_head, on_body, on_end):
        self._on_head, self._on_body, self._on_end = on_head, on_body, on_end
        self._buffer = b""
        self._state = "head"
        self._left = 0

    def feed(self, data: bytes) -> None:
        if self._state == "raw":
            self._on_body(data)
            return
        self._buffer += data
        while self._step():
            pass

    def eof(self) -> None:
        if self._state in ("raw", "until close"):
            self._on_end()
            self._state = "ended"

    def raw(self) -> None:
        """From here on these are not HTTP messages."""
        self._state = "raw"
        rest, self._buffer = self._buffer, b""
        if rest:
            self._on_body(rest)

    def _step(self) -> bool:
        """Take one piece from the buffer; False when more bytes are needed."""
        if self._state == "head":
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return False
            self._buffer = rest
            self._head(head.decode("latin-1").lstrip("\r\n").split("\r\n"))
            return True
        if self._state == "chunk size":
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return False
            self._buffer = rest
            self._left = int(line.split(b";")[0], 16)
            self._state = "chunk" if self._left else "trailer"
            return True
        if self._state == "trailer":
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return False
            self._buffer = rest
            if not line:
                self._finish()
            return True
        if self._state in ("raw", "until close"):
            rest, self._buffer = self._buffer, b""
            if rest:
                self._on_body(rest)
            return False
        if self._state == "chunk end":
            if len(self._buffer) < 2:
                return False
            self._buffer, self._state = self._buffer[2:], "chunk size"
            return True
        return self._sized()

    def _sized(self) -> bool:
        if not self._buffer:
            return False
        part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(part)
        self._on_body(part)
        if self._left == 0:
            if self._state == "chunk":
                self._state = "chunk end"
            else:
                self._finish()
        return True

    def _head(self, lines: list[str]) -> None:
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        without_length = self._on_head(lines[0], headers)
        if without_length == "raw":
            self.raw()
        elif without_length == "empty":
            self._finish()
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._state = "chunk size"
        elif int(headers.get("content-length") or 0):
            self._state, self._left = "body", int(headers["content-length"])
        elif "content-length" not in headers and without_length == "until close":
            self._state = "until close"
        else:
            self._finish()

    def _finish(self) -> None:
        self._state = "head"
        self._on_end()


class _Conversation:
    """What is said on one connection: requests one way, answers in the same order the other way."""

    def __init__(self, record):
        self._record = record
        self._waiting: deque[Exchange] = deque()
        self._asking: Exchange | None = None
        self._answering: Exchange | None = None
        self.requests = _Messages(self._request, self._request_body, lambda: None)
        self.answers = _Messages(self._answer, self._answer_body, self._answer_end)

    def _request(self, line: str, headers: dict) -> str:
        method, path, *_ = line.split(" ")
        self._asking = Exchange(method, path, time.monotonic())
        self._waiting.append(self._asking)
        self._record(self._asking)
        return "none"

    def _request_body(self, data: bytes) -> None:
        exchange = self._asking
        if exchange is not None:
            exchange.sent += len(data)
            exchange.request_body += data[: max(0, KEPT - len(exchange.request_body))]

    def _answer(self, line: str, headers: dict) -> str:
        status = int(line.split(" ")[1])
        if 100 <= status < 200 and status != 101:
            return "empty"  # such as 100 Continue: the answer proper follows
        self._answering = exchange = self._waiting.popleft() if self._waiting else Exchange("?", "?", time.monotonic())
        exchange.status, exchange.answered = status, time.monotonic()
        media = headers.get("content-type", "")
        stream = media.startswith(("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"))
        if status == 101 or (stream and exchange.path.split("?")[0].endswith(("/attach", "/start"))):
            exchange.hijacked = True
            self.requests.raw()
            return "raw"
        if exchange.method == "HEAD" or status in (204, 304):
            return "empty"
        return "until close"

    def _answer_body(self, data: bytes) -> None:
        exchange = self._answering
        if exchange is not None:
            exchange.received += len(data)
            exchange.response_body += data[: max(0, KEPT - len(exchange.response_body))]

    def _answer_end(self) -> None:
        if self._answering is not None:
            self._answering.ended = time.monotonic()
            self._answering = None

    def closed(self) -> None:
        """The connection is gone: what was still under way ends here."""
        self.answers.eof()
        for exchange in [self._answering, *self._waiting]:
            if exchange is not None and exchange.ended is None:
                exchange.ended = time.monotonic()


class Wiretap:
    """A recording proxy in front of an engine; use it in a ``with`` block.

    Attributes:
        endpoint: its address, for ``DOCKER_HOST``.
        exchanges: what passed so far, in the order of the requests.

    Raises:
        NotPossibleHere: the engine is reached in a way that can't be listened to (``ssh``).
    """

    def __init__(self, engine: Engine):
        self._url = urlsplit(engine.endpoint)
        if self._url.scheme not in ("unix", "tcp", "http", "https"):
            raise NotPossibleHere(
                f"The wiretap can't listen to an engine over {self._url.scheme}.",
                next_step="Use an engine on a Unix socket or TCP: LABKIT_ENGINE=embedded.",
                engine=engine.endpoint,
            )
        self._tls = _tls(engine)
        self._folder = tempfile.mkdtemp(prefix="labkit-tap-")
        self.path = str(Path(self._folder, "docker.sock"))
        self.endpoint = f"unix://{self.path}"
        self.exchanges: list[Exchange] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True, name="labkit-wiretap")
        self._thread.start()
        ready.wait(10)

    def environment(self, engine: Engine) -> dict[str, str]:
        """A process environment in which any Docker client talks through this wiretap."""
        kept = {
            key: value
            for key, value in engine.process_environment().items()
            if key not in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
        }
        return {**kept, "DOCKER_HOST": self.endpoint}

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_unix_server(self._accept, self.path))
        os.chmod(self.path, 0o600)
        ready.set()
        self._loop.run_forever()

    async def _connect(self):
        if self._url.scheme == "unix":
            return await asyncio.open_unix_connection(self._url.path)
        name = self._url.hostname if self._tls else None
        return await asyncio.open_connection(
            self._url.hostname, self._url.port or 2375, ssl=self._tls, server_hostname=name
        )

    async def _accept(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        talk = _Conversation(self.exchanges.append)
        upstream = None
        try:
            from_engine, upstream = await self._connect()
            ask = asyncio.create_task(_pump(reader, upstream, talk.requests))
            await _pump(from_engine, writer, talk.answers)
            ask.cancel()  # the engine has said its last word; nobody reads what is still sent
        except (OSError, ValueError, ssl.SSLError, asyncio.CancelledError):
            pass  # either side went away in mid-stream: the other one learns it by the closing below
        finally:
            talk.closed()
            for one in (writer, upstream):
                if one is not None:
                    one.close()
            self._tasks.discard(task)

    def close(self) -> None:
        """End all connections and remove the socket."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _shut(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, *_) -> None:
        self.close()


async def _pump(reader, writer, messages: _Messages) -> None:
    """Pass on what comes until it ends; the parser reads along and can't disturb it."""
    readable = True
    try:
        while data := await reader.read(1 << 16):
            if readable:
                try:
                    messages.feed(data)
                except (ValueError, IndexError):
                    readable = False  # not HTTP as we know it: pass it on unread
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    # The other side must learn that no more will come, and may still have much to say itself.
    try:
        if writer.can_write_eof():
            writer.write_eof()
        else:
            # TLS has no half-close of its own in asyncio: close this direction of the TCP connection.
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _tls(engine: Engine) -> ssl.SSLContext | None:
    folder = engine.environment().get("DOCKER_CERT_PATH")
    if not folder:
        return None
    context = ssl.create_default_context(cafile=str(Path(folder, "ca.pem")))
    context.load_cert_chain(Path(folder, "cert.pem"), Path(folder, "key.pem"))
    return context
