"""Every fault that an engine, docker-py or the system is known to raise, and the sentence for it."""

from __future__ import annotations

import errno
import http.client
import socket
from types import SimpleNamespace

import docker.errors
import pytest
import requests.exceptions
import urllib3.exceptions

from labkit.course.exercises import LabContent
from labkit.course.topic import Topic, experiment
from labkit.engine import faults
from labkit.engine.faults import explain, explained
from labkit.errors import BadInput, EngineGone, EngineRefused, LabError, NoEngine, NotPossibleHere


def said(status: int, words: str) -> docker.errors.APIError:
    """What docker-py raises when an engine answers with an error."""
    answer = SimpleNamespace(status_code=status, url="http+docker://localhost/x", reason="")
    return docker.errors.APIError(words, response=answer, explanation=words)


def wrapped(inner: Exception) -> requests.exceptions.ConnectionError:
    """What requests makes of a fault on a socket, as docker-py passes it on."""
    return requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", inner))


ANSWERS = [
    (500, "write /var/lib/docker/tmp/x: no space left on device", LabError, "disk", "labkit clean --all"),
    (500, "write x: disk quota exceeded", LabError, "disk", "labkit clean --all"),
    (404, "No such image: labkit/busybox:1", NotPossibleHere, "not on this engine", "labkit doctor --fix"),
    (404, "pull access denied for x, repository does not exist", NotPossibleHere, "no registry had it", "labkit doctor"),
    (404, "manifest for x:2 not found: manifest unknown", NotPossibleHere, "no registry had it", "labkit doctor"),
    (500, 'Get "https://x/v2/": dial tcp 127.0.0.1:9: connect: connection refused', NotPossibleHere,
     "registry can't be reached", "network"),
    (500, 'Get "https://x/v2/": dial tcp: lookup x: no such host', NotPossibleHere, "can't be reached", "network"),
    (500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", NotPossibleHere, "port", "ports={"),
    (500, "listen tcp 0.0.0.0:80: bind: address already in use", NotPossibleHere, "port", "ports={"),
    (400, "client version 1.50 is too new. Maximum supported API version is 1.41", NotPossibleHere, "API version", "pip"),
    (400, "client version 1.24 is too old. Minimum supported API version is 1.44", NotPossibleHere, "API version", "pip"),
    (400, "exec /bin/sh: exec format error: unknown", NotPossibleHere, "architecture", "architecture"),
    (404, "no matching manifest for linux/amd64 in the manifest list entries", NotPossibleHere, "architecture", "arch"),
    (400, "Minimum memory limit allowed is 6MB", BadInput, "below its minimum", "8m"),
    (409, 'Conflict. The container name "/web" is already in use by container "1"', BadInput, "exists already", "lab.name"),
    (409, "Container 0123abcd is not running", LabError, "engine is restarted", "start()"),
    (500, "fork/exec /usr/bin/runc: cannot allocate memory", NotPossibleHere, "too little memory", "smaller"),
]  # fmt: skip


@pytest.mark.parametrize("status, words, kind, cause, next_step", ANSWERS)
def test_what_an_engine_answers(status, words, kind, cause, next_step):
    fault = explain(said(status, words), "unix:///x")
    assert type(fault) is kind
    assert fault.what == f"The engine refused: {words}."
    assert cause in fault.cause and next_step in fault.next_step
    assert fault.engine == "unix:///x"


def test_the_name_sentence_names_a_method_that_exists():
    """The sentence sends the learner to a method of the lab: it has to be there."""
    import re

    from labkit.lab import Lab

    text = explain(said(409, 'The container name "/web" is already in use by "1"')).next_step
    [method] = re.findall(r"lab\.(\w+)\(", text)
    assert callable(getattr(Lab, method, None)), method


def test_any_other_answer_is_quoted():
    fault = explain(said(418, "I'm a teapot"))
    assert type(fault) is LabError and fault.what == "The engine answered 418: I'm a teapot."


FAULTS = [
    (PermissionError(errno.EACCES, "Permission denied"), EngineRefused, "may not open the engine's socket"),
    (wrapped(PermissionError(13, "Permission denied")), EngineRefused, "may not open the engine's socket"),
    (docker.errors.DockerException("Error while fetching server API version: ('Connection aborted.', "
     "PermissionError(13, 'Permission denied'))"), EngineRefused, "may not open the engine's socket"),
    (wrapped(FileNotFoundError(2, "No such file or directory")), NoEngine, "Nothing answers there"),
    (wrapped(ConnectionRefusedError(111, "Connection refused")), NoEngine, "Nothing answers there"),
    (ConnectionRefusedError(111, "Connection refused"), NoEngine, "Nothing answers there"),
    (docker.errors.DockerException("Error while fetching server API version: [Errno 111] Connection refused"),
     NoEngine, "Nothing answers there"),
    (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), EngineRefused, "certificates"),
    (requests.exceptions.SSLError("tlsv13 alert certificate required"), EngineRefused, "certificates"),
    (wrapped(http.client.RemoteDisconnected("Remote end closed connection")), EngineGone, "stopped answering"),
    (wrapped(ConnectionResetError(104, "Connection reset by peer")), EngineGone, "stopped answering"),
    (requests.exceptions.ChunkedEncodingError("Connection broken"), EngineGone, "stopped answering"),
    (http.client.IncompleteRead(b"x", 10), EngineGone, "stopped answering"),
    (urllib3.exceptions.ProtocolError("Connection broken", http.client.IncompleteRead(b"")), EngineGone, "stopped answ"),
    (docker.errors.StreamParseError(ValueError("half a line")), EngineGone, "stopped answering"),
    (urllib3.exceptions.ReadTimeoutError(None, "", "Read timed out."), EngineGone, "did not answer in time"),
    (http.client.RemoteDisconnected("closed"), EngineGone, "stopped answering"),
    (BrokenPipeError(32, "Broken pipe"), EngineGone, "stopped answering"),
    (requests.exceptions.ReadTimeout("read timed out"), EngineGone, "did not answer in time"),
    (requests.exceptions.ConnectTimeout("timed out"), EngineGone, "did not answer in time"),
    (docker.errors.DockerException(wrapped(ConnectionResetError(104, "reset"))), EngineGone, "stopped answering"),
    (docker.errors.DockerException(requests.exceptions.ReadTimeout("x")), EngineGone, "did not answer in time"),
    (TimeoutError("timed out"), EngineGone, "did not answer in time"),
]  # fmt: skip


@pytest.mark.parametrize("fault, kind, words", FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_what_docker_py_requests_and_the_system_raise(fault, kind, words):
    found = explain(fault, "unix:///x")
    assert type(found) is kind, found
    assert words in found.what
    assert found.next_step and found.engine == "unix:///x"


def test_a_refused_socket_gets_the_notes_sentence():
    fault = explain(PermissionError(13, "Permission denied"))
    assert fault.next_step == (
        'Add yourself to the docker group: sudo usermod -aG docker "$USER", then log in again. '
        "Know what that means: whoever is in that group is root on the engine's machine."
    )


def test_a_fault_hidden_in_the_chain_is_found():
    try:
        try:
            raise PermissionError(13, "Keine Berechtigung")  # the system's words may be another language's
        except PermissionError as inner:
            raise docker.errors.DockerException("no luck") from inner
    except docker.errors.DockerException as fault:
        assert isinstance(explain(fault), EngineRefused)


def test_a_chain_that_bites_its_tail_ends():
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__context__ = two, one
    assert explain(one).what == "ValueError: one"


def test_our_own_errors_stay_as_they_are():
    fault = BadInput("No.")
    assert explain(fault) is fault
    with pytest.raises(BadInput) as caught, explained("unix:///x"):
        raise fault
    assert caught.value is fault


def test_an_engine_that_labkit_started_speaks_for_itself(monkeypatch):
    monkeypatch.setattr(faults, "_own", {})
    refused = requests.exceptions.ConnectionError("HTTPSConnectionPool(host='127.0.0.1', port=4711): refused")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    faults.tell_of(4711, lambda: EngineGone("Gone."))
    assert explain(refused).what == "Gone."
    assert explain(ConnectionResetError(104, "reset"), "tcp://127.0.0.1:4711").what == "Gone."
    # Not another engine, and not while it says nothing.
    assert explain(ConnectionResetError(104, "reset"), "tcp://127.0.0.1:4712").what == "The engine stopped answering."
    assert explain(ConnectionResetError(104, "reset"), "tcp://10.0.0.1:4711").what == "The engine stopped answering."
    faults.tell_of(4711, lambda: None)
    assert explain(refused).what == "Nothing answers there."


def test_explained_turns_faults_into_sentences_and_keeps_the_cause():
    inner = said(500, "no space left on device")
    with pytest.raises(LabError) as caught, explained("unix:///x"):
        raise inner
    assert caught.value.__cause__ is inner and caught.value.engine == "unix:///x"


def test_an_experiment_and_a_check_explain_what_the_engine_refuses():
    def refused(on):
        raise said(500, "driver failed")

    on = SimpleNamespace(session=SimpleNamespace(engine=SimpleNamespace(endpoint="unix:///x")))
    content = LabContent("99-test", tasks={"e": {"title": "Title", "hints": []}})
    for call, given in ((experiment(refused), Topic(on)), (content.exercise("e")(refused), on)):
        with pytest.raises(LabError, match="driver failed") as caught:
            call(given)
        assert caught.value.engine == "unix:///x"


@pytest.mark.parametrize(
    "fault",
    [PermissionError(errno.EACCES, "Permission denied", "/cache"), FileNotFoundError(errno.ENOENT, "No such file", "x"),
     OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error")],
)  # fmt: skip
def test_explained_takes_no_fault_of_a_file_for_the_engines(fault):
    with pytest.raises(OSError) as caught, explained("unix:///x"):
        raise fault
    assert caught.value is fault


def test_explained_takes_a_sockets_own_faults_for_the_engines(tmp_path):
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(NoEngine), explained("unix:///x"):
        probe.connect(str(tmp_path / "none"))
    with pytest.raises(LabError), explained("unix:///x"):
        probe.send(b"closed meanwhile")


def test_explained_lets_interrupts_and_programming_errors_through():
    with pytest.raises(KeyboardInterrupt), explained():
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), explained():
        1 / 0  # noqa: B018
