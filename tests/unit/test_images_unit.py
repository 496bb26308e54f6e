"""Names and programs that labs 01, 03 and 04 compute themselves; no engine needed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile

import pytest

from labkit.errors import BadInput, LabError
from labkit.images import archive
from labkit.labs.devops_and_delivery import shop
from labkit.labs.images_and_registries import anatomy, classic, layering, names, platforms, samples


def test_chain_id_of_the_base_is_its_diff_id_and_each_next_one_covers_the_stack():
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    chain = anatomy.chain_ids([first, second])
    assert chain[0] == first
    assert chain[1] == "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert anatomy.chain_ids([second, first])[1] != chain[1]


def _saved(layers: list[bytes], *, packed: bool) -> io.BytesIO:
    """An OCI layout as Engine 25 and later save it; containerd's store keeps layers compressed."""
    config = json.dumps({"rootfs": {"diff_ids": [archive.sha256(layer) for layer in layers]}}).encode()
    blobs = [gzip.compress(layer, mtime=0) if packed else layer for layer in layers]
    places = ["blobs/sha256/" + archive.sha256(blob)[7:] for blob in blobs]
    manifest = json.dumps([{"Config": "config.json", "Layers": places}])
    return io.BytesIO(
        archive.layer_from_files({"manifest.json": manifest, "config.json": config, **dict(zip(places, blobs))})
    )


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_is_read_from_either_image_store(packed):
    layers = [archive.layer_from_files({"a": "1"}), archive.layer_from_files({"b": "2"})]
    small, config, found = anatomy.read_archive(_saved(layers, packed=packed))
    assert [layer.diff_id for layer in found] == [archive.sha256(layer) for layer in layers]
    assert [layer.digest != layer.diff_id for layer in found] == [packed, packed]
    assert archive.sha256(config) in small
    assert found[0].files == ["/a"]


def test_what_is_no_image_archive_is_refused_in_a_sentence():
    with pytest.raises(LabError, match="not an image archive"):
        anatomy.read_archive(io.BytesIO(archive.layer_from_files({"other": "x"})))


@pytest.mark.parametrize("architecture, machine", [("amd64", 62), ("arm64", 183)])
def test_the_programs_are_elf_files_of_their_processor(architecture, machine):
    program = platforms.program(architecture)
    assert program[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", program, 18)[0] == machine
    size = struct.unpack_from("<Q", program, 64 + 32)[0]
    assert size == len(program)
    assert program.endswith(f"hello from {architecture}\n".encode())


def test_an_order_needs_each_step_once_and_the_list_before_the_installation():
    assert layering.dockerfile(["set", "list", "install", "code"]).count("\n") == 6
    with pytest.raises(BadInput, match="before the list"):
        layering.dockerfile(["install", "list", "code", "set"])
    with pytest.raises(BadInput, match="not an order"):
        layering.dockerfile(["list", "install"])


def test_a_context_has_the_same_bytes_whatever_the_order_of_its_files():
    one = classic.context_archive({"a": b"1", "b": b"2"}, mtime=0).getvalue()
    assert one == classic.context_archive({"b": b"2", "a": b"1"}, mtime=0).getvalue()
    assert one != classic.context_archive({"a": b"1", "b": b"2"}, mtime=5).getvalue()


def test_a_dockerignore_may_have_comments_and_names_with_spaces():
    ignore = b"# not the app\n\n  my notes.md\n*.bin\n"
    given = {".dockerignore": ignore, "Dockerfile": b"", "app": b"", "my notes.md": b"", "a.bin": b"", "not": b""}
    with tarfile.open(fileobj=classic.context_archive(given, mtime=0)) as tar:
        assert tar.getnames() == [".dockerignore", "Dockerfile", "app", "not"]


def test_a_sample_can_be_changed_and_an_unknown_one_is_refused():
    assert samples.source("hello", app__sh="x")["app.sh"] == "x"
    assert "app.sh" not in samples.source("hello", app__sh=None)
    with pytest.raises(BadInput, match="tea"):
        samples.source("nothing")


def test_each_architecture_holds_all_modules_and_knows_where_the_others_are():
    for architecture, layout in shop.ARCHITECTURES.items():
        assert {piece for pieces in layout.values() for piece in pieces} == set(shop.ARCHITECTURES["monolith"]["shop"])
        for container, pieces in layout.items():
            assert not set(shop.elsewhere(architecture, container)) & set(pieces)


@pytest.mark.parametrize("written, full", [
    # As distribution/reference has them in normalize_test.go.
    ("redis", "docker.io/library/redis:latest"), ("redis:7", "docker.io/library/redis:7"),
    ("dmcgowan/myapp", "docker.io/dmcgowan/myapp:latest"), ("docker.io/redis", "docker.io/library/redis:latest"),
    ("index.docker.io/redis", "docker.io/library/redis:latest"), ("library/redis", "docker.io/library/redis:latest"),
    ("xn--7o8h.com/myimage", "xn--7o8h.com/myimage:latest"), ("localhost/a", "localhost/a:latest"),
    ("127.0.0.1:8000/my/image:3", "127.0.0.1:8000/my/image:3"), ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ("Host/a", "Host/a:latest"), (f"a/b@sha256:{'0' * 64}", f"docker.io/a/b@sha256:{'0' * 64}"),
    (f"a:1@sha256:{'0' * 64}", f"docker.io/library/a:1@sha256:{'0' * 64}"),
])  # fmt: skip
def test_a_name_is_read_as_docker_reads_it(written, full):
    assert str(names.split(written)) == written
    assert str(names.split(written).full()) == full == str(names.split(full).full())
