"""The labelled client: what it puts into the requests that docker-py sends.

docker-py's own transport is replaced by an adapter that keeps each request, so the whole way
from the high-level call to the bytes on the wire is docker-py's.
"""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from docker.types import Mount
from requests import Response
from requests.adapters import BaseAdapter

from labkit.engine.client import LabelledClient, PlainAPIClient

LABELS = {"labkit.lab": "08", "labkit.session": "abcd1234"}


class Wire(BaseAdapter):
    """Answers every request with the same words and remembers what was asked."""

    def __init__(self):
        super().__init__()
        self.sent: list[tuple[str, dict, dict]] = []

    def send(self, request, **_):
        url = urlsplit(request.url)
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        try:
            content = json.loads(body or "{}")
        except (ValueError, UnicodeDecodeError):
            content = {}
        self.sent.append((url.path, parse_qs(url.query), content))
        answer = Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url
        answer.raw = io.BytesIO(json.dumps({"Id": "i" * 64, "Name": "n", "Warnings": None, "stream": ""}).encode())
        return answer

    def close(self):
        pass


@pytest.fixture
def client():
    """A labelled client whose requests end in a :class:`Wire`; ``lives`` counts the signs of life."""
    lives = []
    made = LabelledClient(
        labels=LABELS, before_create=lambda: lives.append(1), base_url="tcp://127.0.0.1:1", version="1.41"
    )
    made.wire, made.lives = Wire(), lives
    made.api.mount("http://", made.wire)
    yield made
    made.close()


def labels_of(client, ending: str) -> dict:
    [content] = [content for path, _, content in client.wire.sent if path.endswith(ending)]
    return content["Labels"]


def test_is_docker_pys_own_client(client):
    import docker

    assert isinstance(client, docker.DockerClient)
    assert client.lab_labels == LABELS
    client.lab_labels["labkit.lab"] = "changed"
    assert client.lab_labels == LABELS


@pytest.mark.parametrize(
    "given, expected",
    [(None, {}), ({"a": "1"}, {"a": "1"}), (["a", "b"], {"a": "", "b": ""}), (dict(LABELS, a="1"), {"a": "1"})],
)
def test_containers(client, given, expected):
    client.containers.create("busybox", "true", labels=given)
    assert labels_of(client, "/containers/create") == {**expected, **LABELS}
    assert client.lives == [1]


def test_a_learner_cannot_give_another_sessions_label_by_mistake(client):
    client.containers.create("busybox", "true", labels={"labkit.session": "other"})
    assert labels_of(client, "/containers/create") == LABELS


def test_networks_and_volumes(client):
    client.api.create_network("net", labels={"a": "1"})
    client.volumes.create("vol", labels={"a": "1"})
    assert labels_of(client, "/networks/create") == {"a": "1", **LABELS}
    assert labels_of(client, "/volumes/create") == {"a": "1", **LABELS}
    assert client.lives == [1, 1]


def test_builds(client):
    client.api.build(fileobj=io.BytesIO(b"FROM scratch"), labels={"a": "1"})
    [query] = [query for path, query, _ in client.wire.sent if path.endswith("/build")]
    assert json.loads(query["labels"][0]) == {"a": "1", **LABELS, "labkit.build": "abcd1234"}


@pytest.mark.parametrize("changes", [None, "CMD sh", ["CMD sh"]])
def test_commits_keep_the_given_changes(client, changes):
    client.api.commit("container", "repository", changes=changes)
    [query] = [query for path, query, _ in client.wire.sent if path.endswith("/commit")]
    lines = query["changes"][0].split("\n") if len(query["changes"]) == 1 else query["changes"]
    assert lines == ([] if changes is None else ["CMD sh"]) + [
        'LABEL labkit.lab="08"', 'LABEL labkit.session="abcd1234"',
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["data", "file", "stream", "url", "image"])
def test_imports(client, kind, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"tar")
    source = {
        "data": b"tar", "file": str(tmp_path / "a.tar"), "stream": io.BytesIO(b"tar"), "url": "http://x/a.tar",
        "image": "busybox",
    }[kind]  # fmt: skip
    getattr(client.api, f"import_image_from_{kind}")(source, repository="a", changes=["CMD sh"])
    [query] = [query for path, query, _ in client.wire.sent if path.endswith("/images/create")]
    assert query["changes"][0].split("\n")[0] == "CMD sh"
    assert 'LABEL labkit.session="abcd1234"' in query["changes"][0]


def test_the_api_version_is_negotiated_not_pinned(monkeypatch):
    seen = {}
    monkeypatch.setattr("docker.APIClient.__init__", lambda self, *_, **options: seen.update(options))
    LabelledClient(labels=LABELS, base_url="http://engine")
    assert seen["version"] == "auto"


def test_volumes_that_a_container_names_are_made_with_labels(client):
    mounts = [Mount("/a", "more"), Mount("/b", "/etc", type="bind"), Mount("/c", None)]
    client.containers.create("image", volumes={"data": {"bind": "/x"}, "/etc": {"bind": "/y"}}, mounts=mounts)
    made = [content for path, _, content in client.wire.sent if path.endswith("/volumes/create")]
    assert [row["Name"] for row in made] == ["data", "more"]
    assert all(row["Labels"] == LABELS for row in made)


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.mark.parametrize("tty, options, wanted", [
    (False, {}, b"one two"), (False, {"demux": True}, (b"one ", b"two")), (False, {"stream": True}, [b"one ", b"two"]),
    (True, {"tty": True}, b"one two"),
])  # fmt: skip
def test_output_that_comes_with_the_answers_head_is_read(tmp_path, tty, options, wanted):
    """An engine that is quick, or a client that is slow, has both in one packet."""
    path = str(tmp_path / "engine")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            with server.accept()[0] as client:
                client.recv(1 << 16)
                head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                client.sendall(head + (b"one two" if tty else frame(1, b"one ") + frame(2, b"two")))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        client = PlainAPIClient(base_url=f"unix://{path}", version="1.41")
        found = client.exec_start("x", **options)
        assert (list(found) if "stream" in options else found) == wanted
        thread.join(5)
        client.close()
