"""Kind 3, home, cache and state: missing, unwritable, full, oddly named, on a file system that behaves differently."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import files, paths
from labkit.commands import doctor
from labkit.course import exercises
from labkit.course.progress import Progress
from labkit.engine import clients
from labkit.engine.embedded import builder, host, packages, programs
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.paths import COURSE

#: Runs a program as a user that no list knows. It may read all, as this test's Python may be root's; it may write
#: nothing of anybody else's.
NOBODY = [str(shutil.which("setpriv")), "--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=+dac_read_search",
          "--ambient-caps=+dac_read_search"] if os.getuid() == 0 else []  # fmt: skip


@pytest.fixture(autouse=True)
def plain(tmp_path, monkeypatch):
    for name in ("LABKIT_CACHE", "LABKIT_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


NAMED = {
    "an absolute folder": ("/x/y", "/x/y"),
    "a relative folder is meant from here": ("kept/here", "{here}/kept/here"),
    "a tilde is the home": ("~/kept", "{home}/kept"),
    "a tilde alone": ("~", "{home}"),
    "a tilde that is part of a name": ("~kept", "{here}/~kept"),
    "odd characters": ("/x/ü, 'y' z", "/x/ü, 'y' z"),
}


@pytest.mark.parametrize("value, expected", NAMED.values(), ids=NAMED)
@pytest.mark.parametrize("variable, path", [("LABKIT_CACHE", paths.cache_path), ("LABKIT_STATE", paths.state_path)])
def test_folders_that_a_variable_names(tmp_path, monkeypatch, variable, path, value, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    assert str(path("a")) == expected.format(here=tmp_path, home=tmp_path / "home") + "/a"


def test_folders_that_are_relative_are_the_same_for_what_is_started_elsewhere(tmp_path, monkeypatch):
    from labkit import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_CACHE", "kept/cache")
    monkeypatch.setenv("LABKIT_STATE", "~/state")
    cli.main(["progress"])
    monkeypatch.chdir("/")
    assert paths.cache_path() == tmp_path / "kept/cache" and paths.state_path() == tmp_path / "home/state"


def test_folders_of_xdg_that_are_relative_are_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert paths.cache_path() == tmp_path / "home/.cache/labkit"


def test_folders_of_a_user_without_home_and_name():
    code = (
        "from labkit import paths; print(paths.cache_dir('a')); print(paths.state_path()); print(paths.runtime_dir())"
    )
    done = subprocess.run(
        [*NOBODY, sys.executable, "-c", code], env={"PATH": os.environ["PATH"], "PYTHONPATH": str(COURSE)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cache, state, runtime = done.stdout.splitlines()
    if NOBODY:
        assert cache == f"{runtime}/home/.cache/labkit/a" and state.startswith(runtime) and "12345" in runtime
        shutil.rmtree(runtime)


@pytest.fixture(params=["a file in its place", "a file above", "read-only"])
def unwritable(request, tmp_path, monkeypatch):
    """A cache and a state that can't be made."""
    place = tmp_path / "place"
    place.touch()
    if request.param == "read-only":
        place = Path("/proc/nowhere")
    for name in ("LABKIT_CACHE", "LABKIT_STATE"):
        monkeypatch.setenv(name, str(place / "below" if "above" in request.param else place))
    return place


def test_folders_unwritable_are_a_sentence(unwritable):
    for made, variable in ((paths.cache_dir, "LABKIT_CACHE"), (paths.state_dir, "LABKIT_STATE")):
        with pytest.raises(LabError, match="can't be made") as caught:
            made("a")
        assert variable in caught.value.next_step


def test_folders_unwritable_looking_for_programs_makes_none(unwritable):
    assert programs.existing(clients.KIT) is None
    assert host.have_qemu() is not None or programs.existing(host.qemu_kit()) is None


