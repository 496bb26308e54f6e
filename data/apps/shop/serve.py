"""Serves the pieces of the shop that this container holds; asks other containers for the rest.

PIECES names the modules here (``front,catalogue``). WHERE names the host of every other piece
(``cart=logic,store=data``). The pieces themselves don't know which is which.
Each answer names the containers that it took, one a request: its own first, then those it asked.
"""

import http.client
import importlib
import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECES = os.environ["PIECES"].split(",")
WHERE = dict(pair.split("=") for pair in os.environ.get("WHERE", "").split(",") if pair)
WORK = float(os.environ.get("WORK", "0"))
busy = threading.Lock()
took_part = threading.local()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        piece, _, path = self.path.lstrip("/").partition("/")
        took_part.names = [socket.gethostname()]
        try:
            # The outside asks for an endpoint; the pieces ask each other by name.
            value, status = (ask(piece, path), 200) if piece in PIECES else (ask("front", piece), 200)
        except OSError as fault:
            value, status = {"error": str(fault)}, 502
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", " ".join(took_part.names))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def ask(piece, path):
    """The answer of a piece: a function call when it is here, an HTTP request when it is not."""
    if piece in PIECES:
        if piece == "catalogue" and WORK:
            with busy:  # one at a time: a piece with a bottleneck
                time.sleep(WORK)
        return importlib.import_module(piece).answer(path, ask)
    connection = http.client.HTTPConnection(WHERE[piece], 8000, timeout=5)
    try:
        connection.request("GET", f"/{piece}/{path}")
        reply = connection.getresponse()
        if reply.status != 200:
            raise OSError(f"{piece} answered {reply.status}")
        took_part.names += reply.getheader("X-Served-By").split()
        return json.loads(reply.read())
    finally:
        connection.close()


if __name__ == "__main__":
    for name in PIECES:
        importlib.import_module(name)
    # Eight clients knock at once. In a queue of five, one of them would have to knock again, a second later.
    ThreadingHTTPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("", 8000), Handler)
    server.serve_forever()
