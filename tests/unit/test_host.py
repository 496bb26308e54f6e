"""Where a host engine is looked for, in what order, and what is said when none is there."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from types import SimpleNamespace

import pytest

from labkit import engine as engines
from labkit.engine import clients, host
from labkit.engine.embedded import keys
from labkit.engine.host import Candidate, HostEngine, candidates
from labkit.errors import BadInput, EngineRefused, LabError, NoEngine

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "LABKIT_ENGINE")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own, no Docker settings, and no socket anywhere."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(host, "_is_socket", lambda path: path in monkeypatch.sockets)
    monkeypatch.sockets = set()
    return tmp_path


def add_context(folder, name: str, text: str):
    """A context as the CLI keeps it: its folder is named by the SHA-256 of its name."""
    place = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    (place / "meta.json").write_text(text)


def meta(name: str, address: str, skip: bool = False) -> str:
    endpoint = {"Host": address, "SkipTLSVerify": skip}
    return json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}})


@pytest.fixture
def contexts(home):
    """``colima`` and ``lab`` exist."""
    for name in ("colima", "lab"):
        add_context(home / ".docker", name, meta(name, f"unix:///{name}.sock"))
    return home


def endpoints(url=None) -> list[tuple[str, str, bool]]:
    return [(row.endpoint, row.found_by, row.explicit) for row in candidates(url)]


def test_an_address_that_the_user_gave_comes_first_and_alone(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:1")
    monkeypatch.sockets.add("/var/run/docker.sock")
    assert endpoints("tcp://here:2") == [("tcp://here:2", "LABKIT_ENGINE", True)]


def test_docker_host_comes_before_the_context(contexts, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://here:1")
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    assert endpoints() == [("tcp://here:1", "DOCKER_HOST", True)]


def test_a_context_from_the_environment_is_explicit(contexts, monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    monkeypatch.sockets.add("/var/run/docker.sock")
    assert endpoints() == [("unix:///lab.sock", "the CLI's context 'lab'", True)]


def test_the_clis_current_context_comes_before_the_usual_sockets(contexts, monkeypatch):
    (contexts / ".docker/config.json").write_text('{"currentContext": "colima"}')
    monkeypatch.sockets.add("/var/run/docker.sock")
    assert endpoints() == [
        ("unix:///colima.sock", "the CLI's context 'colima'", False),
        ("unix:///var/run/docker.sock", "the usual socket", False),
    ]


def test_docker_config_says_where_the_clis_settings_are(monkeypatch, tmp_path):
    add_context(tmp_path, "lab", meta("lab", "unix:///lab.sock"))
    (tmp_path / "config.json").write_text('{"currentContext": "lab"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert endpoints()[0][0] == "unix:///lab.sock"


@pytest.mark.parametrize("words", ['{"currentContext": "default"}', "{}", "not json", '{"currentContext": ""}'])
def test_no_context_of_ones_own(home, words):
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(words)
    assert endpoints() == []


BROKEN = {
    "missing": (None, "does not exist"),
    "empty": ("", "is damaged"),
    "half written": ('{"Name": "lost", "Endp', "is damaged"),
    "without an endpoint": ('{"Name": "lost"}', "is damaged"),
    "a list": ("[]", "is damaged"),
    "an endpoint of another kind": ('{"Endpoints": {"kubernetes": {}}}', "is damaged"),
}


@pytest.mark.parametrize("text, words", BROKEN.values(), ids=BROKEN)
def test_contexts_a_broken_one_that_the_user_named_is_told(home, monkeypatch, text, words):
    if text is not None:
        add_context(home / ".docker", "lost", text)
    monkeypatch.setenv("DOCKER_CONTEXT", "lost")
    monkeypatch.sockets.add("/var/run/docker.sock")
    with pytest.raises(NoEngine, match=f"context 'lost' {words}") as caught:
        host.find_host()
    assert "named by DOCKER_CONTEXT, so no other was tried" in caught.value.cause
    assert "docker context ls" in caught.value.next_step
    assert text is None or "meta.json" in caught.value.what


@pytest.mark.parametrize("text, words", BROKEN.values(), ids=BROKEN)
def test_contexts_a_broken_one_of_the_configuration_is_passed_over(home, monkeypatch, text, words):
    (home / ".docker").mkdir()
    if text is not None:
        add_context(home / ".docker", "lost", text)
    (home / ".docker/config.json").write_text('{"currentContext": "lost"}')
    monkeypatch.sockets.add("/var/run/docker.sock")
    monkeypatch.setattr(HostEngine, "probe", lambda self: None)
    found, tried = host.find_host()
    assert found.endpoint == "unix:///var/run/docker.sock"
    assert found.found_by == "the usual socket (no answer from the CLI's context 'lost')"
    assert words in tried[0] and f"named by currentContext in {home}/.docker/config.json" in tried[0]


DEAD = {
    "of an uninstalled Docker Desktop": ("unix:///home/none/.docker/desktop/docker.sock", "Nothing answers there."),
    "a name that does not resolve": ("tcp://engine.invalid:2375", "has no address here"),
    "ssh without paramiko": ("ssh://learner@engine.invalid", "pip install paramiko"),
    "a pipe of Windows": ("npipe:////./pipe/docker_engine", "pipe of Windows"),
    "nonsense": ("nonsense", "No Docker client can use this address."),
}


@pytest.mark.parametrize("address, words", DEAD.values(), ids=DEAD)
@pytest.mark.parametrize("named_by", ["DOCKER_HOST", "DOCKER_CONTEXT", "config.json"])
def test_contexts_a_dead_place_says_who_named_it(home, monkeypatch, named_by, address, words):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    import docker.api.client

    monkeypatch.delattr(docker.api.client, "SSHHTTPAdapter", raising=False)
    add_context(home / ".docker", "dead", meta("dead", address))
    if named_by == "config.json":
        (home / ".docker/config.json").write_text('{"currentContext": "dead"}')
        found, [told] = host.find_host()
        assert found is None
    else:
        monkeypatch.setenv(named_by, address if named_by == "DOCKER_HOST" else "dead")
        with pytest.raises(LabError) as caught:
            host.find_host()
        told = str(caught.value)
        assert "so no other was tried" in told
    assert words in told and named_by in told and "labkit then finds another engine" in told


def test_contexts_of_tls_without_verification(home, monkeypatch):
    made = keys.make(home / ".docker/contexts/tls" / hashlib.sha256(b"lab").hexdigest() / "docker")
    add_context(home / ".docker", "lab", meta("lab", "tcp://here:2376", skip=True))
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    engine = HostEngine(*candidates())
    assert engine.environment() == {
        "DOCKER_HOST": "tcp://here:2376", "DOCKER_TLS": "1", "DOCKER_CERT_PATH": str(made.folder),
    }  # fmt: skip
    tls = engine.client_options()["tls"]
    assert tls.verify is False and tls.cert == (str(made.cert), str(made.key))


def test_the_usual_sockets_in_order(home, monkeypatch):
    every = [path for path, _ in host._usual_sockets()]
    monkeypatch.sockets.update(every)
    assert [endpoint.removeprefix("unix://") for endpoint, _, _ in endpoints()] == every
    assert every[0] == "/var/run/docker.sock"
    assert every.index(f"{home}/runtime/docker.sock") < every.index(f"{home}/.colima/default/docker.sock")
    assert every.index(f"{home}/.colima/default/docker.sock") < every.index("/run/podman/podman.sock")


def test_only_sockets_count(tmp_path, monkeypatch):
    monkeypatch.undo()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert host._is_socket(str(tmp_path / "socket"))
    assert not host._is_socket(str(tmp_path / "file"))
    assert not host._is_socket(str(tmp_path / "none"))


def test_a_context_that_knows_the_engines_authority_only(tmp_path):
    authority = keys.make(tmp_path).ca
    engine = HostEngine(Candidate("tcp://here:2376", "test", tls={"ca": str(authority), "cert": None, "key": None}))
    assert engine.environment()["DOCKER_CERT_PATH"] == str(tmp_path)
    tls = engine.client_options()["tls"]
    assert tls.ca_cert == str(authority) and tls.cert is None
    assert HostEngine(Candidate("tcp://here:2376", "test", tls=dict.fromkeys(("ca", "cert", "key")))).environment()


def test_tls_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", "tcp://here:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    [found] = candidates()
    assert found.tls == {name: f"{tmp_path}/{name}.pem" for name in ("ca", "cert", "key")}
    engine = HostEngine(found)
    assert engine.environment() == {
        "DOCKER_HOST": "tcp://here:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(EngineRefused, match="certificates .* can't be used") as caught:
        engine.client_options()
    assert "DOCKER_CERT_PATH" in caught.value.next_step


def test_without_tls_a_process_gets_this_engine_and_no_other(monkeypatch):
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.setenv(variable, "other")
    found = HostEngine(Candidate("unix:///x.sock", "test")).process_environment()
    told = {key: value for key, value in found.items() if key.startswith("DOCKER")}
    assert told == {"DOCKER_HOST": "unix:///x.sock", "DOCKER_CONFIG": str(clients.settings_folder())}


@pytest.fixture
def no_embedded(monkeypatch):
    """A machine that can't start an engine of its own."""

    def owned(**_):
        raise LabError("QEMU is missing.")

    monkeypatch.setattr(engines, "owned", owned)


