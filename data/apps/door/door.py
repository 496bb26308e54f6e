"""The door of a service: hands each request to one of the servers that the file /servers names, in turn.

The file is read for each request. Who wants to change it writes another one and moves it there, so that nobody
reads half a list. A server that can't be reached is answered for with 502: this door does not try another one.
"""

import http.client
import itertools
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIMIT = float(os.environ.get("LIMIT", "5"))
turn = itertools.count()


def servers():
    try:
        with open("/servers") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        names = servers()
        name = names[next(turn) % len(names)] if names else ""
        connection = http.client.HTTPConnection(name or "nobody", 8000, timeout=LIMIT)
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            status, server, body = answer.status, answer.getheader("X-Served-By", name), answer.read()
        except (OSError, http.client.HTTPException) as fault:
            status, server, body = 502, "door", f"{name}: {fault!r}\n".encode()
        finally:
            connection.close()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", server)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Server(("", 8000), Handler).serve_forever()
