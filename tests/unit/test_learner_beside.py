"""Kind 9, things beside the notebook: files and folders whose names are those of packages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from labkit.paths import COURSE

#: What a learner calls a file, and why it would be imported: by labkit, by what labkit needs, by Python itself.
NAMES = ["docker.py", "requests.py", "matplotlib.py", "random.py", "statistics.py", "queue.py", "rich/__init__.py"]

PROGRAM = """
import warnings
warnings.simplefilter("always")
import labkit
try:
    labkit.open("00", engine="unix:///nowhere.sock")
except Exception as fault:
    print(type(fault).__name__, fault)
import docker, matplotlib, queue, random, requests, rich, statistics
import mine
print(mine.VALUE)
"""


def program(folder, text: str = PROGRAM) -> subprocess.CompletedProcess:
    """As a kernel has it: the notebook's folder comes first."""
    start = "import sys; sys.path.insert(0, ''); exec(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(COURSE), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", start, text], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_beside_the_notebook_a_name_gets_in_no_packages_way(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "mine.py").write_text("VALUE = 'found'\n")
    done = program(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NoEngine Nothing answers there." in done.stdout and done.stdout.endswith("found\n")
    assert name.split("/")[0] in done.stderr or "names of Python packages" not in done.stderr


def test_beside_the_notebook_what_is_in_nobodys_way_comes_first(tmp_path):
    (tmp_path / "mine.py").write_text("VALUE = 'found'\n")
    done = program(tmp_path, PROGRAM + "\nimport sys; assert sys.path[0] == ''")
    assert done.returncode == 0 and "names of Python packages" not in done.stderr, done.stderr


def test_beside_the_notebook_what_was_imported_already_is_told(tmp_path):
    (tmp_path / "docker.py").write_text("")
    done = program(
        tmp_path, "import docker, labkit\ntry:\n labkit.open('00')\nexcept Exception as fault:\n print(fault)"
    )
    assert "docker.py, beside this notebook, was imported in place of" in done.stdout and "restart" in done.stdout


def test_beside_the_notebook_a_folder_that_is_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    text = "import os; os.rmdir(os.getcwd())\n" + PROGRAM.split("import docker, mat")[0]
    done = program(tmp_path / "gone", text)
    assert "NoEngine Nothing answers there." in done.stdout, done.stderr
