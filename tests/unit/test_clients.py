"""Which docker command line is used, with which settings."""

from __future__ import annotations

import json
import time

import pytest

from labkit.engine import clients
from labkit.engine.embedded import programs
from labkit.engine.host import Candidate, HostEngine
from labkit.errors import LabError
from labkit.saying import listening


@pytest.fixture
def engine():
    return HostEngine(Candidate("unix:///nowhere.sock", "test"))


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """No packages to be had; returns how often that was tried."""
    tries: list[str] = []

    def ensure(kit):
        tries.append(kit.name)
        raise LabError("No package mirror can be reached.")

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "ensure", ensure)
    monkeypatch.setattr(clients, "_failed", None)
    return tries


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Put a ``docker`` that says a text of itself first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(says: str):
        (folder / "docker").write_text(f"#!/bin/sh\necho '{says}'\n")
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return str(folder / "docker")

    return put


def test_labkits_own_before_the_one_installed_here(engine, tmp_path, monkeypatch, on_path):
    on_path("Docker version 20.10.24")
    monkeypatch.setattr(programs, "existing", lambda kit: tmp_path / "kit")
    assert engine.cli_path() == str(tmp_path / "kit/bin/docker")


def test_the_one_installed_here_where_nothing_can_be_fetched(engine, unreachable, on_path):
    here = on_path("Docker version 27.5.1, build 9f9e405")
    assert engine.cli_path() == here == engine.cli_path()
    assert unreachable == ["docker"], "a network that is down is not tried at each call"


def test_podmans_docker_is_not_dockers(engine, unreachable, on_path):
    on_path("podman version 4.3.1")
    assert engine.cli_path() is None


def test_fetching_is_tried_again_after_a_while(engine, unreachable, monkeypatch):
    engine.cli_path()
    now = time.monotonic() + 601
    monkeypatch.setattr(clients.time, "monotonic", lambda: now)
    engine.cli_path()
    assert len(unreachable) == 2


def test_a_process_gets_none_of_this_users_settings(engine, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.json").write_text('{"auths": {"registry": {"auth": "c2VjcmV0"}}, "proxies": {}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    for name in ("BUILDX_BUILDER", "COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT", "DOCKER_DEFAULT_PLATFORM"):
        monkeypatch.setenv(name, "other")
    found = engine.process_environment()
    told = {key for key in found if key.startswith(("DOCKER", "BUILDX", "COMPOSE"))}
    assert told == {"DOCKER_HOST", "DOCKER_CONFIG"}
    settings = json.loads((clients.settings_folder() / "config.json").read_text())
    assert found["DOCKER_CONFIG"] == str(clients.settings_folder()) != str(own)
    assert list(settings) == ["cliPluginsExtraDirs"]
    assert settings["cliPluginsExtraDirs"][0] == str(programs.folder(clients.KIT) / "cli-plugins")


def test_what_a_learner_sets_there_stays(monkeypatch):
    file = clients.settings_folder() / "config.json"
    file.write_text(json.dumps({"auths": {"localhost:5000": {}}, "cliPluginsExtraDirs": ["/of/an/older/kit"]}))
    clients.settings_folder()
    assert json.loads(file.read_text())["auths"] == {"localhost:5000": {}}
    assert "/of/an/older/kit" not in file.read_text()
    file.write_text('{"auths": ')  # half a file
    clients.settings_folder()
    assert json.loads(file.read_text())["cliPluginsExtraDirs"]


def test_a_shell_keeps_its_own_where_nothing_can_be_fetched(unreachable):
    said: list[str] = []
    with listening(said.append):
        assert clients.typing() == {}
    assert "No package mirror can be reached." in said[0]


def test_a_shells_path_has_it_first_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "existing", lambda kit: tmp_path)
    monkeypatch.setenv("PATH", f"/usr/bin:{tmp_path}/bin")
    found = clients.typing()
    assert found == {"PATH": f"{tmp_path}/bin:/usr/bin", "DOCKER_CONFIG": str(clients.settings_folder())}


def test_the_earlier_kit_and_the_current_one_leave_each_other_alone(tmp_path, monkeypatch):
    """What is made anew clears away what its own name had before."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    for kit in (clients.KIT, clients.EARLIER):
        programs.folder(kit).mkdir(parents=True)
    for kit in (clients.KIT, clients.EARLIER):
        programs._clear_old(kit, programs.folder(kit))
    assert programs.folder(clients.KIT).is_dir() and programs.folder(clients.EARLIER).is_dir()
