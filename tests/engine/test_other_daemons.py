"""An engine that goes away in mid-run: a second dockerd, of this test's own, that may be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from labkit import engine as engines
from labkit.engine.faults import explained
from labkit.engine.session import dead_sessions
from labkit.errors import EngineGone, NoEngine
from labkit.labs.out_of_memory import oom

from ..conftest import open_context
from ..helpers import wait_until
from .daemons import second_daemon


@pytest.fixture(scope="module")
def daemon():
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    with second_daemon() as made:
        yield made


@pytest.fixture
def live(daemon):
    """The second engine, up and with the lab's images."""
    if not daemon._answers():
        daemon.kill()
        daemon.start()
    return engines.find(daemon.endpoint)


@contextlib.contextmanager
def losing(engine):
    """A context whose engine is killed in the block: closing can't clean up then, and says so in a sentence as well.

    What the block raises is not hidden by that sentence.
    """
    opened = open_context(engine)
    yield opened.__enter__()
    with pytest.raises(NoEngine, match="Nothing answers there"):
        opened.__exit__(None, None, None)


def test_it_is_an_engine_of_its_own(live, engine):
    with open_context(live) as on:
        assert on.facts.endpoint == live.endpoint != engine.endpoint
        assert on.docker.containers.run(on.image(), ["echo", "live"], remove=True) == b"live\n"


def test_gone_while_memory_grows(live, daemon):
    with losing(live) as on:
        on.observer.machine()
        killer = threading.Timer(2.0, daemon.kill)
        killer.start()
        with pytest.raises((EngineGone, NoEngine)) as caught:  # the latter where its own clean-up met it first
            oom.grow(on, "64m", pace=1.0)
        killer.join()
        assert caught.value.next_step, str(caught.value)


def test_gone_in_the_middle_of_a_stream(live, daemon):
    with losing(live) as on:
        running = on.docker.containers.run(on.image(), ["sleep", "60"], detach=True, network_mode="none")
        with pytest.raises(EngineGone, match="The engine stopped answering"), explained(live.endpoint):
            for number, _ in enumerate(running.stats(decode=True)):
                if number == 1:
                    daemon.kill()


def test_what_was_left_then_is_swept_when_it_is_back(live):
    """The test before this one could not clean up: its engine was gone."""
    from labkit.engine.session import Session, sessions

    session = Session(live, "tests")
    try:
        patience = time.monotonic() + 20
        while sessions(session.docker) and time.monotonic() < patience:
            session.sweep()
            time.sleep(0.2)
        assert sessions(session.docker) == {}
    finally:
        session.close()


@pytest.mark.parametrize("stop", ["kill", "terminate"], ids=["its containers live on", "its containers end"])
def test_helpers_go_on_where_the_daemon_was_restarted(live, daemon, stop):
    with open_context(live) as on:
        visitor = on.visitor("none")
        observed, visited = on.observer.machine(), visitor.get("http://127.0.0.1:1/")
        getattr(daemon.process, stop)()
        daemon.process.wait(60)
        daemon.start()
        assert on.observer.machine()["boot_id"] == observed["boot_id"]
        assert visitor.get("http://127.0.0.1:1/").error == visited.error != ""


def test_a_learner_who_is_reading_is_not_taken_for_dead_after_a_restart(live, daemon):
    with open_context(live) as on:
        kept = on.docker.volumes.create(on.session.name("kept"))
        daemon.process.terminate()
        daemon.process.wait(60)
        daemon.start()
        with open_context(live) as beside:
            wait_until(lambda: on.session.id not in dead_sessions(beside.docker), 20)
            beside.session.sweep()
        kept.reload()


def test_gone_between_two_cells(live, daemon):
    from labkit.engine.rawhttp import request

    with losing(live) as on:
        on.image()
        daemon.kill()
        with pytest.raises(NoEngine, match="Nothing answers there"), explained(live.endpoint):
            on.docker.containers.run(on.image(), ["true"])
        with pytest.raises(NoEngine, match="Nothing answers there"):
            request(live, "GET", "/_ping")
        with pytest.raises(NoEngine, match="Nothing answers there") as caught:
            oom.grow(on)
        assert caught.value.engine == live.endpoint and "labkit doctor" in caught.value.next_step


def test_a_lab_on_an_engine_that_is_gone_closes_quietly(live, daemon):
    from labkit.lab import Lab, close_quietly

    lab = Lab("tests", live)
    lab.docker.containers.create(lab.context.image(), ["true"])
    daemon.kill()
    close_quietly(lab)
    with pytest.raises(NoEngine):
        engines.find(live.endpoint)


def test_a_daemon_that_hangs_is_told_apart_from_one_that_is_gone(live, daemon, monkeypatch):
    from labkit.engine import host

    monkeypatch.setattr(host, "ANSWER_WITHIN", 0.5)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(EngineGone, match="did not answer in time") as caught:
            engines.find(live.endpoint)
        assert "overloaded, paused or unreachable" in caught.value.cause
    finally:
        daemon.process.send_signal(signal.SIGCONT)
