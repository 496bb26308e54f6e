"""The line below a cell that works for long, as a notebook's front end gets it."""

from __future__ import annotations

import inspect
import re
import threading
from types import SimpleNamespace

import pytest
from jupyter_client.manager import start_new_kernel

from labkit.course.busy import Busy
from labkit.course.topic import Topic, experiment

CELL = """
import time
from labkit.course.busy import Busy
with Busy() as busy:
    busy.share(0.4, "docker run: 4 of 10 & more")
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
    assert shown[-2] == ("update_display_data", {})
    lines = shown[1:-2]
    assert len(lines) >= 2 and {kind for kind, _ in lines} == {"update_display_data"}
    texts = [data["text/plain"] for _, data in lines]
    assert {re.sub(r"\d+ s$", "N s", text) for text in texts} == {"Working: 40 % · docker run: 4 of 10 & more · N s"}
    assert texts[0] != texts[1]
    assert "10 &amp; more" in lines[0][1]["text/html"] and 'role="status"' in lines[0][1]["text/html"]


def test_outside_a_notebook_it_does_nothing():
    before = threading.active_count()
    with Busy() as busy:
        busy.say("anything")
        assert threading.active_count() == before


def test_an_experiment_tells_what_it_does_only_while_it_runs():
    on = SimpleNamespace(progress=None)

    def count(on, n=1, *, progress=None):
        on.progress("one of two")
        progress(0.5, "half")
        return n

    def fail(on):
        assert on.progress
        raise ValueError

    class Trial(Topic):
        counts = experiment(count)
        fails = experiment(fail)

    trial = Trial(on)
    assert trial.counts(n=3) == 3 and on.progress is None
    assert list(inspect.signature(trial.counts).parameters) == ["n", "progress"]
    assert repr(trial) == "<experiments on trial: counts, fails>"
    with pytest.raises(ValueError):
        trial.fails()
    assert on.progress is None
