"""The working copy of an installed labkit: where it is made, what is replaced in it, and what never is."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from labkit import workingcopy
from labkit.errors import NotPossibleHere
from labkit.paths import COURSE
from labkit.workingcopy import RECORD, SUBFOLDER, home, notebook_file, prepare, update


def test_a_checkout_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare() == (COURSE, []) and home() == COURSE
    assert notebook_file("08-out-of-memory").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An installed labkit that ships two notebooks; a call changes what it ships. The learner is in ``here``."""
    course = tmp_path / "site-packages" / "labkit" / "shipped"
    (course / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(workingcopy, "INSTALLED", True)
    monkeypatch.setattr(workingcopy, "COURSE", course)

    def ships(**texts: str) -> None:
        for name, text in texts.items():
            (course / "notebooks" / f"{name}.ipynb").write_text(text)

    ships(one="1", two="2")
    return ships


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that the learner is in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def notebooks(folder) -> dict[str, str]:
    return {path.name.removesuffix(".ipynb"): path.read_text() for path in folder.joinpath("notebooks").iterdir()}


def test_an_empty_folder_becomes_a_working_copy(shipped, here):
    (here / ".venv").mkdir()
    (here / "env").mkdir()
    (here / "env" / "pyvenv.cfg").touch()
    assert home() == workingcopy.COURSE, "until there is one, the notebooks are labkit's own"
    folder, said = prepare()
    assert folder == here and notebooks(here) == {"one": "1", "two": "2"}
    assert said == [f"Copied to {here / 'notebooks'}: one, two."]
    assert home() == here and prepare() == (here, [])


def test_in_its_notebooks_one_is_in_the_working_copy(shipped, here, monkeypatch):
    prepare()
    monkeypatch.chdir(here / "notebooks")
    assert home() == here and prepare() == (here, [])


def test_what_was_not_changed_is_replaced_and_what_was_is_kept(shipped, here):
    prepare()
    (here / "notebooks/two.ipynb").write_text("mine")
    shipped(one="1b", two="2b", three="3")
    _, said = prepare()
    assert notebooks(here) == {"one": "1b", "two": "mine", "two.new": "2b", "three": "3"}
    assert said == [
        f"Copied to {here / 'notebooks'}: three.",
        "Replaced by newer ones, as you had not changed them: one.",
        "You have changed two.ipynb, so it stays as it is. The newer one is two.new.ipynb.",
    ]
    assert prepare() == (here, []), "it is said once"


def test_one_that_only_the_learner_changed_is_left_alone(shipped, here):
    prepare()
    (here / "notebooks/two.ipynb").write_text("mine")
    assert update(here) == [] and notebooks(here) == {"one": "1", "two": "mine"}


def test_a_newer_one_beside_is_itself_replaced_unless_it_was_changed(shipped, here):
    prepare()
    (here / "notebooks/two.ipynb").write_text("mine")
    for text in ("2b", "2c"):
        shipped(two=text)
        update(here)
    assert notebooks(here) == {"one": "1", "two": "mine", "two.new": "2c"}
    (here / "notebooks/two.new.ipynb").write_text("mine, too")
    for text in ("2d", "2e"):
        shipped(two=text)
        update(here)
    assert notebooks(here) == {"one": "1", "two": "mine", "two.new": "mine, too", "two.new-2": "2e"}


def test_one_beside_that_was_thrown_away_does_not_come_back(shipped, here):
    prepare()
    (here / "notebooks/two.ipynb").write_text("mine")
    shipped(two="2b")
    update(here)
    (here / "notebooks/two.new.ipynb").unlink()
    assert update(here) == [] and notebooks(here) == {"one": "1", "two": "mine"}


def test_a_learner_who_takes_the_newer_one_gets_the_next_ones(shipped, here):
    prepare()
    (here / "notebooks/two.ipynb").write_text("mine")
    shipped(two="2b")
    update(here)
    os.replace(here / "notebooks/two.new.ipynb", here / "notebooks/two.ipynb")
    assert update(here) == []
    shipped(two="2c")
    update(here)
    assert notebooks(here) == {"one": "1", "two": "2c"}


def test_a_deleted_notebook_comes_back_fresh(shipped, here):
    prepare()
    (here / "notebooks/one.ipynb").unlink()
    assert update(here) == [f"Copied to {here / 'notebooks'}: one."]
    assert notebooks(here) == {"one": "1", "two": "2"}


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"given": {}}', '{"given": [], "beside": 3}', "\xff"])
def test_without_a_record_whatever_differs_is_the_learners(shipped, here, record):
    prepare()
    (here / RECORD).unlink()
    if record is not None:
        (here / RECORD).write_bytes(record.encode("latin-1"))
    shipped(one="1b")
    assert prepare()[0] == here
    assert notebooks(here) == {"one": "1", "one.new": "1b", "two": "2"}
    assert set(json.loads((here / RECORD).read_text())) == {"given", "beside"}


def test_a_folder_of_other_things_gets_a_folder_for_the_course(shipped, here, monkeypatch):
    (here / "thesis.tex").write_text("text")
    folder, said = prepare()
    assert folder == here / SUBFOLDER and notebooks(folder) == {"one": "1", "two": "2"}
    assert said[0] == f"This folder holds other things, so the course has its own: {folder}."
    assert sorted(path.name for path in here.iterdir()) == [SUBFOLDER, "thesis.tex"]
    assert home() == folder and prepare() == (folder, said[:1])


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("a file"), lambda path: (path / "x").mkdir(parents=True)]
)
def test_a_folder_whose_subfolder_is_taken_is_refused(shipped, here, make):
    (here / "thesis.tex").write_text("text")
    make(here / SUBFOLDER)
    with pytest.raises(NotPossibleHere, match=f"and so does {SUBFOLDER} in it.*mkdir"):
        prepare()


@pytest.mark.parametrize("below", ["", SUBFOLDER])
def test_a_checkout_under_an_installed_labkit_is_left_alone(shipped, here, below):
    root = here / below
    for name in ("labkit/__init__.py", "data/course.json", "notebooks/one.ipynb"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("the checkout's")
    assert home() == root and prepare()[0] == root
    assert notebooks(root) == {"one": "the checkout's"} and not (root / RECORD).exists()


def test_what_can_not_be_written_is_said(shipped, here):
    (here / "notebooks").write_text("a file where a folder should be")
    with pytest.raises(NotPossibleHere, match=r"can't be copied to .*here\. File exists: .*mkdir"):
        update(here)


def test_a_full_disk_leaves_no_half_notebook(shipped, here, monkeypatch):
    prepare()
    shipped(one="1" * 2000)
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(NotPossibleHere, match="No space left on device"):
        prepare()
    monkeypatch.undo()
    assert notebooks(here) == {"one": "1", "two": "2"}


def half(path: Path, content: bytes) -> None:
    """A write to a disk that is full in the middle."""
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_is_gone_is_said(shipped, here):
    here.rmdir()
    for asked in (home, prepare):
        with pytest.raises(NotPossibleHere, match="is gone"):
            asked()