@pytest.mark.parametrize("choice", ["dcoker", "hosts", "/var/run/docker.sock", "localhost:2375"])
def test_a_choice_that_is_none(monkeypatch, choice):
    monkeypatch.setenv("LABKIT_ENGINE", choice)
    with pytest.raises(NoEngine, match="neither an engine nor an address") as caught:
        engines.find()
    assert repr(choice) in caught.value.what
    assert "unix:///var/run/docker.sock" in caught.value.next_step


@pytest.mark.parametrize("choice", ["nonsense://x", "ftp://here:1", "tcp://"])
def test_an_address_of_a_kind_that_no_engine_has(choice):
    with pytest.raises(BadInput, match="No Docker client can use this address") as caught:
        engines.find(choice)
    assert caught.value.engine == choice
    assert "unix:///var/run/docker.sock" in caught.value.next_step


def test_host_alone_is_wanted_and_none_is_there(monkeypatch):
    with pytest.raises(NoEngine, match="No host engine answers") as caught:
        engines.find("host")
    assert "labkit doctor" in caught.value.next_step


def test_nothing_anywhere(no_embedded, monkeypatch):
    monkeypatch.sockets.add("/var/run/docker.sock")
    monkeypatch.setattr(HostEngine, "probe", _refuse)
    with pytest.raises(NoEngine, match="could not start its own") as caught:
        engines.find()
    assert "Refused here." in caught.value.cause and "QEMU is missing." in caught.value.cause


def _refuse(self):
    raise EngineRefused("Refused here.", engine=self.endpoint)


def test_a_socket_that_refuses_is_passed_over_when_another_answers(monkeypatch):
    monkeypatch.sockets.update(("/var/run/docker.sock", "/run/podman/podman.sock"))
    monkeypatch.setattr(HostEngine, "probe", lambda self: _refuse(self) if "var" in self.endpoint else None)
    found, tried = host.find_host()
    assert found.endpoint == "unix:///run/podman/podman.sock"
    assert tried == ["Refused here. (engine: unix:///var/run/docker.sock)"]


def test_an_engine_that_was_named_is_not_replaced_by_another(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    monkeypatch.sockets.add("/run/podman/podman.sock")
    monkeypatch.setattr(HostEngine, "probe", _refuse)
    with pytest.raises(EngineRefused, match="Refused here"):
        engines.find()


def test_an_engine_of_its_own_comes_last(monkeypatch):
    monkeypatch.setattr(engines, "owned", lambda **_: SimpleNamespace(kind="embedded"))
    assert engines.find().kind == "embedded"
    assert engines.find("embedded").kind == "embedded"
