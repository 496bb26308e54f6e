"""The files that Binder reads: whole, consistent, and in the place where it looks."""

import os
import subprocess

from labkit.engine.embedded import host
from labkit.paths import COURSE


def test_binder_looks_at_the_root():
    # With a binder/ folder or a Dockerfile, repo2docker would ignore apt.txt, postBuild and environment.yml.
    assert not (COURSE / "binder").exists() and not (COURSE / ".binder").exists()
    assert not (COURSE / "Dockerfile").exists()


def test_python_is_pinned_as_binder_wants_it():
    assert "- python=3.12\n" in (COURSE / "environment.yml").read_text()


def test_post_build_is_a_script_that_builds_the_engine():
    script = COURSE / "postBuild"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    lines = script.read_text().splitlines()
    assert "labkit engine build" in lines
    assert any("pip install --no-deps" in line for line in lines), "conda already has the dependencies"
    assert lines.index("labkit engine build") > next(n for n, line in enumerate(lines) if "pip install" in line)


def test_apt_packages_are_what_labkit_would_fetch_otherwise(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    packages = (COURSE / "apt.txt").read_text().split()
    assert {*host.qemu_kit().packages, *host.MKE2FS.packages} <= set(packages)
    assert packages == sorted(set(packages))


def test_the_commands_binder_calls_exist():
    from labkit.cli import parser

    options = parser().parse_args(["engine", "build"])
    assert options.command == "engine" and options.action == "build"
