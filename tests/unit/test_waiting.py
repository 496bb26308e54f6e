"""Waiting has an end, and tells what was seen last."""

from __future__ import annotations

import itertools
import time

from labkit.waiting import wait_until


def test_it_ends_with_the_first_look_that_is_true():
    numbers = itertools.count()
    assert wait_until(lambda: next(numbers) >= 3, 10, every=0.001) is True
    assert next(numbers) == 4


def test_it_looks_once_even_without_time_and_gives_up_when_the_time_is_over():
    assert wait_until(lambda: ["seen"], 0) == ["seen"]
    began = time.monotonic()
    assert wait_until(lambda: 0, 0.1, every=0.01) == 0
    assert 0.1 <= time.monotonic() - began < 5
