"""The wiretap's reading of HTTP, and what passes through it, without an engine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from labkit.errors import NotPossibleHere
from labkit.observe.wiretap import Wiretap, _Conversation

ATTACH = b"POST /containers/x/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


class FakeEngine:
    """An engine that is only an address."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint

    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.endpoint}

    def process_environment(self) -> dict[str, str]:
        return self.environment()


def conversation():
    seen = []
    return _Conversation(seen.append), seen


def test_a_body_with_a_length_and_one_in_chunks_arriving_byte_by_byte():
    talk, seen = conversation()
    for byte in b'POST /v1.41/x?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"a":1}GET /y HTTP/1.1\r\nHost: x\r\n\r\n':
        talk.request(bytes([byte]))
    for byte in b'HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"b\r\n4\r\n":2}\r\n0\r\n\r\nHTTP/1.1 204 OK\r\n\r\n':
        talk.answer(bytes([byte]))
    assert [(one.method, one.path, one.status) for one in seen] == [
        ("POST", "/v1.41/x?name=a", 201),
        ("GET", "/y", 204),
    ]
    assert seen[0].asked() == {"a": 1}
    assert seen[0].answer() == {"b": 2}
    assert seen[0].ended is not None and seen[1].ended is not None


def test_an_answer_to_head_has_no_body_though_it_states_a_length():
    talk, seen = conversation()
    talk.request(b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
    assert [(one.method, one.status, bytes(one.response_body)) for one in seen] == [
        ("HEAD", 200, b""),
        ("GET", 200, b"OK"),
    ]


def test_a_hijacked_connection_is_no_http_any_more():
    talk, seen = conversation()
    talk.request(b"POST /containers/x/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n")
    talk.answer(b"HTTP/1.1 101 UPGRADED\r\n\r\nHTTP/1.1 500 this is output\r\n\r\n")
    talk.request(b"GET / HTTP/1.1\r\n\r\nis input")
    assert len(seen) == 1
    assert seen[0].hijacked and seen[0].status == 101 and seen[0].ended is None
    assert b"this is output" in seen[0].response_body
    talk.closed()
    assert seen[0].ended is not None


def test_raw_output_without_an_upgrade_is_no_http_either():
    """What an engine answers to clients that ask for no upgrade, docker-py among them."""
    talk, seen = conversation()
    talk.request(b"POST /containers/x/attach?stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    talk.answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream; x=y\r\n\r\nHTTP/1.1 500 no\r\n\r\n"
    )
    talk.request(b"is input")
    assert seen[0].hijacked and (seen[0].status, seen[0].request_body) == (200, b"is input")


def test_what_is_answered_before_all_was_sent():
    """A build that is refused in mid-upload: the rest still belongs to the same request."""
    talk, seen = conversation()
    talk.request(b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    talk.answer(b"HTTP/1.1 400 no\r\nContent-Length: 2\r\n\r\nno")
    talk.request(b"1\r\nd\r\n0\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert [(one.path, one.status, one.request_body) for one in seen] == [("/build", 400, b"abcd"), ("/y", 200, b"")]


def test_an_interim_answer_is_not_the_answer():
    talk, seen = conversation()
    talk.request(b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    talk.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the connection closes")
    assert seen[0].status == 200 and seen[0].ended is None
    talk.answer(b"")
    assert seen[0].ended is not None


def test_ssh_cannot_be_listened_to():
    with pytest.raises(NotPossibleHere, match="ssh"):
        Wiretap(FakeEngine("ssh://somebody@somewhere"))


@pytest.fixture
def echo_server(tmp_path):
    """A Unix socket server: answers one request with an upgrade, then sends back what comes, doubled."""
    path = str(tmp_path / "engine.sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    ended = threading.Event()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                one, _ = server.accept()
                one.recv(4096)
                one.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
                while data := one.recv(4096):
                    one.sendall(data * 2)
                one.sendall(b"end")
                one.close()
                ended.set()

    threading.Thread(target=serve, daemon=True).start()
    yield path, ended
    server.close()


def test_streams_pass_both_ways_and_the_end_of_input_is_passed_on(echo_server):
    path, _ = echo_server
    with Wiretap(FakeEngine(f"unix://{path}")) as tap, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(tap.path)
        client.sendall(ATTACH)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(b"ab")
        assert client.recv(4096) == b"abab"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096) == b"end"
        assert [(one.path, one.status, one.hijacked) for one in tap.exchanges] == [("/containers/x/attach", 101, True)]


def test_a_client_that_goes_away_in_mid_stream_ends_the_engines_side_too(echo_server):
    path, ended = echo_server
    with Wiretap(FakeEngine(f"unix://{path}")) as tap:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(tap.path)
            client.sendall(ATTACH)
            client.recv(4096)
        assert ended.wait(10), "the engine was not told"
        patience = time.monotonic() + 10
        while tap.exchanges[0].ended is None and time.monotonic() < patience:
            time.sleep(0.01)
        assert tap.exchanges[0].ended is not None


def test_an_engine_that_is_gone_closes_the_clients_connection(tmp_path):
    with Wiretap(FakeEngine(f"unix://{tmp_path}/nobody.sock")) as tap, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(tap.path)
        assert client.recv(10) == b""
