"""Errors are sentences."""

from __future__ import annotations

import pytest

from labkit import errors


def test_says_what_where_why_and_what_next():
    fault = errors.NoEngine("No answer.", cause="It is off.", next_step="Start it.", engine="unix:///x.sock")
    assert str(fault) == "No answer. (engine: unix:///x.sock) It is off. Start it."


def test_leaves_out_what_is_unknown():
    assert str(errors.LabError("It broke.")) == "It broke."


@pytest.mark.parametrize("kind", ["NoEngine", "EngineRefused", "EngineGone", "NotPossibleHere", "BadInput"])
def test_every_kind_can_be_caught_as_one(kind):
    with pytest.raises(errors.LabError) as caught:
        raise getattr(errors, kind)("It broke.")
    assert caught.value.what == "It broke."
