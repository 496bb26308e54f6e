"""What all tests share: an engine, contexts that prove they leave nothing, subprocesses, no silent skips.

With ``CI=true`` in the environment a skipped test fails the run: what could not be tested on
the machine that decides has not been tested.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from labkit import engine as engines
from labkit import images
from labkit.course.context import Context
from labkit.engine.session import Session
from labkit.observe import Observer
from labkit.paths import COURSE

from .chromium import chromium
from .helpers import left_behind


def pytest_configure():
    # A job in the background, or one under nohup, inherits signals that are ignored. The tests send them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Set on some machines where tests run, and hardly on a learner's: one hid images that were half compiled, the other
    # a command's complaint about a reader that had gone.
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)


def pytest_terminal_summary(terminalreporter):
    if _skips_fail(terminalreporter):
        terminalreporter.section("skipped tests fail the run, because CI=true")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == pytest.ExitCode.OK and reporter is not None and _skips_fail(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skips_fail(reporter) -> bool:
    return os.environ.get("CI") == "true" and bool(reporter.stats.get("skipped"))


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = chromium(playwright)
        yield found
        found.close()


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory, monkeypatch):
    """A state folder of the test's own; the user's cache of packages and images is shared."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("LABKIT_STATE", str(folder))
    return folder


@pytest.fixture(scope="session")
def engine():
    """The engine that ``LABKIT_ENGINE`` names, or the first that answers."""
    with engines.find(images=images.archives) as found:
        yield found


@pytest.fixture(autouse=True)
def children_find_it(request, monkeypatch):
    """Kernels and commands that a test starts meet the shared engine also where the tests have started it themselves;
    and it outlives each of them.
    """
    engine = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    ours = isinstance(engine, engines.OwnedEngine)  # some unit tests have a parameter of that name
    if ours:
        for name, value in {**engine.environment(), "LABKIT_ENGINE": "host"}.items():
            monkeypatch.setenv(name, value)
    yield
    assert not ours or engine.alive(), "this test ended the engine that all share"


@contextlib.contextmanager
def open_context(engine, lab: str = "tests") -> Iterator[Context]:
    """A context on a fresh session, as a lab has it; proves at its end that nothing is left."""
    session = Session(engine, lab, None if engine.owned else lambda: images.ensure(session.docker, images.BUSYBOX))
    observer = Observer(session)
    try:
        yield Context(session, observer, engines.read_facts(session.docker, engine))
    finally:
        observer.close()
        removed = session.close()
        assert removed.kept == []
        assert left_behind(engine, session.id) == []


@pytest.fixture
def lab_context(engine):
    """A context of this test's own: nothing else is in its session."""
    with open_context(engine) as on:
        yield on


@pytest.fixture(scope="module")
def module_context(engine):
    """A context that the tests of a module share: starting an observer costs a second."""
    with open_context(engine) as on:
        yield on


class Script:
    """A Python program in a process of its own, with the same labkit; text in, lines out."""

    def __init__(self, code: str, *, user: int | None = None, **environment: str):
        path = os.pathsep.join(part for part in (str(COURSE), os.environ.get("PYTHONPATH")) if part)
        who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, **environment}, **who,
        )  # fmt: skip

    def line(self) -> str:
        """Its next line of output; the test fails with its errors where there is none."""
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f"the script ended: {self.process.stderr.read()}")
        return text.strip()

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """Wait for its end: exit status, rest of the output, errors."""
        out, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, errors


@pytest.fixture
def script():
    """Start scripts (:class:`Script`); what still runs at the test's end is killed."""
    started: list[Script] = []

    def start(code: str, **options) -> Script:
        started.append(Script(code, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()
