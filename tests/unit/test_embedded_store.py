"""Folders that are whole or not there: manifests, damage, interrupted and simultaneous work."""

import json
import os
import threading

import pytest

from labkit.engine.embedded import store
from labkit.errors import LabError


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "kernel").write_bytes(b"k" * 1000)
    (folder / "disk").write_bytes(b"d" * 5000)
    store.seal(folder, ("kernel", "disk"), images=["a.tar"])
    return folder


def test_sealed_folder_is_intact_and_keeps_its_facts(sealed):
    assert store.intact(sealed)
    assert store.intact(sealed, thorough=True)
    assert store.manifest(sealed)["images"] == ["a.tar"]


def test_no_manifest_is_an_interrupted_build(sealed):
    (sealed / "manifest.json").unlink()
    assert not store.intact(sealed)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', "{}"])
def test_damaged_manifest(sealed, text):
    (sealed / "manifest.json").write_text(text)
    assert store.manifest(sealed) is None
    assert not store.intact(sealed)


def test_missing_file(sealed):
    (sealed / "disk").unlink()
    assert not store.intact(sealed)


def test_truncated_file(sealed):
    with open(sealed / "disk", "r+b") as stream:
        stream.truncate(4999)
    assert not store.intact(sealed)


def test_changed_content_of_same_size_shows_by_its_time(sealed):
    (sealed / "disk").write_bytes(b"x" * 5000)
    os.utime(sealed / "disk", (1, 1))
    assert not store.intact(sealed)


def test_silent_damage_shows_when_looked_at_thoroughly(sealed):
    known = (sealed / "disk").stat()
    (sealed / "disk").write_bytes(b"x" * 5000)
    os.utime(sealed / "disk", ns=(known.st_atime_ns, known.st_mtime_ns))
    assert store.intact(sealed)
    assert not store.intact(sealed, thorough=True)


def test_copied_files_are_read_once_and_then_known(sealed):
    os.utime(sealed / "disk", (1, 1))
    assert store.intact(sealed)
    assert json.loads((sealed / "manifest.json").read_text())["files"]["disk"]["time"] == 1


def test_unsealed_folder_is_made_anew(sealed):
    store.unseal(sealed)
    assert not store.intact(sealed)


def test_made_aside_takes_its_place_only_when_all_went_well(tmp_path):
    target = tmp_path / "build"
    with store.made_aside(target) as aside:
        (aside / "one").touch()
        assert not target.exists()
    assert (target / "one").exists()
    with pytest.raises(ZeroDivisionError), store.made_aside(target) as aside:
        (aside / "two").touch()
        raise ZeroDivisionError
    assert [path.name for path in target.iterdir()] == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_made_aside_clears_what_a_killed_build_left(tmp_path):
    left = tmp_path / "build.new4242"
    left.mkdir()
    (left / "half").touch()
    with store.made_aside(tmp_path / "build"):
        assert not left.exists()


@pytest.mark.parametrize("left", ["other.old4711", "a.old4711", "other.new4711"])
def test_made_aside_clears_what_any_killed_build_left_beside_it(tmp_path, left):
    (tmp_path / left).mkdir()
    (tmp_path / "b-12.1").mkdir()  # another's name
    with store.made_aside(tmp_path / "a"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b-12.1"]


def test_second_of_two_waits_and_is_told_so(tmp_path):
    order, told = [], threading.Event()

    def second():
        with store.locked(tmp_path, told.set):
            order.append("second")

    with store.locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_key_changes_with_every_part():
    assert store.key("a", 1) == store.key("a", 1)
    assert len({store.key("a", 1), store.key("a", 2), store.key("b", 1), store.key("a")}) == 4


def test_full_disk_is_a_sentence(tmp_path):
    with pytest.raises(LabError, match="GB free") as caught:
        store.require_space(tmp_path, 10**18)
    assert "LABKIT_CACHE" in str(caught.value)


def test_recent_is_what_another_checkout_may_want(tmp_path):
    (tmp_path / "disk").touch()
    assert not store.recent(tmp_path)
    store.seal(tmp_path, ("disk",))
    assert store.recent(tmp_path)
    os.utime(tmp_path / store.MANIFEST, (0, 0))
    assert not store.recent(tmp_path)
