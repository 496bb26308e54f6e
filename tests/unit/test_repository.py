"""What holds the repository together: lint stops `make test`, and what is said of versions agrees."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest

import labkit
from labkit.paths import COURSE

from ..engine import conftest


@pytest.fixture
def make(tmp_path):
    """`make` with the repository's Makefile, where every program only notes its call; ``make("test", fails="ruff")``."""
    shutil.copy(COURSE / "Makefile", tmp_path)
    record = tmp_path / "called"

    def run(goal: str, fails: str):
        for name in ("venv/bin/ruff", "venv/bin/mypy", "venv/bin/python", "venv/bin/labkit", "tools/setup"):
            program = tmp_path / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> {record}\nexit {int(program.name == fails)}\n')
            program.chmod(0o755)
        done = subprocess.run(["make", goal, "VENV=venv"], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, record.read_text()

    return run


@pytest.mark.parametrize("fails, call", [("ruff", "ruff check ."), ("mypy", "mypy labkit")])
def test_what_lint_finds_fails_make_test_before_any_test(make, fails, call):
    status, called = make("test", fails=fails)
    assert status and call in called and "pytest" not in called


def test_lint_precedes_all_tests(make):
    status, called = make("test", fails="")
    assert status == 0
    assert called.index("ruff format --check .") < called.index("tests/unit") < called.index("labkit run --all")


def test_what_measures_runs_after_what_runs_side_by_side(make):
    called = make("test", fails="")[1].splitlines()
    lanes, alone = [line for line in called if line.endswith(" tests/engine")]
    assert "-n auto" in lanes and "not slow and not alone" in lanes
    assert " -n " not in alone and "alone and not slow" in alone


def test_files_that_share_more_than_an_engine_take_one_lane():
    """xdist's own mark for that does nothing where pytest is newer than it, and nothing says so."""
    scheduler = conftest.pytest_xdist_make_scheduler(SimpleNamespace(getvalue=lambda _: ["popen"]), None)

    def lane(name: str) -> str:
        assert (COURSE / f"tests/engine/test_{name}.py").exists()
        return scheduler._split_scope(f"tests/engine/test_{name}.py::test_of_it[a@b::c]")

    for names in conftest.TOGETHER.values():
        assert len({lane(name) for name in names}) == 1
    assert len({lane(name) for name in ("carry", "podman", "oom", "labels")}) == 4


def test_a_test_that_fails_fails_make_test(make):
    assert make("test", fails="python")[0]


def test_ruff_looks_at_everything():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files", "."], cwd=COURSE, capture_output=True, text=True
    )
    seen = set(done.stdout.split())
    wanted = [
        COURSE / "setup.py",
        COURSE / "tools" / "screenshots",
        COURSE / "tools" / "site",
        *(COURSE / "notebooks").glob("*.ipynb"),
    ]
    for folder in ("labkit", "tests"):
        wanted += (COURSE / folder).rglob("*.py")
    assert {str(path) for path in wanted} <= seen


def test_the_changelog_begins_with_this_version():
    entries = re.findall(r"^## \[(.*?)\] - \d{4}-\d\d-\d\d$", (COURSE / "CHANGELOG.md").read_text(), flags=re.M)
    assert entries[0] == labkit.__version__
    numbers = [tuple(map(int, entry.split("."))) for entry in entries]
    assert numbers == sorted(set(numbers), reverse=True)


def test_the_oldest_python_is_said_in_one_voice():
    project = tomllib.loads((COURSE / "pyproject.toml").read_text())
    oldest = project["project"]["requires-python"].removeprefix(">=")
    major, minor = oldest.split(".")
    assert project["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    setup = (COURSE / "tools" / "setup").read_text()
    assert f"version_info < ({major}, {minor})" in setup and f"Python {oldest} or newer" in setup
    assert f"Python ({oldest} or newer)" in (COURSE / "README.md").read_text()
