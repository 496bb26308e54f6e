"""Programs from real packages, where fetching them goes wrong: a sentence, nothing left, and the next try works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from labkit.engine.embedded import host, programs
from labkit.errors import LabError
from labkit.paths import COURSE

FETCH = """
from labkit.engine.embedded import host, programs
from labkit.errors import LabError
from labkit.saying import listening
try:
    with listening(print):
        print(programs.ensure(host.MKE2FS) / "bin/mke2fs", flush=True)
except LabError as reason:
    print(f"LabError: {reason}")
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return tmp_path


def python(code: str, *before: str, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, [str(COURSE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [*before, sys.executable, "-u", "-c", code], env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_mirror_out_of_reach_is_a_sentence(cache, monkeypatch):
    monkeypatch.setenv("LABKIT_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(LabError, match="No package mirror can be reached") as caught:
        programs.ensure(host.MKE2FS)
    assert "LABKIT_MIRROR" in caught.value.next_step
    assert [path.name for path in (cache / "programs").iterdir()] == ["lock"]


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.0])
def test_killed_in_the_middle_the_next_one_makes_it_whole(cache, seconds):
    process = python(FETCH)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    place = programs.ensure(host.MKE2FS)
    done = subprocess.run([place / "bin/mke2fs", "-V"], capture_output=True, text=True)
    assert done.returncode == 0 and "mke2fs" in done.stderr
    assert {path.name for path in place.parent.iterdir()} == {"lock", place.name}


def test_two_at_once_make_one(cache):
    both = [python(FETCH) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].splitlines() for process in both]
    assert said[0][-1] == said[1][-1] == str(programs.folder(host.MKE2FS) / "bin/mke2fs")
    assert sum("Fetching mke2fs (once)" in lines for lines in said) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
@pytest.mark.parametrize("megabytes", [8, 26, 32])
def test_a_full_disk_is_a_sentence(cache, megabytes):
    small = f'mount -t tmpfs -o size={megabytes}m small {cache} && exec "$@"'
    process = python(FETCH, "unshare", "--mount", "sh", "-c", small, "sh")
    said = process.communicate(timeout=300)[0]
    assert "LabError: The disk under" in said and "LABKIT_CACHE" in said, said