def test_folders_unwritable_the_clients_settings_are_elsewhere(unwritable, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert clients.settings_folder() == tmp_path / f"labkit-{os.getuid()}/docker"
    assert (clients.settings_folder() / "config.json").exists()


def test_folders_unwritable_doctor_tells_it(unwritable):
    [check] = [check for check in doctor._embedded() if not check.ok and "LABKIT_CACHE" in check.remedy][:1]
    assert str(unwritable) in check.detail


def test_folders_unwritable_a_passed_exercise_is_shown_and_counts(unwritable, capsys):
    shown = exercises.Exercise("run", "Run one", ("A hint.",), lambda on: exercises.passed("It runs."))
    lab = Lab.__new__(Lab)
    lab.name, lab.progress, lab.context = "00-start-here", Progress(), None
    lab.content = SimpleNamespace(find=lambda kind, key: shown)
    lab.check("run")
    said = capsys.readouterr().out
    assert "✓ Run one: It runs." in said and "can't be kept" in said and "LABKIT_STATE" in said
    assert lab.progress.passed_on("00-start-here", "run"), "as long as this process"


def test_folders_unwritable_answers_are_taken_all_the_same(unwritable):
    progress = Progress()
    seed = progress.seed()
    assert progress.seed() == seed and "can't be kept" in progress.unkept
    progress.predicted("08-out-of-memory", "x", "yes", True)
    progress.answered("08-out-of-memory", "y", False)
    assert progress.checked("08-out-of-memory", "z", False) == 1
    assert progress.read()["08-out-of-memory"]["quiz"]["y"]["right"] is False


def test_folders_that_can_be_written_again_get_what_was_kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    (tmp_path / "state").touch()
    progress = Progress()
    progress.checked("08-out-of-memory", "one", True)
    (tmp_path / "state").unlink()
    progress.checked("08-out-of-memory", "two", True)
    assert progress.unkept == "" and set(Progress().read()["08-out-of-memory"]["exercises"]) == {"one", "two"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_folders_on_a_network_file_system_without_locks(tmp_path, monkeypatch, number):
    """Then one at a time among this machine's processes."""
    real = fcntl.flock

    def flock(handle, how):
        if Path(handle.name).is_relative_to(tmp_path):
            raise OSError(number, os.strerror(number))
        return real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    waited: list[int] = []
    with files.locked(tmp_path / "lock"):
        ours = [Path(handle) for handle in Path("/tmp").glob(f"labkit-lock-{os.getuid()}-*")]
        assert any(files.taken(path) for path in ours)
    with files.locked(tmp_path / "lock", lambda: waited.append(1)):
        assert not waited
    for path in ours:
        path.unlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_folders_faults_of_files_are_sentences(number):
    with pytest.raises(LabError, match=r"/x/y(:| is full).*\.") as caught, files.telling("LABKIT_CACHE"):
        raise OSError(number, os.strerror(number), "/x/y")
    assert "LABKIT_CACHE" in caught.value.next_step


PLACES = {
    "of the user's choice": ({"XDG_RUNTIME_DIR": "{tmp}"}, "{tmp}/labkit-{uid}"),
    "that is missing": ({"XDG_RUNTIME_DIR": "{tmp}/none"}, "{other}"),
    "that is relative": ({"XDG_RUNTIME_DIR": "."}, "{tmp}/labkit-{uid}"),
    "whose path is too long for a socket": ({"XDG_RUNTIME_DIR": "{long}"}, "{other}"),
    "none, and a long TMPDIR": ({"TMPDIR": "{long}"}, "{other}"),
}


@pytest.mark.parametrize("variables, expected", PLACES.values(), ids=PLACES)
def test_folders_for_sockets(tmp_path, monkeypatch, variables, expected):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path, long=long))
    found = paths.runtime_dir()
    assert len(os.fsencode(found / "m12345678/sock")) <= 107 and not found.stat().st_mode & 0o077
    if expected != "{other}":
        assert str(found) == expected.format(tmp=tmp_path, uid=os.getuid())


def test_folders_for_sockets_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_for_sockets", lambda folder: False)
    with pytest.raises(LabError, match="No folder for sockets") as caught:
        paths.runtime_dir()
    assert "XDG_RUNTIME_DIR" in caught.value.next_step


LATIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"}


def in_latin(code: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *words], cwd=COURSE, capture_output=True,
        env={**os.environ, **LATIN, "PYTHONPATH": str(COURSE)},
    )  # fmt: skip


def test_folders_a_latin_locale_gives_the_same_machine_and_the_same_words():
    """A recipe that is read with other letters is another one: everything would be built again."""
    code = "from labkit.engine.embedded import builder, packages; print(builder.recipe(packages.Variant('trixie')))"
    assert in_latin(code).stdout.decode().strip() == builder.recipe(packages.Variant("trixie"))
    code = "from labkit import course; print(ascii([each.meaning for each in course.glossary()]))"
    from labkit import course

    assert in_latin(code).stdout.decode().strip() == ascii([each.meaning for each in course.glossary()])


def test_folders_a_latin_terminal_shows_what_it_can():
    done = in_latin("", "-m", "labkit", "progress")
    assert done.returncode == 0, done.stderr
    assert b"Kept in" in done.stdout


def test_folders_no_text_is_read_in_the_locales_letters():
    """Rooms that other hands work in at present are left out; the house's rule is for all."""
    found = []
    for path in sorted((COURSE / "labkit").rglob("*.py")):
        room = path.relative_to(COURSE / "labkit").parts
        if room[0] in ("observe", "labs") and "start_here" not in room or path.name in RECIPE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called in ("read_text", "write_text") and not any(word.arg == "encoding" for word in node.keywords):
                found.append(f"{'/'.join(room)}:{node.lineno}")
    assert found == []


#: A change in these makes every machine anew; what they read is plain ASCII.
RECIPE = ("packages.py", "rootfs.py", "initramfs.py", "keys.py", "recipes.py")


def test_folders_a_checkout_on_windows_keeps_its_line_ends():
    """A shell stops at a carriage return: git is told, and what runs here is read as text."""
    told = subprocess.run(
        ["git", "check-attr", "eol", "--", "labkit/engine/embedded/keeper.sh", "tools/setup"], cwd=COURSE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode or told.stdout.count("eol: lf") == 2


def test_folders_a_program_that_may_not_be_started_there(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_said", lambda command: "[Errno 13] Permission denied: 'x'")
    monkeypatch.setattr(programs.debian, "fetch", lambda *_, **__: [])
    monkeypatch.setattr(programs.debian, "merge_usr", lambda root: None)
    monkeypatch.setattr(programs, "_launcher", lambda *_: "")
    with pytest.raises(LabError, match="No program may be started under") as caught:
        programs._make(clients.KIT, tmp_path / "kit")
    assert "noexec" in caught.value.cause and "LABKIT_CACHE" in caught.value.next_step
