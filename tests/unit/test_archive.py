"""Image archives: the same bytes on every machine, and digests that can be recomputed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest

from labkit.errors import LabError, NotPossibleHere
from labkit.images import BUSYBOX, archive, recipes


def make_folder(path, mask: int):
    """A small tree, made under a umask; other order and times than the next one's."""
    before = os.umask(mask)
    try:
        (path / "usr/bin").mkdir(parents=True)
        (path / "tmp").mkdir()
        (path / "tmp").chmod(0o1777)
        for name in ("b", "a") if mask else ("a", "b"):
            (path / "usr/bin" / name).write_text(name)
        (path / "usr/bin/a").chmod(0o777 & ~mask)
        (path / "bin").symlink_to("usr/bin")
    finally:
        os.umask(before)
    os.utime(path / "usr/bin/a", (mask, mask))
    return path


def test_a_layer_has_the_same_bytes_whoever_makes_it(tmp_path):
    one = archive.layer_from_folder(make_folder(tmp_path / "one", 0o022))
    two = archive.layer_from_folder(make_folder(tmp_path / "two", 0o077))
    three = archive.layer_from_folder(make_folder(tmp_path / "three", 0o000))
    assert one == two == three


def test_a_layer_keeps_modes_links_and_owners_plain(tmp_path):
    layer = archive.layer_from_folder(make_folder(tmp_path / "one", 0o077))
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        rows = {info.name: info for info in tar}
    assert list(rows) == ["bin", "tmp", "usr", "usr/bin", "usr/bin/a", "usr/bin/b"]
    assert [oct(rows[name].mode) for name in ("tmp", "usr", "usr/bin/a", "usr/bin/b")] == [
        "0o1777", "0o755", "0o755", "0o644",
    ]  # fmt: skip
    assert rows["bin"].issym() and rows["bin"].linkname == "usr/bin"
    assert {(i.uid, i.gid, i.uname, i.gname, i.mtime) for i in rows.values()} == {(0, 0, "", "", archive.EPOCH)}


def test_a_layer_from_files_adds_the_folders_above_them():
    layer = archive.layer_from_files({"app/code/b.py": "b", "app/a.py": b"a"}, mode=0o600)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert [(i.name, i.isdir()) for i in tar] == [
            ("app", True), ("app/code", True), ("app/a.py", False), ("app/code/b.py", False),
        ]  # fmt: skip
        assert tar.getmember("app/a.py").mode == 0o600
        assert tar.extractfile("app/code/b.py").read() == b"b"
    assert layer == archive.layer_from_files({"app/a.py": "a", "app/code/b.py": b"b"}, mode=0o600)


@pytest.fixture
def built(tmp_path):
    """An archive of two layers, its layers and its config."""
    layers = [archive.layer_from_files({"base": "base"}), archive.layer_from_files({"app": "app"})]
    config = archive.image_config(
        [archive.sha256(layer) for layer in layers],
        architecture="armhf",
        command=["sh"],
        labels={"labkit.base": "1"},
        created_by=["first", "second"],
    )
    target = tmp_path / "image.tar"
    archive.write_archive(target, "labkit/test:1", layers, config)
    return target, layers, config


def members(target) -> dict[str, bytes]:
    with tarfile.open(target) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}


def test_the_archive_is_the_same_twice(built, tmp_path):
    target, layers, config = built
    again = tmp_path / "again.tar"
    archive.write_archive(again, "labkit/test:1", layers, config)
    assert again.read_bytes() == target.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.tar", "image.tar"], "no half file stays"


def test_every_blob_is_named_by_its_digest(built):
    blobs = {name: data for name, data in members(built[0]).items() if name.startswith("blobs/")}
    assert len(blobs) == 4  # two layers, config, manifest
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def test_both_manifests_lead_to_config_and_layers_in_order(built):
    target, layers, config = built
    files = members(target)
    [old] = json.loads(files["manifest.json"])
    assert files[old["Config"]] == config
    assert [files[path] for path in old["Layers"]] == layers
    assert old["RepoTags"] == ["labkit/test:1"]

    [entry] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/labkit/test:1"
    for row, data in [(manifest["config"], config), *zip(manifest["layers"], layers, strict=True)]:
        assert (row["digest"], row["size"]) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_the_config_names_the_diff_ids_and_the_goarch(built):
    _, layers, config = built
    found = json.loads(config)
    assert found["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    assert (found["architecture"], found["os"], found["created"]) == ("arm", "linux", archive.CREATED)
    assert found["config"]["Cmd"] == ["sh"]
    assert found["config"]["Env"] == ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert [row["created_by"] for row in found["history"]] == ["first", "second"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Path, "write_bytes", full)
    with pytest.raises(OSError):
        archive.write_archive(tmp_path / "image.tar", "x:1", [b"layer"], b"{}")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_that_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recipes, "_skeleton", full)
    with pytest.raises(LabError, match="filled up while making labkit/busybox:1") as caught:
        recipes.make(BUSYBOX, "amd64")
    assert str(tmp_path) in caught.value.what and "LABKIT_CACHE" in caught.value.next_step
    assert list((tmp_path / "images").iterdir()) == []


def test_nothing_to_make_it_from(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPossibleHere, match="can't be made here: no apt-get") as caught:
        recipes.make(BUSYBOX, "amd64")
    assert "LABKIT_BUSYBOX" in caught.value.next_step
    assert list((tmp_path / "cache/images").iterdir()) == []
