"""An engine in a file: what is refused, with which sentence; half of it, damage, a full disk, two at once."""

import hashlib
import io
import json
import os
import tarfile
import threading
import zlib
from types import SimpleNamespace

import pytest

from labkit.engine.embedded import archive, builder, carry, host, keys, packages, snapshot, store
from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.saying import listening

from .conftest import FACTS


def test_what_was_written_is_unpacked_the_same_and_empty_parts_are_holes(make, tmp_path):
    found = archive.Archive(make(files={"snapshot/ram": b"x" + bytes(1 << 24)}))
    found.unpack({"snapshot/ram": tmp_path / "out" / "ram"})
    assert (tmp_path / "out" / "ram").read_bytes() == b"x" + bytes(1 << 24)
    assert (tmp_path / "out" / "ram").stat().st_blocks * 512 < 1 << 20
    assert found.facts["suite"] == "forky" and found.format == archive.FORMAT


def test_an_import_is_a_build_that_is_found_with_keys_of_its_own(cache, make):
    place = carry.bring(str(make()))
    assert builder.current() == place and store.intact(place, thorough=True)
    known = store.manifest(place)
    assert known["imported"]["source"].endswith("engine.labkit") and known["images"] == ["box.tar"]
    assert builder.archives(place) == [cache / "images" / "box.tar"]
    assert snapshot.imported_shape(place).memory == 1
    other = keys.make(cache / "other")
    assert keys.Keys(place / "keys").key.read_bytes() != other.key.read_bytes()
    assert not list(place.parent.glob("*.new*"))


def test_the_same_file_again_is_here_already_and_is_the_one_used(cache, make):
    told = []
    first, second = make(), make("other.labkit", kernel="8")
    place = carry.bring(str(first))
    newer = carry.bring(str(second))
    os.utime(place / store.MANIFEST, (1, 1))
    assert builder.current() == newer
    with listening(told.append):
        assert carry.bring(str(first)) == place
    assert "here already" in told[-1]
    assert builder.current() == place


def test_an_import_of_another_suite_is_used_where_nobody_asked_for_one(cache, make, monkeypatch):
    place = carry.bring(str(make(suite="trixie")))
    assert builder.current() == place
    monkeypatch.setenv("LABKIT_SUITE", "forky")
    assert builder.current() is None


def test_a_build_does_not_clear_imports_away(cache, make):
    place = carry.bring(str(make(suite="bookworm")))
    os.utime(place / store.MANIFEST, (1, 1))
    builder._clear_old(builder.home() / "forky-x-y")
    assert place.exists()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"architecture": "s390x"}, "another processor: s390x"),
        ({"labkit": "99.0"}, "newer labkit"),
        ({"suite": "sarge"}, "does not know: suite 'sarge'"),
        ({"store": "btrfs"}, "image store 'btrfs'"),
    ],
)
def test_what_does_not_fit_is_refused(cache, make, facts, words):
    with pytest.raises(NotPossibleHere, match=words) as refused:
        carry.bring(str(make(**facts)))
    assert refused.value.next_step
    assert not list(builder.home().glob("*-imported-*"))


@pytest.mark.parametrize(("number", "words"), [(archive.FORMAT + 1, "newer labkit"), (0, "older labkit")])
def test_another_format_is_refused(cache, make, monkeypatch, number, words):
    with monkeypatch.context() as patched:
        patched.setattr(archive, "FORMAT", number)
        path = make()
    with pytest.raises(NotPossibleHere, match=words):
        carry.bring(str(path))


def test_what_is_no_archive_is_refused(cache, tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty").touch()
    for name in ("notes.txt", "empty"):
        with pytest.raises(BadInput, match="is not an engine that labkit has exported"):
            carry.bring(str(tmp_path / name))
    with pytest.raises(BadInput, match="No such file"):
        carry.bring(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="directory"):
        carry.bring(str(tmp_path))


@pytest.mark.parametrize("part", [0.002, 0.1, 0.5, 0.9, 0.99])
def test_half_an_archive_is_told_before_anything_is_unpacked(cache, make, part):
    path = make(files={"build/base.qcow2": os.urandom(300_000)})
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(archive.Damaged, match="download it again"):
        carry.bring(str(path))
    assert not list(builder.home().iterdir()) or not list(builder.home().glob("*-imported-*"))


def test_a_changed_byte_is_told_and_leaves_nothing(cache, make):
    path = make(files={"build/base.qcow2": os.urandom(300_000)})
    with open(path, "r+b") as stream:
        with tarfile.open(path) as tar:
            stream.seek(tar.getmember("build/base.qcow2.gz").offset_data + 150_000)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(archive.Damaged, match=r"base\.qcow2"):
        carry.bring(str(path))
    assert not list(builder.home().glob("*-imported-*")) and builder.current() is None


def by_hand(path, table, members=()):
    """An archive that labkit would never write."""
    with tarfile.open(path, "w") as tar:
        for name, data in [("labkit-engine.json", json.dumps(table).encode()), *members]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "build/../../evil", "images/./x", "programs//x/y"])
def test_a_member_that_leads_out_of_the_cache_is_refused(cache, tmp_path, name):
    data = zlib.compress(b"evil", wbits=31)
    row = {"size": 4, "mode": 0o644, "sha256": hashlib.sha256(b"evil").hexdigest()}
    path = by_hand(tmp_path / "e", {**FACTS, "format": 1, "files": {name: row}}, [(f"{name}.gz", data)])
    with pytest.raises(BadInput, match="outside of labkit's cache"):
        carry.bring(str(path))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("links", [{"programs/a/x": "../../../e"}, {"programs/a/x": "/etc"}, {"build/kernel": "x"}])
