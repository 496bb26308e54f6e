"""Kind 4, registries say no: the words of other engines than the one that answers here, as they were heard."""

from __future__ import annotations

from types import SimpleNamespace

import docker.errors
import pytest

from labkit.engine import faults
from labkit.engine.client import _unless_refused
from labkit.errors import BadInput, LabError

#: Engine, its words, and what is said of them.
HEARD = [
    ("28.5 containerd", "unknown: failed to resolve reference \"r/busy:latest\": unexpected status from HEAD request to "
     "http://r/v2/busy/manifests/latest: 429 Too Many Requests", "allowance is used up"),
    ("28.5 overlay2", "toomanyrequests: You have reached your unauthenticated pull rate limit.", "allowance is used up"),
    ("28.5 containerd", 'failed to resolve reference "r/x:latest": pull access denied, repository does not exist or may '
     "require authorization: authorization failed: no basic auth credentials", "who asks"),
    ("28.5 containerd", 'unknown: failed to resolve reference "r/x:latest": unexpected status from HEAD request to '
     "http://r/v2/x/manifests/latest: 403 Forbidden", "who asks"),
    ("28.5 overlay2", "denied", "who asks"),
    ("28.5 containerd", 'failed to resolve reference "r/x:latest": r/x:latest: not found', "no registry had it"),
    ("28.5 containerd", "no matching manifest for linux/amd64 in the manifest list entries: no match for platform in "
     "manifest: not found", "another processor"),
    ("28.5 containerd", 'failed to resolve reference "r/x:latest": failed to do request: Head '
     '"https://r/v2/x/manifests/latest": http: server gave HTTP response to HTTPS client', "plain HTTP"),
    ("28.5 overlay2", 'Get "https://r/v2/": tls: first record does not look like a TLS handshake', "plain HTTP"),
    ("28.5 overlay2", 'Get "https://r/v2/": tls: failed to verify certificate: x509: certificate signed by unknown '
     "authority", "who signed"),
    ("28.5 containerd", 'failed to resolve reference "docker.io/library/ubuntu:latest": failed to do request: Head '
     '"https://registry-1.docker.io/v2/library/ubuntu/manifests/latest": dial tcp: lookup registry-1.docker.io on '
     "127.0.0.1:53: read udp 127.0.0.1:57590->127.0.0.1:53: read: connection refused", "can't be reached"),
    ("Podman 5", "lookup registry-1.docker.io on 127.0.0.1:53: read udp 127.0.0.1:44043->127.0.0.1:53: read: connection "
     "refused", "can't be reached"),
    ("Podman 5", "connection refused", "can't be reached"),
    ("Podman 5", "x509: certificate signed by unknown authority", "who signed"),
    ("Podman 4.3", "initializing source docker://r/x:latest: pinging container registry r: Get \"https://r/v2/\": http: "
     "server gave HTTP response to HTTPS client", "plain HTTP"),
    # Not heard here; as the engine's and the registries' sources have them.
    ("Hub", "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access "
     "to the resource is denied", "no registry had it"),
    ("a proxy", 'Get "https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection '
     "refused", "through a proxy"),
    ("a proxy", 'Get "https://registry-1.docker.io/v2/": Proxy Authentication Required', "through a proxy"),
    ("a clock", 'Get "https://r/v2/": x509: certificate has expired or is not yet valid: current time 2031-01-01T00:00:00Z '
     "is after 2030-01-01T00:00:00Z", "at the time that the engine's machine has"),
    ("a slow network", 'Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection '
     "(Client.Timeout exceeded while awaiting headers)", "can't be reached"),
    ("a slow network", 'Get "https://registry-1.docker.io/v2/": context deadline exceeded', "can't be reached"),
]  # fmt: skip


def said(words: str, url: str = "http+docker://localhost/v1.41/images/create") -> docker.errors.APIError:
    answer = SimpleNamespace(status_code=500, url=url, reason="Internal Server Error")
    return docker.errors.APIError(words, response=answer, explanation=words)


@pytest.mark.parametrize("engine, words, cause", HEARD, ids=[row[0] for row in HEARD])
def test_registries_say_no_in_this_engines_words(engine, words, cause):
    told = faults.explain(said(words))
    assert cause in told.cause and told.next_step
    assert faults.registry_refusal(f"Error response from daemon: {words}").cause == told.cause


def test_registries_say_no_where_there_is_no_network(monkeypatch):
    """labkit's own engine has none, on purpose: then neither the name nor the network is to be looked at."""
    words = 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: Temporary failure'
    monkeypatch.setattr(faults, "_own", {4711: lambda: None})
    for told in (
        faults.explain(said(words), "tcp://127.0.0.1:4711"),
        faults.explain(said(words, "https://127.0.0.1:4711/v1.51/images/create"), "unix:///another.sock"),
        faults.registry_refusal(words, "tcp://127.0.0.1:4711"),
    ):
        assert "on purpose" in told.cause and "labkit/busybox:1" in told.next_step
    assert "on purpose" not in faults.explain(said(words), "tcp://127.0.0.1:4712").cause


@pytest.mark.parametrize(
    "words",
    ["OCI runtime create failed: exec: permission denied", "context deadline exceeded", "authorization denied by plugin x"],
)  # fmt: skip
def test_registries_are_not_blamed_for_anything_else(words):
    assert type(faults.explain(said(words))) is LabError
    assert faults.registry_refusal(words) is None


def test_registries_say_no_in_the_middle_of_a_pull():
    rows = _unless_refused(iter([{"status": "Pulling from x"}, {"errorDetail": {}, "error": "toomanyrequests: limit"}]))
    assert next(rows)["status"]
    with pytest.raises(docker.errors.APIError, match="toomanyrequests"):
        next(rows)


def test_registries_say_no_to_a_build():
    fault = docker.errors.BuildError("toomanyrequests: You have reached your pull rate limit.", iter(()))
    assert "allowance" in faults.explain(fault).cause
    other = faults.explain(docker.errors.BuildError("The command returned a non-zero code: 1", iter(())))
    assert other.what == "The engine could not build the image: The command returned a non-zero code: 1."
    assert isinstance(faults.explain(said("invalid reference format")), BadInput)
