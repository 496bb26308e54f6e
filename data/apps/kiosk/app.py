"""A kiosk: GET / sells a cup of tea; GET /health answers 200 when a cup could be sold; GET /config says what it was told.

What differs from place to place is no part of it: STAGE in its environment, prices in /prices.json, and a token in
/run/secrets/token. On SIGTERM it goes on for a moment, finishes what it has begun, and ends.
"""

import hashlib
import json
import os
import pathlib
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = "1"
PRICES = {"tea": 4}
WORK = float(os.environ.get("WORK", "0.03"))
LINGER = float(os.environ.get("LINGER", "0.3"))
STAGE = os.environ.get("STAGE", "nowhere")
LIST, TOKEN = pathlib.Path("/prices.json"), pathlib.Path("/run/secrets/token")
if LIST.exists():
    PRICES = json.loads(LIST.read_text())


def sell(cups=1):
    return PRICES["tea"] * cups


def config():
    # Of a secret one shows at most that it is there, and whether it is the same as elsewhere.
    token = hashlib.sha256(TOKEN.read_bytes()).hexdigest() if TOKEN.exists() else ""
    return json.dumps({"stage": STAGE, "price": sell(), "token": token})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if os.path.exists("/tmp/out-of-tea"):
                raise LookupError("there is no tea")
            text, status = f"release {RELEASE}: {sell()} coins\n", 200
            text = config() if self.path == "/config" else text
        except LookupError as fault:
            text, status = f"release {RELEASE} failed: {fault!r}\n", 500
        if self.path == "/":
            time.sleep(WORK)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Served-By", f"{socket.gethostname()} {RELEASE}")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # what was begun is finished
    request_queue_size = 64


def end(*_):
    # Whoever was just told of this server may still come: the door is shut a moment later.
    threading.Timer(LINGER, server.shutdown).start()


if __name__ == "__main__":
    server = Server(("", 8000), Handler)
    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
