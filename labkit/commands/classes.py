"""``labkit class``: the live board of a class, and the place that its learners' progress is sent to."""

import argparse
import asyncio
import hmac
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from tornado import httpserver, netutil, template, web

from ..course import labs
from ..course.classroom import SIGNED
from ..course.exercises import load
from ..errors import NotPossibleHere
from ..paths import data_file, state_path
from .roll import Refused, Roll

#: Bytes of the largest message; a report of all labs has about 10 thousand.
LARGEST = 100_000
#: The board's tables, and where in its address one is named.
TABLES = {"progress.csv": Roll.as_csv, "grades.csv": Roll.grades, "moodle.csv": Roll.moodle}
TABLE = f"({'|'.join(map(re.escape, TABLES))})?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ip", default="127.0.0.1", help="address to listen on, 0.0.0.0 for a room; default: this machine"
    )
    parser.add_argument("--port", type=int, default=8890, help="port to listen on, 0 for any; default: 8890")
    parser.add_argument(
        "--new", action="store_true", help="begin a new class; the last one's rows and code are forgotten"
    )
    parser.add_argument("--hub", action="store_true", help="as a service that a JupyterHub starts, behind its login")


class _Handler(web.RequestHandler):
    def initialize(self, roll: Roll) -> None:
        self.roll = roll

    def set_default_headers(self) -> None:
        self.nonce = secrets.token_urlsafe(12)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; connect-src 'self'; style-src 'nonce-{self.nonce}'; script-src 'nonce-{self.nonce}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )


class Message(_Handler):
    """What learners send. Only labkit does so: a page of somewhere else may not send JSON without being allowed."""

    def post(self, what: str) -> None:
        try:
            if self.request.headers.get("Content-Type") != "application/json":
                raise Refused(400, "this is no message of labkit's.")
            if what == "join":
                self.finish(self.roll.join(self.request.body))
            else:
                self.roll.take(self.request.body, self.request.headers.get(SIGNED, ""))
                self.finish({"says": "taken"})
        except Refused as reason:
            self.set_status(reason.status)
            self.finish({"says": str(reason), **reason.more})


class Board(_Handler):
    """What the instructor sees."""

    def show(self, what: str, address: str, token: str = "") -> None:
        """Answer with the page, or with a table; learners join at ``address``, and the page sends ``token`` to ask again."""
        if what:
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", f'attachment; filename="{what}"')
            self.finish(TABLES[what](self.roll))
            return
        self.finish(page(self.roll, address, self.nonce, token))


class _RoomBoard(Board):
    """At an address that has the class's key in it."""

    def get(self, key: str, what: str) -> None:
        if not hmac.compare_digest(key.encode(), self.roll.key.encode()):
            raise web.HTTPError(404)
        self.show(what, self.request.host)


def page(roll: Roll, host: str, nonce: str, token: str = "") -> bytes:
    """The board; what learners typed is text in it (the template escapes all that it is given)."""
    rows, groups, at = roll.rows(), [], 0
    for entry in labs():
        width = len(load(entry.lab).exercises) + 1
        used = any(cell.kind != "open" for row in rows for cell in row.cells[at : at + width])
        groups.append((entry, list(load(entry.lab).exercises.values()), slice(at, at + width), used))
        at += width
    stuck = sorted((row for row in rows if row.stuck), key=lambda row: -row.minutes)
    text: dict[str, Any] = {
        "rows": rows, "shown": [group for group in groups if group[3]], "rest": [group[0] for group in groups if not group[3]],
        "stuck": stuck, "hard": roll.predictions(), "code": roll.code, "host": host, "nonce": nonce, "token": token,
        "when": time.strftime("%H:%M"),
    }  # fmt: skip
    return template.Template(data_file("class.html").read_text(encoding="utf-8"), autoescape="xhtml_escape").generate(
        **text
    )


def application(roll: Roll) -> web.Application:
    """The board and its roll as a tornado application."""
    return web.Application(
        [
            (r"/(join|progress)", Message, {"roll": roll}),
            (rf"/board/([\w-]+)/{TABLE}", _RoomBoard, {"roll": roll}),
        ],
        log_function=lambda handler: None,
    )


def main(options: argparse.Namespace) -> int:
    path = state_path("teaching", "class.json")
    if options.new:
        path.unlink(missing_ok=True)
    roll = Roll(path)
    if options.hub:
        try:
            from .class_hub import service
        except ImportError:
            raise NotPossibleHere(
                "JupyterHub is not installed beside labkit.", next_step="pip install 'labkit[hub]'"
            ) from None
        asyncio.run(_serve(*service(roll), lambda port: print("The board is a service of this hub.", flush=True)))
    else:
        asyncio.run(_serve(application(roll), options.ip, options.port, lambda port: _tell(roll, options.ip, port)))
    return 0


async def _serve(served: web.Application, ip: str, port: int, told: Callable[[int], None]) -> None:
    try:
        sockets = netutil.bind_sockets(port, ip)
    except (OSError, OverflowError) as fault:
        raise NotPossibleHere(
            f"The board can't listen on {ip}, port {port}: {getattr(fault, 'strerror', None) or fault}.",
            next_step="Another port: labkit class --port 8891; an address of this machine: ip addr",
        ) from fault
    # A hub's proxy says how it was asked; whoever else says so changes no more than the address that the page names.
    server = httpserver.HTTPServer(served, xheaders=True, max_body_size=LARGEST, max_buffer_size=2 * LARGEST)
    server.add_sockets(sockets)
    told(sockets[0].getsockname()[1])  # the one that was found, where 0 was asked for
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()


def _tell(roll: Roll, ip: str, port: int) -> None:
    here = _seen_as() if ip in ("0.0.0.0", "::", "") else ip
    place = f"[{here}]:{port}" if ":" in here else f"{here}:{port}"
    print(f"Board, for you: http://{place}/board/{roll.key}/", flush=True)
    print(f"Learners:       labkit join {place} {roll.code}", flush=True)
    if ip not in ("127.0.0.1", "::1", "localhost"):
        print("What is sent is signed, not encrypted: use it in a network that you trust.", flush=True)


def _seen_as() -> str:
    """This machine's address in the room. Nothing is sent: a UDP socket only asks for the way (TEST-NET-1, RFC 5737)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
            return str(way.getsockname()[0])
        except OSError:
            return "127.0.0.1"
