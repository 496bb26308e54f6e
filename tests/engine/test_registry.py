"""The lab's image by digest, from a registry: Debian's own, on loopback, for the length of a test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

from labkit import images
from labkit.errors import BadInput, NotPossibleHere


@pytest.fixture
def registry(tmp_path, engine):
    """``127.0.0.1:PORT`` of a registry that the engine reaches there."""
    program = shutil.which("docker-registry")
    if program is None or not engine.endpoint.startswith("unix:///var/run"):
        pytest.skip("needs the package docker-registry, and an engine on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([program, "serve", tmp_path / "config.yml"], stdout=log, stderr=log)
    patience = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=2).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < patience, (tmp_path / "log").read_text()
            time.sleep(0.05)
    yield address
    process.terminate()
    process.wait()


@pytest.fixture
def pushed(registry, lab_context):
    """The lab's busybox in that registry; gives ``NAME@sha256:…``. Its local names there are removed."""
    on = lab_context
    name = f"{registry}/{on.session.name('busybox')}"
    on.docker.images.get(on.image()).tag(name, "1")
    rows = list(on.docker.api.push(name, tag="1", stream=True, decode=True))
    digest = next(row["aux"]["Digest"] for row in rows if "aux" in row)
    yield f"{name}@{digest}"


@pytest.fixture
def other_name(lab_context, monkeypatch):
    """A lab image of another name, so that the one that other sessions run stays where it is."""
    on = lab_context
    name = f"labkit-test/{on.session.name('busybox')}:1"
    monkeypatch.setitem(images.RECIPES, name, images.RECIPES[images.BUSYBOX])
    monkeypatch.setattr(images, "variable", lambda _: "LABKIT_BUSYBOX")
    return name


def test_pulled_by_digest_it_is_the_same_image(lab_context, pushed, other_name, monkeypatch):
    on = lab_context
    repository = pushed.partition("@")[0]
    own = on.docker.images.get(on.image()).id
    on.docker.images.remove(f"{repository}:1")
    monkeypatch.setenv("LABKIT_BUSYBOX", pushed)
    assert on.image(other_name) == other_name
    found = on.docker.images.get(other_name)
    assert found.id == own, "same content, same id, whichever way it came"
    assert pushed in found.attrs["RepoDigests"]
    assert on.docker.containers.run(other_name, ["echo", "pulled"], remove=True) == b"pulled\n"
    on.docker.images.remove(other_name)


def test_what_is_there_already_is_not_pulled_again(lab_context, pushed, other_name, monkeypatch):
    on = lab_context
    monkeypatch.setenv("LABKIT_BUSYBOX", pushed)
    on.image(other_name)
    monkeypatch.setattr(images, "_pull", lambda *_: pytest.fail("pulled again"))
    assert on.image(other_name) == other_name
    on.docker.images.remove(other_name)


@pytest.mark.parametrize("ending", ["", ":1", ":latest", "@sha256:12", "@md5:" + "0" * 64])
def test_a_tag_without_a_digest_is_refused(lab_context, other_name, monkeypatch, ending):
    monkeypatch.setenv("LABKIT_BUSYBOX", f"127.0.0.1:9/busybox{ending}")
    with pytest.raises(BadInput, match="has no digest") as caught:
        lab_context.image(other_name)
    assert "A tag can be moved" in caught.value.cause and "NAME@sha256:" in caught.value.next_step


def test_a_digest_that_the_registry_does_not_have(lab_context, pushed, other_name, monkeypatch):
    monkeypatch.setenv("LABKIT_BUSYBOX", pushed.partition("@")[0] + "@sha256:" + "0" * 64)
    with pytest.raises(NotPossibleHere, match="The engine refused") as caught:
        lab_context.image(other_name)
    assert "no registry had it" in caught.value.cause


def test_a_registry_that_is_not_there(lab_context, other_name, monkeypatch):
    monkeypatch.setenv("LABKIT_BUSYBOX", "127.0.0.1:9/busybox@sha256:" + "0" * 64)
    with pytest.raises(NotPossibleHere, match="connection refused") as caught:
        lab_context.image(other_name)
    assert "registry can't be reached" in caught.value.cause
