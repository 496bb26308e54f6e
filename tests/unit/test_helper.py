"""A helper's life: the real agent as a process of this machine, in place of its container."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from docker.errors import APIError, NotFound

from labkit.errors import EngineGone, LabError, NotPossibleHere
from labkit.observe import helper

from ..helpers import wait_until


class Machine:
    """An engine with one kind of container: ``command`` as a process, of which one may bear the helper's name.

    ``refusals`` are what the next starts fail with.
    """

    def __init__(self):
        self.command = [sys.executable, "-u", str(helper.AGENT / "main.py"), "commands"]
        self.refusals: list[Exception] = []
        self.made: list[SimpleNamespace] = []
        self.named: SimpleNamespace | None = None
        api = SimpleNamespace(
            create_container=self.create, put_archive=lambda *_: None, start=self.start,
            inspect_container=lambda name: {"State": self.state(self.made[int(name)])},
        )  # fmt: skip
        self.session = SimpleNamespace(
            docker=SimpleNamespace(api=api, containers=SimpleNamespace(get=self.get)),
            name="{}-1a2b3c4d".format, engine=SimpleNamespace(endpoint="unix:///x", owned=False),
        )  # fmt: skip

    def create(self, *_, name, **__):
        if self.named is not None:
            raise APIError("409 Client Error", explanation=f"Conflict. The container name {name} is already in use")
        self.named = SimpleNamespace(number=len(self.made), process=None, remove=self.remove)
        self.named.line = Line()
        self.made.append(self.named)
        return {"Id": str(self.named.number)}

    def start(self, name):
        if self.refusals:
            raise self.refusals.pop()
        self.made[int(name)].line.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=self.made[int(name)].line.into, stderr=subprocess.STDOUT
        )
        os.close(self.made[int(name)].line.into)

    def get(self, name):
        assert name == "labkit-tester-1a2b3c4d"
        if self.named is None:
            raise NotFound("404")
        return self.named

    def remove(self, **_):
        if self.named.line.process is not None:
            self.named.line.process.kill()
        self.named = None

    def state(self, container):
        code = container.line.process.wait(10)
        return {"Running": False, "ExitCode": code}


class Line:
    """A container's standard input and output; what is no JSON came from its standard error."""

    def __init__(self):
        self.process: subprocess.Popen | None = None
        self.out, self.into = os.pipe()

    def send(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except (OSError, ValueError) as fault:
            raise EngineGone("The connection to the container has ended.") from fault

    def lines(self):
        with open(self.out) as lines:
            for line in lines:
                yield (1 if line.startswith("{") else 2), line.rstrip("\n")

    def close(self):
        if self.process is not None:
            self.process.stdin.close()


class Kind(helper.Helper):
    role = "tester"
    modules = ("commands",)

    def _host_config(self, api):
        return {}


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr(helper.images, "ensure", lambda *_: "labkit/python:1")
    monkeypatch.setattr(helper, "AttachedStream", lambda _, name: made.made[int(name)].line)
    yield made
    for container in made.made:
        if container.line.process is not None:
            container.line.process.kill()
            container.line.process.wait()
            container.line.process.stdin.close()


@pytest.fixture
def tester(machine):
    return Kind(machine.session)


def test_it_starts_when_first_asked_and_answers_by_number(machine, tester):
    assert machine.made == [] and not tester.alive
    slow = tester.stream("run", script="sleep 0.3; echo slow")
    assert tester.call("run", script="echo quick")["output"] == "quick\n"
    assert not slow.ended and slow.result()["output"] == "slow\n"
    assert len(machine.made) == 1 and tester.alive


def test_it_has_the_operations_of_its_modules_alone(tester):
    with pytest.raises(NotPossibleHere, match="The tester could not do this: KeyError: 'processes'"):
        tester.call("processes")


@pytest.mark.parametrize("code", ["raise ImportError('no luck')", "import sys; sys.exit('no luck')"])
def test_one_that_dies_at_once_says_its_last_words(machine, tester, code):
    machine.command = [sys.executable, "-c", code]
    with pytest.raises(EngineGone, match="tester ended with exit code 1.*no luck"):
        tester.call("clocks")
    with pytest.raises(EngineGone, match="no luck"):  # again: not "did not answer in time"
        tester.call("clocks")


def test_a_start_that_the_engine_refuses_is_told_in_its_words_and_tried_again(machine, tester):
    machine.refusals = [APIError("500 Server Error", explanation="OCI runtime create failed: no such file")]
    with pytest.raises(LabError, match="OCI runtime create failed"):
        tester.call("clocks")
    assert not tester.alive
    assert tester.call("clocks")["wall"] > 0


def test_an_interrupt_in_mid_start_leaves_nothing_in_the_way(machine, tester):
    machine.refusals = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        tester.call("clocks")
    assert machine.named is not None, "made, and bearing the name"
    assert tester.call("clocks")["wall"] > 0


def test_what_waits_when_it_ends_is_told_why(machine, tester):
    stream = tester.stream("run", script="echo gone wild >/proc/$PPID/fd/2; kill -9 $PPID")
    with pytest.raises(EngineGone, match="tester ended with exit code -9. Its last words: gone wild"):
        stream.result()
    stream.stop()  # there is nobody to be told
    assert tester.call("clocks")["wall"] > 0 and len(machine.made) == 2


def test_a_line_that_broke_unnoticed_is_no_fault_of_the_next_call(machine, tester):
    """As when the daemon was restarted, and whether its container lived on or not."""
    tester.call("clocks")
    line = machine.named.line
    line.process.stdin.close()
    first = machine.named
    assert tester.call("clocks")["wall"] > 0
    assert machine.named is not first and len(machine.made) == 2


def test_closing_ends_it(machine, tester):
    tester.call("clocks")
    tester.close()
    assert machine.named.line.process.wait(10) == 0
    wait_until(lambda: not tester.alive, 10)
