"""A smoke row of every engine that costs little: lab 00, as `labkit run --matrix` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from labkit.commands import matrix
from labkit.engine.embedded import packages
from labkit.paths import COURSE

#: Where a Podman answers already, its row is that one.
NATIVE = [row for row in matrix.ROWS if row.kind in ("native", "podman")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a second dockerd")
def test_lab_00_says_the_same_on_every_engine(tmp_path):
    page = tmp_path / "table.md"
    names = ",".join(row.name for row in NATIVE)
    command = [sys.executable, "-m", "labkit", "run", "00", "--matrix", names, "--json", "--table", str(page)]
    done = subprocess.run(command, cwd=COURSE, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    assert [entry["row"] for entry in found] == [row.name for row in NATIVE]
    for row, entry in zip(NATIVE, found, strict=True):
        facts = entry["report"]["engine"]
        if row.kind == "podman":
            assert facts["name"] == "Podman" and int(facts["version"].split(".")[0]) >= 5
        else:
            assert entry["how"] == "native" and facts["image_store"] == row.store
            assert facts["version"].startswith(packages.SUITES[row.suite])
        assert [lab["outcome"] for lab in entry["report"]["labs"]] == ["pass"], entry
    assert done.returncode == 0 and page.read_text().count("| ✓ |") == len(NATIVE)
