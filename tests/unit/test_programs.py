"""Programs from packages: whole or not there, started as it works here. Small scripts play apt-get and the programs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from labkit import debian
from labkit.engine.embedded import programs, store
from labkit.errors import LabError, NotPossibleHere
from labkit.saying import listening

KIT = programs.Kit(
    "tool", "the tool", ("tool",), (("bin/tool", programs.Program("usr/bin/tool", options=("-L", "{root}/data"))),)
)

#: Says how it was started; ends badly when no loader started it and it is told that it needs one.
TOOL = """#!/bin/sh
[ -n "$LOADED" ] || [ ! -e "${0%/*}/../needs-loader" ] || { echo "GLIBC_9 not found" >&2; exit 1; }
echo "${LOADED:-native} $*"
"""

#: Stands where the C library's loader is in the packages.
LOADER = """#!/bin/sh
[ "$1 $3" = "--argv0 --library-path" ] || exit 9
shift 4
LOADED=loader exec "$@"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """What the package holds, as a folder."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "package"
    for name, text in (("usr/bin/tool", TOOL), ("usr/lib/x-linux-gnu/ld-linux-x.so.2", LOADER)):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
        (made / name).chmod(0o755)
    return made


@pytest.fixture
def fetched(package, monkeypatch):
    """Which suites were asked, in order; one named in ``refused`` has nothing."""
    asked: list[str] = []

    def fetch(packages, *, suite, skip):
        asked.append(suite)
        if suite in refused:
            raise LabError(f"No package mirror can be reached: {suite}")
        return [package]

    refused: set[str] = set()
    monkeypatch.setattr(debian, "fetch", fetch)
    monkeypatch.setattr(debian, "unpack", lambda debs, into: shutil.copytree(debs[0], into, dirs_exist_ok=True))
    return SimpleNamespace(asked=asked, refused=refused)


def run(place, *words):
    return subprocess.run([place / "bin/tool", *words], capture_output=True, text=True, check=True).stdout.strip()


def test_fetched_once_and_started_as_it_is_where_that_works(fetched):
    assert programs.existing(KIT) is None and not fetched.asked, "asking fetches nothing"
    said: list[str] = []
    with listening(said.append):
        place = programs.ensure(KIT)
    assert said == ["Fetching the tool (once)"]
    assert programs.ensure(KIT) == place == programs.existing(KIT) and fetched.asked == [debian.STABLE]
    assert run(place, "a b", "c") == f"native -L {place}/bin/../root/data a b c"


def test_started_through_the_packages_own_loader_where_it_must_be(fetched, package):
    (package / "usr/needs-loader").touch()
    place = programs.ensure(KIT)
    assert run(place, "x") == f"loader -L {place}/bin/../root/data x"
    assert store.manifest(place)["native"] is False


def test_a_cache_may_be_copied(fetched, tmp_path):
    place = programs.ensure(KIT)
    moved = shutil.copytree(place, tmp_path / "else where" / place.name, symlinks=True)
    shutil.rmtree(place)
    assert run(moved) == f"native -L {moved}/bin/../root/data"


def test_an_interrupted_try_leaves_nothing_and_the_next_one_works(fetched, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(programs, "_launcher", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        programs.ensure(KIT)
    assert [path.name for path in programs.folder(KIT).parent.iterdir()] == ["lock"]
    left = programs.folder(KIT).with_name(programs.folder(KIT).name + ".new4242")
    left.mkdir()  # what a killed process leaves
    assert run(programs.ensure(KIT)) and not left.exists()


@pytest.mark.parametrize("harm", ["other bytes", "cut off", "gone"])
def test_a_damaged_one_is_made_anew(fetched, harm):
    place = programs.ensure(KIT)
    file = place / "root/usr/bin/tool"
    text = file.read_text()
    if harm == "gone":
        file.unlink()
    else:
        file.write_text(text[:-5] if harm == "cut off" else "#" * len(text))
        os.utime(file, (0, 0))
    assert programs.existing(KIT) is None
    assert run(programs.ensure(KIT)) == f"native -L {place}/bin/../root/data"
    assert len(fetched.asked) == 2


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk under .*programs is full"), (errno.EROFS, "programs: Read-only")],
)
def test_a_cache_without_room(fetched, monkeypatch, number, words):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store, "seal", refuse)
    with pytest.raises(LabError, match=words) as caught:
        programs.ensure(KIT)
    assert "LABKIT_CACHE" in caught.value.next_step
    assert programs.existing(KIT) is None


def test_a_whole_one_is_used_from_a_cache_that_cannot_be_written(fetched, monkeypatch):
    place = programs.ensure(KIT)
    monkeypatch.setattr(store, "locked", lambda *_: pytest.fail("nothing is locked"))
    assert programs.ensure(KIT) == place


def test_the_second_suite_where_the_first_fails_and_the_firsts_refusal_where_both_do(fetched):
    kit = programs.Kit("tool", "the tool", ("tool",), KIT.programs, suites=("new", "old"))
    fetched.refused.add("new")
    place = programs.ensure(kit)
    assert fetched.asked == ["new", "old"] and store.manifest(place)["suite"] == "old"
    shutil.rmtree(place)
    fetched.refused.add("old")
    with pytest.raises(LabError, match="can be reached: new"):
        programs.ensure(kit)


def test_a_program_that_never_starts_is_a_sentence(fetched, package):
    (package / "usr/bin/tool").write_text("#!/bin/sh\necho 'it is broken' >&2; exit 1\n")
    with pytest.raises(LabError, match="tool, from Debian trixie's packages, does not start here: it is broken"):
        programs.ensure(KIT)
    assert programs.existing(KIT) is None


def test_no_package_client(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(debian, "available", lambda: False)
    with pytest.raises(NotPossibleHere, match="no apt-get"):
        programs.ensure(KIT)


def test_another_c_library_another_folder(monkeypatch):
    here = programs.folder(KIT)
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.31"))
    assert programs.folder(KIT) != here
