"""Packages without root: what labkit asks apt-get for, and what it says when that fails.

Small programs take the place of apt-get and dpkg-deb in PATH here: these tests are about the
command lines, the cache and the sentences. Real packages are fetched where images are made.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from labkit import debian
from labkit.errors import LabError, NotPossibleHere
from labkit.saying import listening

# Writes down each call; "prints" the closure and "downloads" what is not yet there.
APT = """#!/bin/sh
echo "$@" >> "$RECORD"
case "$*" in
*--print-uris*) echo "'http://deb/a' a_1_all.deb 3 SHA256:00"; echo "'http://deb/b' b_2_all.deb 5 SHA256:00";;
*" download "*)
  for word in "$@"; do case "$word" in
  a=1) printf aaa > a_1_all.deb;; b=2) printf bbbbb > b_2_all.deb;;
  esac; done;;
esac
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Put programs first in PATH: ``tools(**{"apt-get": text})``; returns the record of calls."""
    folder, record = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    record.touch()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))

    def put(**programs: str) -> Path:
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return record

    return put


def test_fetch_asks_for_the_closure_and_downloads_once(tools):
    record = tools(**{"apt-get": APT, "dpkg-deb": "#!/bin/sh\n"})
    said: list[str] = []
    with listening(said.append):
        first = debian.fetch(["a"], arch="amd64")
    assert [path.name for path in first] == ["a_1_all.deb", "b_2_all.deb"]
    assert all(path.exists() for path in first)
    assert said == ["Reading package lists", "Downloading 2 packages, 0 MB"]
    calls = record.read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["update", "a", "b=2"]
    assert all("-o Dir::State::status=" in call and "-o APT::Architecture=amd64" in call for call in calls)

    assert debian.fetch(["a"], arch="amd64") == first
    assert len(record.read_text().splitlines()) == len(calls) + 1, "only the closure is asked for again"


def test_a_package_of_the_wrong_length_is_fetched_again(tools):
    record = tools(**{"apt-get": APT, "dpkg-deb": "#!/bin/sh\n"})
    a, _ = debian.fetch(["a"], arch="amd64")
    a.write_bytes(b"a")  # a download that was cut off
    debian.fetch(["a"], arch="amd64")
    assert a.read_bytes() == b"aaa"
    assert sum(" download " in call for call in record.read_text().splitlines()) == 2


def test_old_package_lists_are_refreshed(tools):
    record = tools(**{"apt-get": APT, "dpkg-deb": "#!/bin/sh\n"})
    debian.fetch(["a"], arch="amd64")
    stamp = debian.cache_dir("packages", debian.STABLE, "amd64") / "updated"
    os.utime(stamp, (0, 0))
    debian.fetch(["a"], arch="amd64")
    assert sum(call.endswith(" update") for call in record.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "apt_says, sentence, next_step",
    [
        ("E: You don't have enough free space in /x/archives/.", "The disk under .* is full", "LABKIT_CACHE"),
        ("E: Write error - write (28: No space left on device)", "The disk under .* is full", "LABKIT_CACHE"),
        (
            "W: first\nE: Unable to locate package a",
            "could not finish: E: Unable to locate package a",
            "apt-get update",
        ),
        ("", "no reason given", "apt-get update"),
    ],
)
def test_what_apt_get_says_becomes_a_sentence(tools, tmp_path, apt_says, sentence, next_step):
    (tmp_path / "words").write_text(apt_says)
    tools(**{"apt-get": f"#!/bin/sh\ncat {tmp_path}/words >&2; exit 100\n", "dpkg-deb": "#!/bin/sh\n"})
    with pytest.raises(LabError, match=sentence) as caught:
        debian.fetch(["a"], arch="amd64")
    assert next_step in caught.value.next_step


def test_a_machine_without_apt_get_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not debian.available()
    with pytest.raises(NotPossibleHere, match="no apt-get") as caught:
        debian.fetch(["a"], arch="amd64")
    assert "LABKIT_BUSYBOX" in caught.value.next_step


def test_package_name():
    assert debian.package_name(Path("/x/busybox-static_1%3a1.35.0-4_amd64.deb")) == "busybox-static"


def test_a_damaged_package_is_thrown_away(tmp_path):
    deb = tmp_path / "a_1_all.deb"
    deb.write_text("this is not a package")
    with pytest.raises(LabError, match="a_1_all.deb could not be unpacked") as caught:
        debian.unpack([deb], tmp_path / "root")
    assert "again" in caught.value.next_step
    assert not deb.exists()


def test_a_full_disk_while_unpacking(tools, tmp_path):
    tools(**{"dpkg-deb": "#!/bin/sh\necho 'tar: cannot write: No space left on device' >&2; exit 2\n"})
    deb = tmp_path / "a_1_all.deb"
    deb.touch()
    with pytest.raises(LabError, match="The disk under .* is full"):
        debian.unpack([deb], tmp_path / "root")
    assert deb.exists(), "the package is not to blame"


def test_unpack_a_real_package(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    (tree / "bin").mkdir()
    (tree / "bin/tool").write_text("tool")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, tmp_path / "a_1_all.deb"], check=True)
    debian.unpack([tmp_path / "a_1_all.deb"], tmp_path / "root")
    assert (tmp_path / "root/bin/tool").read_text() == "tool"


def test_merge_usr(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").write_text("from bin")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/other").write_text("from usr")
    debian.merge_usr(tmp_path)
    assert os.readlink(tmp_path / "bin") == "usr/bin"
    assert sorted(path.name for path in (tmp_path / "usr/bin").iterdir()) == ["other", "tool"]
    assert (tmp_path / "bin/tool").read_text() == "from bin"
    assert all(stat.S_ISLNK((tmp_path / name).lstat().st_mode) for name in ("bin", "sbin", "lib", "lib64"))
    debian.merge_usr(tmp_path)  # again changes nothing
    assert (tmp_path / "bin/tool").read_text() == "from bin"


def test_packages_come_from_labkits_own_suite_with_its_own_keys(tools):
    record = tools(**{"apt-get": APT, "dpkg-deb": "#!/bin/sh\n"})
    debian.fetch(["a"], suite="forky", arch="amd64")
    folder = debian.cache_dir("packages", "forky", "amd64")
    assert (folder / "sources.list").read_text().split()[2:] == ["forky", "main"]
    for call in record.read_text().splitlines():
        assert f"Dir::Etc::SourceList={folder}/sources.list" in call and "Dir::Etc::SourceParts=/dev/null" in call
        assert f"Dir::Etc::TrustedParts={debian.KEYRING}" in call
    assert sorted(debian.KEYRING.glob("*.gpg"))


def test_a_nearer_mirror_is_taken_from_the_system_and_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "_SYSTEM_SOURCES", tmp_path)
    monkeypatch.delenv("LABKIT_MIRROR", raising=False)
    assert debian.mirrors() == [debian.DEFAULT_MIRROR]
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian x main\ndeb http://archive.example/ubuntu noble main\n"
        "deb [arch=amd64] https://near.example/debian/ trixie main\ndeb http://near.example/debian-security x main\n"
    )
    assert debian.mirrors() == ["https://near.example/debian", debian.DEFAULT_MIRROR]
    monkeypatch.setenv("LABKIT_MIRROR", "http://own.example/debian/")
    assert debian.mirrors() == ["http://own.example/debian"]


@pytest.mark.parametrize(
    "apt_says, sentence",
    [
        ("W: GPG error: x\nE: The repository 'x' is not signed.", "signature is not Debian's"),
        ("E: The repository 'http://x/debian gone Release' does not have a Release file.", "does not have this suite"),
        ("E: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'", "No package mirror can be reached"),
        ("E: Release file for x is not valid yet (invalid for another 3h).", "not valid at this machine's time"),
    ],
)
def test_the_other_refusals(tools, tmp_path, apt_says, sentence):
    (tmp_path / "words").write_text(apt_says)
    tools(**{"apt-get": f"#!/bin/sh\ncat {tmp_path}/words >&2; exit 100\n", "dpkg-deb": "#!/bin/sh\n"})
    with pytest.raises(LabError, match=sentence) as caught:
        debian.fetch(["a"], arch="amd64")
    assert caught.value.next_step and caught.value.cause


def _real_mirror(tmp_path, monkeypatch, change=lambda text: text):
    """A mirror on disk that has the real package lists' signature, changed or not."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_MIRROR", f"file://{tmp_path}/mirror")
    suite = tmp_path / "mirror/dists/s"
    suite.mkdir(parents=True)
    (suite / "InRelease").write_text(change("Suite: s\nCodename: s\n"))


def test_lists_without_a_signature_are_refused_by_the_real_apt_get(tmp_path, monkeypatch):
    if not debian.available():
        pytest.skip("no apt-get here")
    _real_mirror(tmp_path, monkeypatch)
    with pytest.raises(LabError):
        debian.fetch(["a"], suite="s")
    assert not list((tmp_path / "cache").rglob("*.deb"))


def test_a_suite_that_is_gone_is_said_by_the_real_apt_get(tmp_path, monkeypatch):
    if not debian.available():
        pytest.skip("no apt-get here")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("LABKIT_MIRROR", f"file://{tmp_path}/mirror")
    with pytest.raises(LabError, match="does not have this suite"):
        debian.fetch(["a"], suite="gone")
