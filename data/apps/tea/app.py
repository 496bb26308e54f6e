"""A price service: GET /price?count=3 answers with a total, GET /health with ok."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = "1"
PRICE = 4


def total(count):
    """What so many cups of tea cost: from ten on, one in ten is free."""
    return PRICE * (count - count // 10)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        where = urlsplit(self.path)
        if where.path == "/health":
            self.answer({"health": "ok", "version": VERSION})
        elif where.path == "/price":
            count = int(parse_qs(where.query).get("count", ["1"])[0])
            self.answer({"count": count, "total": total(count), "version": VERSION})
        else:
            self.send_error(404)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
