"""The line below a cell that works for long, as a notebook's front end gets it."""

from __future__ import annotations

import inspect
import re
import threading
from types import SimpleNamespace

import pytest
from jupyter_client.manager import start_new_kernel

from labkit.course.busy import Busy
from labkit.course.context import Context
from labkit.course.topic import Topic, experiment
from labkit.saying import listening, say

SESSION = SimpleNamespace(engine=SimpleNamespace(endpoint="none"))

CELL = """
import time
from labkit.course.busy import Busy
from labkit.saying import say
with Busy():
    say("docker run: 4 of 10 & more", 0.4)
    time.sleep(SECONDS)
print("done")
"""


def displayed(client, code: str) -> list[tuple[str, dict]]:
    """What a cell shows: types of messages, and their data."""
    shown = []

    def see(message) -> None:
        if message["msg_type"] in ("display_data", "update_display_data", "stream"):
            content = message["content"]
            shown.append((message["msg_type"], content.get("data", content.get("text"))))

    reply = client.execute_interactive(code, output_hook=see, timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]
    return shown


def test_it_appears_counts_and_goes():
    manager, client = start_new_kernel()
    try:
        assert displayed(client, CELL.replace("SECONDS", "0.5")) == [("stream", "done\n")]
        shown = displayed(client, CELL.replace("SECONDS", "4.2"))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert shown[0] == ("display_data", {}) and shown[-1] == ("stream", "done\n")
    # VS Code draws nothing anew for an output that has nothing: it gets one first in which there is nothing to be seen.
    empty = ("update_display_data", {"text/html": "", "text/plain": ""})
    assert shown[-3:-1] == [empty, ("update_display_data", {})]
    lines = shown[1:-3]
    assert len(lines) >= 2 and {kind for kind, _ in lines} == {"update_display_data"}
    texts = [data["text/plain"] for _, data in lines]
    assert {re.sub(r"\d+ s$", "N s", text) for text in texts} == {"Working: 40 % · docker run: 4 of 10 & more · N s"}
    assert texts[0] != texts[1]
    assert "10 &amp; more" in lines[0][1]["text/html"] and 'role="status"' in lines[0][1]["text/html"]


def test_outside_a_notebook_it_does_nothing():
    heard, before = [], threading.active_count()
    with listening(lambda line, done=None: heard.append((line, done))), Busy():
        say("anything")
        assert threading.active_count() == before
    assert heard == [("anything", None)], "a command's own listener goes on hearing"


class Trial(Topic):
    """An experiment that says what it does."""

    def count(on, n=1):
        on.say("one of two")
        on.say("half", 0.5)
        return n

    counts = experiment(count)


def heard_by(heard: list):
    return listening(lambda line, done=None: heard.append((line, done)))


def test_an_experiment_tells_what_it_does_to_whoever_listens():
    trial = Trial(Context(SESSION, None, None))
    heard: list = []
    with heard_by(heard):
        assert trial.counts(n=3) == 3
    trial.counts()
    assert heard == [("one of two", None), ("half", 0.5)]
    assert list(inspect.signature(trial.counts).parameters) == ["n"]


def test_two_that_work_at_once_on_one_lab_do_not_hear_each_other():
    """A widget's thread ends while a cell still works: neither speaks for the other, nor silences it."""
    on = Context(SESSION, None, None)
    widget, cell = [], []

    def press():
        with heard_by(widget):
            Trial(on).counts()

    with heard_by(cell):
        thread = threading.Thread(target=press)
        thread.start()
        thread.join()
        on.say("still here")
    assert cell == [("still here", None)] and [line for line, _ in widget] == ["one of two", "half"]


def test_who_listens_within_is_heard_and_then_the_one_before_again():
    outer, inner = [], []
    with heard_by(outer):
        with pytest.raises(ValueError), heard_by(inner):
            say("inner")
            raise ValueError
        say("outer")
    say("nobody")
    assert (outer, inner) == ([("outer", None)], [("inner", None)])
