"""HTTP requests from inside a lab's network."""

import base64
import hashlib
import http.client
import queue
import threading
import time
import zlib
from typing import Any
from urllib.parse import urlsplit


def once(
    _request: Any,
    method: str,
    url: str,
    headers: list[tuple[str, str]] | None = None,
    body: str = "",
    limit: float = 10.0,
) -> dict[str, Any]:
    """One request on a connection of its own, timed from connect to the body's last byte."""
    place = urlsplit(url)
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    started = time.perf_counter()
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=limit)
    try:
        connection.request(method, path, base64.b64decode(body) or None, dict(headers or []))
        answer = connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - started
        return {"status": answer.status, "headers": answer.getheaders(), "seconds": seconds,
                "body": base64.b64encode(content).decode()}  # fmt: skip
    except (OSError, http.client.HTTPException) as fault:
        seconds = time.perf_counter() - started
        return {"status": 0, "headers": [], "seconds": seconds, "body": "", "error": f"{type(fault).__name__}: {fault}"}
    finally:
        connection.close()


def load(request: Any, urls: list[str], count: int, workers: int, limit: float) -> dict[str, Any]:
    """Many GETs by several workers at once; rows of (start, seconds, status, what answered)."""
    work: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number in range(count):
        work.put(urls[number % len(urls)])
    rows, began = [], time.perf_counter()

    def worker() -> None:
        while True:
            try:
                url = work.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter() - began
            answer = once(request, "GET", url, limit=limit)
            server = dict(answer["headers"]).get("X-Served-By", "")
            rows.append([start, answer["seconds"], answer["status"], server])

    threads = [threading.Thread(target=worker) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rows": sorted(rows), "seconds": time.perf_counter() - began}


def steady(request: Any, url: str, every: float, limit: float, lasts: float) -> float:
    """A GET every so many seconds until it is stopped, whether those before were answered or not; rows as of ``load``.

    So a server that hangs does not slow its clients down: as many come as would have come. Returns the seconds.
    """
    rows: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    began = time.perf_counter()

    def ask() -> None:
        start = time.perf_counter() - began
        answer = once(request, "GET", url, limit=limit)
        rows.put([start, answer["seconds"], answer["status"], dict(answer["headers"]).get("X-Served-By", "")])

    threads: list[threading.Thread] = []
    while len(threads) * every < lasts and not request.stopped.wait(
        max(0.0, began + len(threads) * every - time.perf_counter())
    ):
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        while not rows.empty():
            request.rows(rows.get())
    for thread in threads:
        thread.join()
    while not rows.empty():
        request.rows(rows.get())
    return time.perf_counter() - began


def digest(_request: Any, url: str, limit: float) -> dict[str, Any]:
    """GET a blob and hash it as it comes, packed and, where it is gzip, unpacked: large ones stay here."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=limit)
    try:
        connection.request("GET", place.path)
        answer = connection.getresponse()
        stored, opened, unpack = hashlib.sha256(), hashlib.sha256(), None
        block = answer.read(1 << 20)
        if block[:2] == b"\x1f\x8b":
            unpack = zlib.decompressobj(31)  # with gzip's header
        while block:
            stored.update(block)
            opened.update(unpack.decompress(block) if unpack else block)
            block = answer.read(1 << 20)
        return {"status": answer.status, "stored": stored.hexdigest(), "opened": opened.hexdigest()}
    finally:
        connection.close()


OPERATIONS = {"once": once, "load": load, "steady": steady, "digest": digest}
