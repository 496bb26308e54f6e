"""The caller's program: makes HTTP requests from inside a lab's network.

It reads one JSON request a line and answers each with one JSON line that bears its id.
It is copied into the container as it stands, needs only Python's library, and ends with its input.
"""

import base64
import hashlib
import http.client
import json
import queue
import sys
import threading
import time
import zlib
from urllib.parse import urlsplit

_write_lock = threading.Lock()


def send(message):
    with _write_lock:
        sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def once(method, url, headers=(), body="", timeout=10.0):
    """One request on a connection of its own, timed from connect to the body's last byte."""
    place = urlsplit(url)
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    started = time.perf_counter()
    connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=timeout)
    try:
        connection.request(method, path, base64.b64decode(body) or None, dict(headers))
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


def load(urls, count, workers, timeout=10.0):
    """Many GETs by several workers at once; rows of (start, seconds, status, what answered)."""
    work = queue.SimpleQueue()
    for number in range(count):
        work.put(urls[number % len(urls)])
    rows, began = [], time.perf_counter()

    def worker():
        while True:
            try:
                url = work.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter() - began
            answer = once("GET", url, timeout=timeout)
            server = dict(answer["headers"]).get("X-Served-By", "")
            rows.append([start, answer["seconds"], answer["status"], server])

    threads = [threading.Thread(target=worker) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rows": sorted(rows), "seconds": time.perf_counter() - began}


def digest(url, timeout=30.0):
    """GET a blob and hash it as it comes, packed and, where it is gzip, unpacked: large ones stay here."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=timeout)
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


OPERATIONS = {"once": once, "load": load, "digest": digest}


def serve(message):
    try:
        send({"id": message["id"], "done": OPERATIONS[message["op"]](**message["args"])})
    except Exception as fault:  # noqa: BLE001 - whatever went wrong is the answer
        send({"id": message["id"], "error": f"{type(fault).__name__}: {fault}"})


def main():
    send({"id": 0, "done": "ready"})
    for line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
