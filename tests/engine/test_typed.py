"""What anybody types after ``eval "$(labkit engine up)"``: docker, buildx and Compose, on labkit's own engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import pytest

from labkit import images
from labkit.engine import clients, embedded
from labkit.errors import LabError
from labkit.paths import COURSE

DOCKERFILE = f"""\
FROM {images.BUSYBOX} AS made
ARG ROUND
RUN --mount=type=cache,target=/kept echo $ROUND >> /kept/rounds && cp /kept/rounds /rounds
FROM {images.BUSYBOX}
COPY --from=made /rounds /rounds
CMD ["cat", "/rounds"]
"""

COMPOSE = f"""\
services:
  web:
    image: {images.BUSYBOX}
    command: ["httpd", "-f", "-p", "80"]
    init: true
    healthcheck: {{test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://localhost/etc/hostname"], interval: 1s}}
    working_dir: /
"""

#: Typed in a shell that has an engine and a docker of its own, which are not the ones meant.
TYPED = """
set -e
export DOCKER_CONTEXT= DOCKER_HOST=unix:///elsewhere.sock
eval "$("$PYTHON" -m labkit engine up)"
cd "$FOLDER"
docker version --format '{{.Client.Version}} on {{.Server.Version}}'
docker buildx version
docker compose version
for round in 1 2; do docker buildx build -q --build-arg ROUND=$round -t typed:$round . >&2; done
docker run --rm typed:2 | tr '\\n' ' '; echo
docker build -q -t typed:3 . >&2
docker compose up -d --wait >&2
docker compose ps --format '{{.Service}} {{.Health}}'
docker compose down -t 1 >&2
docker compose ps -q
"""


@pytest.fixture
def typed(tmp_path):
    """A shell with a runtime folder of its own: no engine that somebody else has up is touched."""
    embedded.build(images=images.archives)
    with tempfile.TemporaryDirectory() as runtime:  # a short path: it holds sockets
        environment = {
            **os.environ, "XDG_RUNTIME_DIR": runtime, "FOLDER": str(tmp_path), "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join([str(COURSE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip

        def run(*words: str) -> subprocess.CompletedProcess:
            return subprocess.run(words, env=environment, cwd=COURSE, capture_output=True, text=True, timeout=900)

        yield run
        run(sys.executable, "-m", "labkit", "engine", "down")


def test_buildx_and_compose_as_typed(typed, tmp_path):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    done = typed("bash", "-c", TYPED)
    assert done.returncode == 0, done.stderr
    versions, buildx, compose, rounds, *services = done.stdout.splitlines()
    client, server = versions.split(" on ")
    assert int(client.split(".")[0]) >= 28 and int(server.split(".")[0]) >= 26
    assert "buildx" in buildx and compose.startswith("Docker Compose version")
    assert rounds.split() == ["1", "2"], "the second build finds what the first left in the cache mount"
    assert services == ["web healthy"], "and nothing after down"


def test_the_same_as_json(typed):
    done = typed(sys.executable, "-m", "labkit", "engine", "up", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "PATH"}
    assert told["PATH"].split(os.pathsep)[0] == str(clients.ensure().parent)


def test_an_older_engine_understands_it(engine):
    """The client speaks the engine's version of the API, down to 20.10's 1.41."""
    for words in (["version"], ["ps"], ["buildx", "ls"], ["compose", "ls"]):
        done = subprocess.run(
            [engine.cli_path(), *words], env=engine.process_environment(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr


def test_the_machines_own_where_nothing_can_be_had(owned, monkeypatch):
    def refuse(*_):
        raise LabError("No package mirror can be reached.")

    monkeypatch.setattr(clients, "ensure", refuse)
    monkeypatch.setenv("PATH", "/nonexistent")
    done = subprocess.run(
        [owned.cli_path(), "version"], env=owned.process_environment(), capture_output=True, text=True
    )
    assert "Server:" in done.stdout, done.stderr
