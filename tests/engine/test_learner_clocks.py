"""Kind 5, clocks: the engine's machine and the notebook's tell different times, and nothing waits for that."""

from __future__ import annotations

import time

import pytest

from labkit import images
from labkit.course.state import events_of
from labkit.engine.session import STARTING, Session, dead_sessions

REAL = time.time

#: By how many seconds the notebook's clock is ahead of the engine's.
AHEAD = {"a minute behind": 60, "an hour behind": 3600, "an hour ahead": -3600, "as after a night's sleep": 8 * 3600}


@pytest.fixture(params=AHEAD.values(), ids=AHEAD)
def ahead(request, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: REAL() + request.param)
    return request.param


@pytest.mark.timeout(30)
def test_clocks_what_has_happened_is_told_at_once(ahead, lab_context):
    with lab_context.container(lab_context.image(), ["true"], network_mode="none") as container:
        container.wait()
        began = time.monotonic()
        found = {action for action, _ in events_of(lab_context, lab_context.docker.api.inspect_container(container.id))}
        assert time.monotonic() - began < 5
        assert {"start", "die"} <= found


def test_clocks_a_session_that_begins_is_spared(ahead, engine, lab_context, monkeypatch):
    """Its keeper is created, but does not run yet: for a minute by the engine's clock, it lives."""
    session = Session(engine, "tests", lambda: images.ensure(session.docker, images.BUSYBOX))
    try:
        monkeypatch.setattr(session.docker.api, "start", lambda container: None)
        session.show_life()
        assert session.id not in dead_sessions(lab_context.docker)
        monkeypatch.setattr("labkit.engine.session.STARTING", -STARTING)
        assert session.id in dead_sessions(lab_context.docker)
    finally:
        session.close()
