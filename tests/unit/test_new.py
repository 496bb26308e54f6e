"""``labkit new experiment``: a new experiment is files in one folder and its line, and then it is there."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.commands import new
from labkit.errors import BadInput
from labkit.paths import COURSE

from .test_isolation_figures import FACTS

#: A notebook's cell, on a context whose containers end at once.
USE = f"""
import contextlib
from types import SimpleNamespace as Stub
from labkit.engine import EngineFacts
from labkit.lab import Lab

@contextlib.contextmanager
def container(image, command, **options):
    yield Stub(wait=lambda: {{"StatusCode": 0}})

lab = Lab.__new__(Lab)
lab.context = Stub(facts={FACTS!r}, container=container, session=Stub(engine=Stub(endpoint="")))
run = lab.TOPIC.brand_new()
print(run, run.plot(), "brand_new" in repr(lab.TOPIC), sep="|")
"""


def run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def texts(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.suffix in (".py", ".json")]
    return {str(path.relative_to(folder)): path.read_text() for path in found}


@pytest.fixture
def copy(tmp_path):
    """The house, copied: what is added to it goes with the test."""
    shutil.copytree(COURSE / "labkit", tmp_path / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(COURSE / "data", tmp_path / "data", ignore=shutil.ignore_patterns("screenshots"))
    shutil.copy(COURSE / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "engine").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("lab", "name", "topic"),
    [("out_of_memory", "brand_new", "oom"), ("06", "xray.brand_new", "xray"), ("02-isolation-models", "brand_new", "isolation")],
)  # fmt: skip
def test_a_new_experiment_is_files_in_one_folder_and_its_line(copy, lab, name, topic):
    before = texts(copy)
    assert "labkit/labs/" in run(copy, "-m", "labkit", "new", "experiment", lab, name)
    after = texts(copy)
    (folder,) = {
        path.rpartition("/")[0] for path in after if path.startswith("labkit/") and after[path] != before.get(path)
    }
    assert folder.startswith("labkit/labs/")
    files = [f"{folder}/brand_new.py", f"{folder}/figures_brand_new.py", "tests/engine/test_brand_new.py"]
    assert set(after) - set(before) == set(files)
    topics = f"{folder}/__init__.py"
    assert {path for path in before if after[path] != before[path]} == {topics}
    changes = difflib.ndiff(before[topics].splitlines(), after[topics].splitlines())
    added = [line[2:] for line in changes if line.startswith("+ ") and "import" not in line]
    assert added == ["    brand_new = experiment(brand_new.brand_new)"]
    for check in (["check", "-q"], ["format", "--check", "-q"]):
        assert run(copy, "-m", "ruff", *check, topics, *files) == ""
    facts, picture, known = run(copy, "-c", USE.replace("TOPIC", topic)).strip().split("|")
    assert (facts, picture, known) == ("exit code 0", "Bar chart: how long one run took.", "True")


@pytest.mark.parametrize(
    ("lab", "name", "words"),
    [
        ("08", "grow", "There is lab.oom.grow already"),
        ("08", "oom", "There is labkit/labs/out_of_memory/oom.py and "),
        ("08", "Throttle", "no name for an experiment"),
        ("08", "two words", "no name for an experiment"),
        ("08", "class", "no name for an experiment"),
        ("08", "figures_more", "no name for an experiment"),
        ("06", "throttle", "engine_architecture has the topics parts, xray. Name one: parts.throttle"),
        ("08", "xray.throttle", "out_of_memory has the topics oom. Name one: oom.throttle"),
        ("99", "throttle", "There is no lab '99'"),
    ],
)
def test_what_is_taken_or_no_name_is_refused(lab, name, words):
    with pytest.raises(BadInput) as caught:
        new.begin(lab, name)
    assert words in str(caught.value)
