"""Sizes and times, in and out."""

from __future__ import annotations

import pytest

from labkit import units
from labkit.errors import BadInput


@pytest.mark.parametrize(
    "text, count",
    [("32m", 32 * 1024**2), ("1g", 1024**3), ("512k", 512 * 1024), ("4096", 4096), (4096, 4096), ("64MB", 64 * 1024**2),
     ("100b", 100)],
)  # fmt: skip
def test_size_reads_what_docker_reads(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "much", "32x", "m", "1.2.3m", None, [], True, "0", 0, "-5m", -1, "-1"])
def test_size_refuses_the_rest_in_a_sentence(text):
    with pytest.raises(BadInput, match="is not a size") as caught:
        units.size(text)
    assert repr(text) in caught.value.what
    assert caught.value.next_step


@pytest.mark.parametrize(
    "count, text",
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (32 * 1024**2, "32 MiB"),
     (int(1.5 * 1024**3), "1.5 GiB"), (24 * 1024**3, "24 GiB"), (5000 * 1024**3, "5000 GiB")],
)  # fmt: skip
def test_show_size(count, text):
    assert units.show_size(count) == text


@pytest.mark.parametrize("seconds, text", [(0.0003, "0.3 ms"), (0.025, "25 ms"), (1.44, "1.4 s"), (90, "90.0 s")])
def test_show_time(seconds, text):
    assert units.show_time(seconds) == text


def test_yes_no():
    assert (units.yes_no(True), units.yes_no(False)) == ("yes", "no")
