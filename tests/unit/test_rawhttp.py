"""The Engine API by hand: what goes over a socket, and what its faults read like."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import threading

import pytest

from labkit.engine.host import Candidate, HostEngine
from labkit.engine.rawhttp import Exchange, connect, request
from labkit.errors import EngineGone, NoEngine, NotPossibleHere


class Answering(http.server.BaseHTTPRequestHandler):
    """Says back what it was asked; ``/cut`` promises more than it sends."""

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.dumps([self.command, self.path, self.rfile.read(length).decode()]).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(body) + (10 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer


@pytest.fixture
def engine(tmp_path):
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = tmp_path / "engine.sock"
    with Server(str(path), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield HostEngine(Candidate(f"unix://{path}", "test"))
        server.shutdown()


def test_one_request_over_a_unix_socket(engine):
    found = request(engine, "POST", "/containers/create", {"Image": "x"})
    assert (found.status, found.reason) == (201, "Created")
    assert found.json() == ["POST", "/containers/create", '{"Image": "x"}']
    assert str(found) == 'POST /containers/create HTTP/1.1\n{"Image": "x"}\n→ 201 Created'


def test_without_a_body(engine):
    assert request(engine, "GET", "/_ping").json() == ["GET", "/_ping", ""]
    assert Exchange("GET", "/", "", 204, "No Content", b"").json() is None


def test_a_connection_that_breaks(engine):
    with pytest.raises(EngineGone, match="stopped answering"):
        request(engine, "GET", "/cut")


def test_nobody_there(tmp_path):
    engine = HostEngine(Candidate(f"unix://{tmp_path}/none.sock", "test"))
    with pytest.raises(NoEngine, match="Nothing answers there") as caught:
        request(engine, "GET", "/_ping")
    assert str(tmp_path) in caught.value.engine


def test_tcp_ports_by_default():
    plain = connect(HostEngine(Candidate("tcp://engine", "test")))
    assert (plain.host, plain.port) == ("engine", 2375)
    assert connect(HostEngine(Candidate("tcp://engine:99", "test"))).port == 99


def test_ssh_is_left_to_the_client():
    with pytest.raises(NotPossibleHere, match="over ssh") as caught:
        connect(HostEngine(Candidate("ssh://me@engine", "test")))
    assert "lab.docker" in caught.value.next_step


def test_tls_shows_a_certificate_only_when_asked(tmp_path):
    import trustme

    authority = trustme.CA()
    client = authority.issue_cert("client")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    engine = HostEngine(Candidate("tcp://127.0.0.1", "test", tls=files))
    assert connect(engine).port == 2376
    os.remove(tmp_path / "key.pem")
    assert connect(engine, certificate=False).port == 2376, "without one, its key isn't read"
    with pytest.raises(OSError):
        connect(engine)
