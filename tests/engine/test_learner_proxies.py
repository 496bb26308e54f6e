"""Kind 6, proxies and certificates in the environment: an engine on this machine is reached past them.

The engine is the one that answers here, behind a loopback port of the test's own, with TLS and without.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing
from pathlib import Path

import pytest

from labkit.engine import clients
from labkit.engine.client import PlainAPIClient
from labkit.engine.embedded import keys, machine
from labkit.engine.host import Candidate, HostEngine, find_host
from labkit.errors import LabError
from labkit.saying import listening

NOWHERE = "http://127.0.0.1:9"

VARIABLES = {
    "HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE, "HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE,
    "ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": NOWHERE, "NO_PROXY": "intranet.invalid",
    "REQUESTS_CA_BUNDLE": "{ca}", "CURL_CA_BUNDLE": "/nowhere.pem", "SSL_CERT_FILE": "/nowhere.pem",
    "SSL_CERT_DIR": "/nowhere", "PYTHONHTTPSVERIFY": "0", "OPENSSL_CONF": "/nowhere.cnf", "NETRC": "{netrc}",
}  # fmt: skip


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(scope="module", params=["plain", "TLS"])
def loopback(request, engine, tmp_path_factory):
    """The engine that answers here, at ``tcp://127.0.0.1``."""
    if not engine.endpoint.startswith("unix://"):
        pytest.skip("needs an engine behind a socket")
    made = keys.make(tmp_path_factory.mktemp("keys") / "keys")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server / "server.pem", made.server / "server-key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            theirs = socket.socket(socket.AF_UNIX)
            theirs.connect(engine.endpoint.removeprefix("unix://"))
            if request.param == "TLS":
                try:
                    ours = context.wrap_socket(ours, server_side=True)
                except OSError:
                    continue
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    tls = {"ca": str(made.ca), "cert": str(made.cert), "key": str(made.key)} if request.param == "TLS" else {}
    yield HostEngine(Candidate(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "test", tls=tls))
    listener.close()


@pytest.mark.parametrize("name", [*VARIABLES, "all of them"])
def test_proxies_past_a_variable_that_is_not_meant(loopback, tmp_path, monkeypatch, name):
    (tmp_path / "netrc").write_text("default login learner password secret\n")
    other = keys.make(tmp_path / "company")
    for each, value in VARIABLES.items():
        if name in (each, "all of them"):
            monkeypatch.setenv(each, value.format(ca=other.ca, netrc=tmp_path / "netrc"))
    loopback.probe()
    assert clients._asked(loopback.cli_path(), loopback) == ""
    with closing(PlainAPIClient(**loopback.client_options())) as api:
        assert api.ping()
        assert "Authorization" not in api._get(api._url("/_ping")).request.headers


def test_proxies_a_log_of_tls_keys_that_cannot_be_written(loopback, monkeypatch):
    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/keys")
    if loopback._tls:
        with pytest.raises(LabError, match="SSLKEYLOGFILE names can't be written: /nowhere/keys"):
            loopback.probe()
        found = keys.Keys(Path(loopback.environment()["DOCKER_CERT_PATH"]))
        assert machine.ping(int(loopback.endpoint.rsplit(":", 1)[1]), machine.client_context(found))
    else:
        loopback.probe()


def test_proxies_one_before_an_engine_elsewhere_is_named(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(LabError) as caught:
        find_host()
    assert "HTTP_PROXY" in caught.value.cause and "DOCKER_HOST" in caught.value.cause
    assert "NO_PROXY" in caught.value.next_step


def test_proxies_what_other_clients_in_this_shell_need(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    said: list[str] = []
    with listening(said.append):
        assert clients.past_proxies() == {} and said == []
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    monkeypatch.setenv("no_proxy", "intranet.invalid")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/company.pem")
    with listening(said.append):
        told = clients.past_proxies()
    assert told == dict.fromkeys(("NO_PROXY", "no_proxy"), "intranet.invalid,127.0.0.1")
    assert "REQUESTS_CA_BUNDLE" in said[0]


@pytest.mark.parametrize("name", ["OPENSSL_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_proxies_what_openssl_reads_when_python_starts(loopback, script, tmp_path, name):
    """OpenSSL looks at these once a process."""
    broken = tmp_path / "broken"
    broken.write_text("openssl_conf = nothing\n[nothing\n")
    code = f"""
        from labkit.engine.host import Candidate, HostEngine
        HostEngine(Candidate({loopback.endpoint!r}, "test", tls={loopback._tls!r})).probe()
        print("answers")
    """
    assert script(code, **{name: str(broken)}).line() == "answers"
