"""Kind 1, client settings: whatever this user's own Docker client is told, the lab asks its engine in its own way."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
from pathlib import Path

import docker.errors
import pytest

from labkit import images
from labkit.engine import clients, dockercli
from labkit.engine.embedded import programs
from labkit.engine.host import Candidate, HostEngine
from labkit.errors import LabError, NotPossibleHere
from labkit.labs.start_here import preflight

PROXY = "http://proxy.invalid:3128"

SETTINGS = {
    "a credential helper that is missing": {"credsStore": "nowhere", "auths": {}},
    "a credential helper a registry": {"credHelpers": {"docker.io": "nowhere", "index.docker.io": "nowhere"}},
    "proxies for every container": {"proxies": {"default": {"httpProxy": PROXY, "httpsProxy": PROXY}}},
    "proxies that are none": {"proxies": None},
    "credentials that can't be read": {"auths": {"registry.invalid": {"auth": "!"}}},
    "credentials of another kind": {"auths": {"registry.invalid": "secret"}},
    "headers of its own": {"HttpHeaders": {"Host": "elsewhere", "X-Meta": "company"}},
    "keys to detach with that there are not": {"detachKeys": "ctrl-everything"},
    "a context of its own": {"currentContext": "desktop-linux"},
    "a builder of its own": {"aliases": {"builder": "elsewhere"}, "features": {"buildkit": "false"}},
    "a list": [],
}  # fmt: skip

#: What the reference pages of docker, buildx, BuildKit and Compose list, with values that would be seen.
VARIABLES = {
    "DOCKER_CONTENT_TRUST": "1", "DOCKER_API_VERSION": "1.99", "DOCKER_CONTEXT": "elsewhere",
    "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nowhere", "DOCKER_DEFAULT_PLATFORM": "windows/amd64",
    "DOCKER_CUSTOM_HEADERS": "Host=elsewhere", "DOCKER_BUILDKIT": "maybe", "DOCKER_AUTH_CONFIG": "{",
    "BUILDX_BUILDER": "elsewhere", "BUILDX_CONFIG": "/proc/nowhere", "BUILDKIT_HOST": "tcp://elsewhere:1",
    "BUILDKIT_PROGRESS": "rawjson", "COMPOSE_FILE": "/nowhere", "COMPOSE_PROJECT_NAME": "UPPER CASE",
    "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "/nowhere", "SOURCE_DATE_EPOCH": "never",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
}  # fmt: skip


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Write this user's own ``config.json``."""

    def write(content: object) -> Path:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/config.json").write_text(json.dumps(content))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        return tmp_path / "docker"

    return write


def ordinary(on) -> None:
    """What every lab does: make, build, run, remove; and the same typed."""
    with on.container(on.image(), ["env"], network_mode="none") as container:
        container.wait()
        assert "proxy" not in container.logs().decode().lower()
        assert container.id in on.docker.api._get(on.docker.api._url("/containers/json?all=1")).text
    content = f"FROM {images.BUSYBOX}\nRUN env | grep -ci proxy > /found; true\n"
    made, _ = on.docker.images.build(
        fileobj=io.BytesIO(content.encode()), tag=on.session.name("built"), network_mode="none"
    )
    assert on.ran(made.id, ["cat", "/found"]).text.strip() == "0"
    typed = dockercli.run_cli(on.session, f"docker run --rm --network none {images.BUSYBOX} env")
    assert "proxy" not in typed.lower()
    with pytest.raises(docker.errors.APIError) as caught:  # of the registry; not StoreError, of a helper
        on.docker.images.pull("127.0.0.1:9/none")
    assert "127.0.0.1:9" in str(caught.value)


@pytest.mark.parametrize("content", SETTINGS.values(), ids=SETTINGS)
def test_client_settings_in_config_json(settings, engine, content):
    settings(content)
    from ..conftest import open_context

    with open_context(engine) as on:  # a client of its own: it reads what it reads when it is made
        ordinary(on)


def test_client_settings_in_the_environment(engine, monkeypatch):
    from ..conftest import open_context

    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clients, "_proven", set())
    with open_context(engine) as on:
        ordinary(on)
        checks = {check.name: check for check in preflight.preflight(on).checks}
        assert checks["the docker command line is here"].ok, checks


def test_client_settings_a_login_is_used_for_its_registry_only(settings, module_context):
    settings({"auths": {"registry.invalid": {"auth": "dXNlcjpzZWNyZXQ="}}})
    logins = module_context.docker.api._auth_configs
    assert logins.resolve_authconfig("registry.invalid")["password"] == "secret"
    assert logins.resolve_authconfig("other.invalid") is None
    assert logins.get_all_credentials() == {}, "a build sends none of them"


def wrapper(folder: Path, text: str) -> str:
    """A program called ``docker``."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


#: Other programs of that name: what they do instead, and why they can't be used.
IMPOSTORS = {
    "Podman": ('[ "$1" = --version ] && echo podman version 4.3.1 || touch "$0.ran"', ""),
    "the stub of WSL": ('echo "The command docker could not be found in this WSL 2 distro."; exit 1', ""),
    "a wrapper that forgets the engine": (
        'exec env -u DOCKER_HOST DOCKER_HOST=unix:///nowhere.sock {real} "$@"', "does not talk to this engine",
    ),
    "one that answers for another engine": (
        '[ "$1" = --version ] && echo Docker version 20.10.24 || echo 0123456789abcdef', "it talks to another one",
    ),
    "one whose API is too new": (
        '[ "$1" = --version ] && echo Docker version 29.0.0 && exit; echo "Error response from daemon: client version 1.52 '
        'is too new. Maximum supported API version is 1.41" >&2; exit 1',
        "client version 1.52 is too new",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, why", IMPOSTORS.values(), ids=IMPOSTORS)
def test_client_settings_a_docker_that_is_another_program(engine, tmp_path, monkeypatch, text, why):
    real = engine.cli_path()
    path = wrapper(tmp_path / "bin", text.replace("{real}", real or "docker"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def refuse(kit=clients.KIT):
        raise LabError("No package mirror can be reached.")

    monkeypatch.setattr(clients, "ensure", refuse)
    assert engine.cli_path() is None
    with pytest.raises(NotPossibleHere) as caught:
        clients.proven(engine)
    assert "No package mirror can be reached." in caught.value.cause and why in caught.value.cause
    assert not Path(f"{path}.ran").exists(), "it was never asked for anything but its version"


def test_client_settings_labkits_own_is_too_new_for_the_engine(engine, tmp_path, monkeypatch):
    new = wrapper(tmp_path / "new/bin", IMPOSTORS["one whose API is too new"][0])
    old = wrapper(tmp_path / "old/bin", f'exec {engine.cli_path()} "$@"')
    kits = {clients.KIT: tmp_path / "new", clients.EARLIER: tmp_path / "old"}
    monkeypatch.setattr(programs, "existing", kits.get)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert engine.cli_path() == old != new
    done = subprocess.run([old, "ps"], env=engine.process_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_client_settings_an_engine_that_is_down_proves_nothing(tmp_path, monkeypatch):
    """A lab that has stopped its daemon types on: the words of the command are what it wants to see."""
    path = wrapper(tmp_path / "kit/bin", "exit 1")
    monkeypatch.setattr(programs, "existing", lambda kit: tmp_path / "kit")
    assert HostEngine(Candidate(f"unix://{tmp_path}/none.sock", "test")).cli_path() == path
