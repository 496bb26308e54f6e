"""Keys: private to the user, good for each other and for nobody else."""

import ssl
import threading

import pytest

from labkit.engine.embedded import keys, machine


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return keys.make(folder), folder


def test_only_the_user_can_read_them(made):
    _, folder = made
    for place in (folder, folder / "server"):
        assert place.stat().st_mode & 0o777 == 0o700
        files = [path for path in place.iterdir() if path.is_file()]
        assert len(files) == 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_names_are_those_docker_clients_look_for(made):
    client, _ = made
    names = sorted(path.name for path in client.folder.iterdir() if path.is_file())
    assert names == ["ca.pem", "cert.pem", "key.pem"]


def test_the_authority_can_sign_no_more(made):
    _, folder = made
    texts = [path.read_text() for path in folder.rglob("*.pem")]
    assert sum("PRIVATE KEY" in text for text in texts) == 2  # the client's and the server's own


def handshake(server_side, client_side, name="127.0.0.1"):
    """Both sides' outcome of one TLS handshake: None, or the error."""
    import socket

    ours, theirs = socket.socketpair()
    outcome = {}

    def serve():
        try:
            with server_side.wrap_socket(ours, server_side=True) as stream:
                stream.send(stream.recv(1))
                stream.unwrap()  # in good order: today's OpenSSL takes a sudden end for a fault
        except (ssl.SSLError, OSError) as reason:
            outcome["server"] = reason
        finally:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_side.wrap_socket(theirs, server_hostname=name) as stream:
            stream.send(b"x")
            stream.recv(1)
            stream.unwrap()
    except (ssl.SSLError, OSError) as reason:
        outcome["client"] = reason
    finally:
        theirs.close()
        thread.join(30)
    return outcome


def server(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_client_and_server_accept_each_other(made):
    client, folder = made
    assert handshake(server(folder / "server"), machine.client_context(client)) == {}


def test_no_certificate_no_access(made):
    client, folder = made
    bare = ssl.create_default_context(cafile=str(client.ca))
    assert "server" in handshake(server(folder / "server"), bare)


def test_another_builds_certificate_is_refused(made, tmp_path):
    _, folder = made
    other = keys.make(tmp_path)
    assert "client" in handshake(server(folder / "server"), machine.client_context(other))
