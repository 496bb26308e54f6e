"""tools/setup: a lab asks nobody for packages."""

import os
import re
import shutil
import subprocess

import pytest

from labkit.paths import COURSE

SETUP = COURSE / "tools/setup"


@pytest.fixture
def machine(tmp_path):
    """A PATH of few programs: ``machine(python=...)`` runs the setup for a lab there; apt-get and sudo would be noted."""
    folder, record = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    for name in ("bash", "dirname", "touch"):
        (folder / name).symlink_to(shutil.which(name))
    for name in ("sudo", "apt-get"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} $@ >> {record}\n")
        (folder / name).chmod(0o755)

    def run(python: str):
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
        environment = {"PATH": str(folder), "HOME": str(tmp_path), "VENV": str(tmp_path / "venv")}
        done = subprocess.run([SETUP, "lab"], env=environment, capture_output=True, text=True)
        assert not record.exists(), record.read_text()
        return done

    return run


def test_an_old_python_is_a_sentence(machine):
    done = machine('[ "$1" = -V ] && echo Python 3.10.12; exit 1')
    assert done.returncode == 1 and "Python 3.11 or newer; python3 is Python 3.10.12 here" in done.stderr


def test_only_tests_ask_for_other_programs():
    before_tests, tests = SETUP.read_text().split('if [ "$purpose" = test ]; then', 1)
    assert re.findall(r"^need .*", before_tests, flags=re.M) == ["need python3 python3"]
    assert not re.findall(r"^\s*need .*(qemu|e2fs|venv)", tests, flags=re.M)


def test_pip_comes_from_packages_that_the_bare_python_can_fetch():
    """The setup imports this with a Python that has no packages: it must need none."""
    code = "import sys, labkit.debian; print({m.split('.')[0] for m in sys.modules} - {*sys.stdlib_module_names})"
    environment = {**os.environ, "PYTHONPATH": str(COURSE)}
    done = subprocess.run(
        [shutil.which("python3"), "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("{'labkit', '__main__'}", "{'__main__', 'labkit'}")
    assert "debian.fetch" in SETUP.read_text()