def test_a_link_that_leads_elsewhere_is_refused(cache, make, links):
    with pytest.raises(BadInput, match="outside of labkit's cache"):
        carry.bring(str(make(links=links)))


def test_a_member_that_labkit_does_not_know_is_refused(cache, make):
    with pytest.raises(BadInput, match="belongs to no engine"):
        carry.bring(str(make(files={"keys/key.pem": b"key"})))


def test_a_bomb_stops_at_the_size_it_declares(make, tmp_path):
    row = {"size": 10, "mode": 0o644, "sha256": "0" * 64}
    bomb = zlib.compress(bytes(1 << 26), wbits=31)
    path = by_hand(tmp_path / "e", {"format": 1, "files": {"images/x": row}}, [("images/x.gz", bomb)])
    with pytest.raises(archive.Damaged):
        archive.Archive(path).unpack({"images/x": tmp_path / "x"})


def test_a_missing_file_is_told(cache, tmp_path):
    path = by_hand(tmp_path / "e", {**FACTS, "format": 1, "files": {}})
    with pytest.raises(archive.Damaged, match=r"it lacks build/kernel"):
        carry.bring(str(path))


@pytest.mark.parametrize("table", [[], {}, {"format": 1, "files": []}, {"format": 1, "files": {"build/kernel": {}}}])
def test_a_strange_table_is_told(tmp_path, table):
    with pytest.raises(archive.Damaged):
        archive.Archive(by_hand(tmp_path / "e", table))


def test_a_full_disk_is_told_before_and_meanwhile(cache, make, monkeypatch):
    path = make()
    with monkeypatch.context() as patched:
        patched.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
        with pytest.raises(LabError, match=r"GB free"):
            carry.bring(str(path))

    def full(out, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_write_with_holes", full)
    with pytest.raises(LabError, match="is full") as told:
        carry.bring(str(path))
    assert "LABKIT_CACHE" in told.value.next_step and not list(builder.home().glob("*-imported-*"))


def test_a_cache_that_cannot_be_written_is_told(cache, make, monkeypatch):
    path = make()
    builder.home()

    def refuse(path):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(store.Path, "touch", refuse)
    with pytest.raises(LabError, match="can't be written") as told:
        carry.bring(str(path))
    assert "LABKIT_CACHE" in told.value.next_step


def test_two_at_once_unpack_once(cache, make, monkeypatch):
    path, unpacked, told, places = make(), [], [], []
    real, started = carry._unpack, threading.Event()

    def slow(*arguments):
        unpacked.append(1)
        started.set()
        threading.Event().wait(0.5)
        real(*arguments)

    monkeypatch.setattr(carry, "_unpack", slow)
    first = threading.Thread(target=lambda: places.append(carry.bring(str(path))))
    first.start()
    started.wait(10)
    with listening(told.append):
        places.append(carry.bring(str(path)))
    first.join()
    assert len(unpacked) == 1 and places[0] == places[1]
    assert "Waiting" in told[0] and "here already" in told[-1]


def test_programs_travel_along_where_they_are_whole(cache, make):
    kit = cache / "programs" / "docker-1"
    (kit / "bin").mkdir(parents=True)
    (kit / "bin/docker").write_text("#!/bin/sh\n")
    (kit / "bin/docker").chmod(0o755)
    (kit / "bin/link").symlink_to("docker")
    store.seal(kit, ["bin/docker"])
    (cache / "programs" / "broken-1").mkdir()
    assert [folder.name for folder in carry._along()] == ["docker-1"]
    files = {f"programs/docker-1/{name}": (kit / name).read_bytes() for name in ("manifest.json", "bin/docker")}
    path = make(files=files, links={"programs/docker-1/bin/link": "docker"})
    store.unseal(kit)  # damaged here: the archive's is taken instead
    carry.bring(str(path))
    assert store.intact(kit) and (kit / "bin/link").read_text() == "#!/bin/sh\n"


def test_an_export_into_no_folder_is_told_before_anything_is_built(cache, tmp_path):
    for target in (tmp_path, tmp_path / "none" / "e"):
        with pytest.raises(BadInput, match="folder"):
            carry.export(target)


def test_a_snapshot_of_another_qemu_is_not_resumed(cache, make):
    told = []
    place = carry.bring(str(make()))
    found = host.Qemu("qemu-system-x86_64", "QEMU of another day", "qemu-img")
    shape = snapshot.imported_shape(place)
    with listening(told.append):
        assert snapshot._from_imported(place, place, found, shape) is None
    assert "another machine" in told[0] and "booting from its disk" in told[0]
    fast = type(shape)(1, 1, "kvm")
    with listening(told.append):
        assert snapshot._from_imported(place, place, found, fast) is None and "kvm works here" in told[1]


def test_the_scratch_of_a_read_only_cache_is_elsewhere(cache, tmp_path, monkeypatch):
    assert builder.scratch() == cache / "embedded" / "scratch"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(cache) not in str(path) and real(path, mode))
    assert builder.scratch() == tmp_path / f"labkit-scratch-{os.getuid()}"  # who shares the cache has another
    assert builder.scratch().stat().st_mode & 0o777 == 0o700


def test_a_variant_says_how_to_ask_for_it():
    assert packages.Variant("trixie", "overlay2").settings() == "LABKIT_SUITE=trixie LABKIT_STORE=overlay2"


def test_an_import_for_this_processor_is_not_one_for_another(cache, make):
    place = carry.bring(str(make()))
    assert builder.current(packages.Variant("forky")) == place
    foreign = "arm64" if host.machine_type() == "x86_64" else "amd64"
    assert builder.current(packages.Variant("forky", "", foreign)) is None
