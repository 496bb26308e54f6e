"""What `pip install .` installs: a wheel with everything in it, used from folders that are not the checkout."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labkit.course import labs
from labkit.paths import COURSE
from labkit.workingcopy import RECORD

from .test_house import TRACKED

#: As root, a process without any capability may write only where files' modes allow it, as an ordinary user's.
ORDINARY = ["setpriv", "--bounding-set=-all", "--"] if os.geteuid() == 0 else []


def own_setuptools() -> bool:
    """Whether this Python's setuptools can build a wheel by itself (70.1 and later), without a network."""
    try:
        return tuple(map(int, importlib.metadata.version("setuptools").split(".")[:2])) >= (70, 1)
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout's files, built in a copy of them in which something was built before."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in filter(None, TRACKED):
        if (COURSE / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(COURSE / name, source / name)
    for name in (
        "build/lib/labkit/gone.py",
        "labkit/__pycache__/x.cpython-311.pyc",
        "data/apps/tea/__pycache__/app.pyc",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    how = ["--no-build-isolation", "--no-index"] if own_setuptools() else []
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *how, "--wheel-dir", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("setuptools is not here, and no package index has it")
    assert done.returncode == 0, done.stderr
    return next(out.glob("labkit-*.whl"))


def test_all_of_the_course_is_in_the_wheel(wheel):
    wanted = {name for name in TRACKED if name.startswith("labkit/") and (COURSE / name).exists()}
    wanted |= {
        f"labkit/shipped/{name}"
        for name in TRACKED
        if name.startswith(("notebooks/", "data/")) and not name.startswith("data/screenshots/")
        if (COURSE / name).exists()
    }
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == wanted
        for name in names:
            assert archive.read(name) == (COURSE / name.removeprefix("labkit/shipped/")).read_bytes(), name


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel in it, its labkit read-only; the dependencies are this Python's."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    packages = next(folder.glob("lib/python*/site-packages"))
    # No .pth file in these folders is read, so the editable install of this checkout is not in force.
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    for path in [packages / "labkit", *packages.joinpath("labkit").rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    return packages / "labkit"


@pytest.fixture
def labkit(installed, tmp_path, monkeypatch):
    """Run a command of the installed labkit in a folder, where no engine answers, as an ordinary user."""
    monkeypatch.setenv("LABKIT_ENGINE", f"unix://{tmp_path}/none.sock")
    monkeypatch.delenv("PYTHONPATH", raising=False)

    def run(folder: Path, *words: str, program: str = "labkit") -> subprocess.CompletedProcess:
        command = [*ORDINARY, installed.parents[3] / "bin" / program, *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def empty(tmp_path):
    """A folder with nothing in it."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_doctor_and_progress_need_no_checkout(labkit, empty):
    found = json.loads(labkit(empty, "doctor", "--json").stdout)
    assert [check["ok"] for check in found["checks"][:3]] == [True, True, False], found
    rows, _, _ = labkit(empty, "progress").stdout.partition("Kept in ")  # a folder whose name may have any letters
    assert rows.count("open") == len(labs())
    assert list(empty.iterdir()) == []


def test_lab_makes_a_working_copy_and_keeps_what_the_learner_changed(labkit, empty):
    done = labkit(empty, "lab", "08")
    assert done.stderr.startswith(f"Copied to {empty}/notebooks: 00-start-here, 01-")
    assert "Nothing answers there." in done.stderr
    assert sorted(path.name for path in empty.iterdir()) == [RECORD, "notebooks"]
    names = sorted(path.name for path in (COURSE / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (empty / "notebooks").iterdir()) == names
    mine = empty / "notebooks" / names[0]
    mine.write_text("mine")
    assert not labkit(empty, "lab").stderr.startswith("Copied")
    assert mine.read_text() == "mine" and len(list((empty / "notebooks").iterdir())) == len(names)


def test_a_folder_that_can_not_be_written_is_told_in_a_sentence(labkit, empty):
    empty.chmod(0o555)
    done = labkit(empty, "lab")
    assert done.returncode == 1
    assert done.stderr.startswith(f"labkit: The course can't be copied to {empty}. Permission denied: ")


def test_nothing_is_saved_into_the_installed_labkit(labkit, installed, empty):
    done = labkit(empty, "run", "00", "--save")
    assert done.returncode == 1 and "--save would write into the installed labkit" in done.stderr
    assert f"Notebooks: {installed}/shipped/notebooks" in done.stderr
    labkit(empty, "lab")
    assert "Nothing answers there." in labkit(empty, "run", "00", "--save").stderr, "a working copy may be written to"


RUN = (
    "from labkit.commands.rerun import execute; found = execute('00-start-here'); print(found.outcome, found.problems)"
)


def test_the_working_copys_notebooks_are_run_with_the_installed_labkit(labkit, installed, empty):
    """Also below a project whose pytest has settings of its own."""
    (empty / "notebooks").mkdir()
    (empty / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (empty / "conftest.py").write_text("1 / 0\n")
    printed = new_output("stream", name="stdout", text=f"{installed}/__init__.py\n")
    cell = new_code_cell("import labkit\nprint(labkit.__file__)", outputs=[printed], execution_count=1)
    nbformat.write(new_notebook(cells=[cell]), empty / "notebooks" / "00-start-here.ipynb")
    done = labkit(empty, "-c", RUN, program="python")
    assert done.stdout == "pass []\n", done.stdout + done.stderr
