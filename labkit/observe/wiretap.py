"""The wiretap: a Unix socket in front of an engine that writes down every request and answer.

Bytes pass through as they come, in both directions, so streams and hijacked connections
(``docker run`` without ``-d``, ``docker exec -it``) work as they do without it. h11 reads along; what it can't
understand passes all the same.

Sources: HTTP/1.1, RFC 9112 (message framing); Engine API, ContainerAttach (hijacking).
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import h11

from ..engine import rawhttp
from ..engine.base import Engine
from ..errors import NotPossibleHere
from ..files import Temporary

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

    def _keep(self, data: bytes | bytearray, *, asked: bool) -> None:
        """Keep the beginning of what passed in one direction."""
        body = self.request_body if asked else self.response_body
        body += data[: max(0, KEPT - len(body))]

    def asked(self) -> Any:
        """The request's body, parsed where it is JSON."""
        return _readable(self.request_body)

    def answer(self) -> Any:
        """The answer's body, parsed where it is JSON; a list where it is a stream of JSON lines."""
        return _readable(self.response_body)


def _readable(body: bytearray) -> Any:
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


class _Conversation:
    """What is said on one connection, by a parser for each side.

    Each is told what the other one heard, for how an answer ends depends on what was asked, and what is asked
    next begins when the answer has ended. They stop where HTTP does: at an upgrade, or a stream of raw output.
    """

    def __init__(self, record: Callable[[Exchange], None]):
        self._record = record
        self._exchange: Exchange | None = None
        self._asking, self._answering = (
            h11.Connection(side, max_incomplete_event_size=1 << 20) for side in (h11.SERVER, h11.CLIENT)
        )

    def request(self, data: bytes) -> None:
        """What the client sent."""
        self._hear(self._asking, data)

    def answer(self, data: bytes) -> None:
        """What the engine sent; nothing at its end."""
        self._hear(self._answering, data)

    def _hear(self, side: h11.Connection, data: bytes) -> None:
        if self._exchange is not None and self._exchange.hijacked:
            self._exchange._keep(data, asked=side is self._asking)
            return
        side.receive_data(data)
        self._read(side, self._answering if side is self._asking else self._asking)

    def _read(self, side: h11.Connection, other: h11.Connection) -> None:
        while not isinstance(event := side.next_event(), (type, h11.ConnectionClosed)):
            exchange = self._note(event, asked=side is self._asking)
            if exchange.hijacked:
                for one in (self._asking, self._answering):
                    exchange._keep(one.trailing_data[0], asked=one is self._asking)
                return
            other.send_with_data_passthrough(event)
            if side.our_state is side.their_state is h11.DONE:
                self._asking.start_next_cycle()
                self._answering.start_next_cycle()
                self._read(self._asking, self._answering)

    def _note(self, event: h11.Event, *, asked: bool) -> Exchange:
        now = time.monotonic()
        if isinstance(event, h11.Request):
            self._exchange = Exchange(event.method.decode(), event.target.decode("latin-1"), now)
            self._record(self._exchange)
        exchange = self._exchange
        if exchange is None:
            raise h11.RemoteProtocolError("an answer to nothing")
        if isinstance(event, h11.Data):
            exchange._keep(event.data, asked=asked)
        elif isinstance(event, (h11.Response, h11.InformationalResponse)):
            if event.status_code < 200 and event.status_code != 101:
                return exchange  # such as 100 Continue: the answer proper follows
            exchange.status, exchange.answered = event.status_code, now
            media = dict(event.headers).get(b"content-type", b"")
            place = exchange.path.split("?")[0]
            exchange.hijacked = event.status_code == 101 or (
                media.startswith(_STREAMS) and place.endswith(("/attach", "/start"))
            )
        elif isinstance(event, h11.EndOfMessage) and not asked:
            exchange.ended = now
        return exchange

    def closed(self) -> None:
        """The connection is gone: what was still under way ends here."""
        if self._exchange is not None and self._exchange.ended is None:
            self._exchange.ended = time.monotonic()


_STREAMS = (b"application/vnd.docker.raw-stream", b"application/vnd.docker.multiplexed-stream")


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
        self._tls = rawhttp.tls(engine)
        self._folder = Temporary()
        self.path = str(Path(self._folder.name, "tap"))  # short: see paths._RUNTIME_BYTES
        self.endpoint = f"unix://{self.path}"
        self.exchanges: list[Exchange] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
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

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._url.scheme == "unix":
            return await asyncio.open_unix_connection(self._url.path)
        name = self._url.hostname if self._tls else None
        return await asyncio.open_connection(
            self._url.hostname, self._url.port or 2375, ssl=self._tls, server_hostname=name
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = _Conversation(self.exchanges.append)
        upstream = None
        try:
            from_engine, upstream = await self._connect()
            ask = asyncio.create_task(_pump(reader, upstream, talk.request))
            await _pump(from_engine, writer, talk.answer)
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
        self._folder.cleanup()

    async def _shut(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], None]) -> None:
    """Pass on what comes until it ends; who hears it can't disturb it."""
    readable = more = True
    with contextlib.suppress(OSError):
        while more:
            data = await reader.read(1 << 16)
            more = bool(data)
            if readable:
                try:
                    hear(data)
                except h11.ProtocolError:
                    readable = False  # not HTTP as we know it: pass it on unread
            writer.write(data)
            await writer.drain()
    # The other side must learn that no more will come, and may still have much to say itself.
    try:
        if writer.can_write_eof():
            writer.write_eof()
        else:
            # TLS has no half-close of its own in asyncio: close this direction of the TCP connection.
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    except OSError:
        pass
