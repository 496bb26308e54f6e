"""Files that several processes write, and waiting with a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from labkit.errors import EngineGone, LabError
from labkit.files import locked, taken, write_whole
from labkit.waiting import wait_until


def test_a_file_is_written_whole(tmp_path):
    write_whole(tmp_path / "a", "one ä\n")
    write_whole(tmp_path / "a", b"two\n", durable=True)
    assert (tmp_path / "a").read_bytes() == b"two\n"
    assert os.listdir(tmp_path) == ["a"]


def test_what_can_not_be_written_leaves_the_old_and_nothing_beside(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    with pytest.raises(OSError):
        write_whole(tmp_path / "a", "text")  # a folder can't be replaced by a file
    assert os.listdir(tmp_path) == ["a"]


def test_a_lock_is_held_by_one_and_gone_with_its_process(tmp_path):
    lock = tmp_path / "lock"
    assert not taken(lock)
    program = f"from labkit.files import locked\nfrom pathlib import Path\nwith locked(Path({str(lock)!r})):\n"
    program += "    print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        assert taken(lock)
        waited = []
        with locked(lock, lambda: (waited.append(True), other.kill())):
            assert waited == [True]
            assert taken(lock)
    assert not taken(lock)


def test_waiting_ends_with_the_answer():
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers), 5, "It never came.", every=0.001) == 7


def test_waiting_ends_with_a_sentence_or_with_the_last_answer():
    with pytest.raises(LabError, match="It never came"):
        wait_until(lambda: 0, 0.02, "It never came.", every=0.005)
    with pytest.raises(EngineGone, match="gone"):
        wait_until(lambda: 0, 0, lambda: EngineGone("It is gone."))
    assert wait_until(lambda: [], 0.01, every=0.005) == []


def test_the_last_question_is_asked_at_the_end_of_the_time():
    began = time.monotonic()
    assert wait_until(lambda: time.monotonic() - began >= 0.1, 0.1, every=60)
    assert time.monotonic() - began < 5
