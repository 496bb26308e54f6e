"""JupyterLab as `labkit lab` starts it, and a real Chromium in front of it.

One server serves all labs. While a lab's widgets are pressed, the next labs' cells already run: most of a lab is
waiting, and one after the other they would take three times as long.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import nbformat
import pytest

from labkit.paths import COURSE
from tests.chromium import choose, quiet
from tests.emulated import PRESSED, emulated

#: All cells stay in the page, so that each can be measured; nothing is written into the checkout.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}

#: Keeps what the lines below busy cells have said: they are gone when the cells have run.
WATCH_BUSY = """() => {
  window.busyLines = [];
  const look = () => document.querySelectorAll('.labkit-busy').forEach(e => window.busyLines.push(e.textContent));
  new MutationObserver(look).observe(document.querySelector('.jp-Notebook'), {childList: true, subtree: true});
}"""

NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

#: Seconds that a whole lab may take, on a busy machine.
PATIENCE = 600

#: Labs whose cells run while one is pressed.
AHEAD = 2


def pytest_collection_modifyitems(config, items):
    """Where the engine is emulated, a few labs stand for the others, unless all are asked for by an empty ``-m``."""
    if not config.option.markexpr or not any("lab_page" in item.fixturenames for item in items) or not emulated():
        return
    left = [one for one in items if "lab_page" in one.fixturenames and one.callspec.params["lab"][:2] not in PRESSED]
    items[:] = [one for one in items if one not in left]
    config.hook.pytest_deselected(items=left)


class JupyterServer:
    """One `labkit lab` process; `url` opens the lab it was asked for."""

    def __init__(self, lab: str, state: Path):
        self.lines: list[str] = []
        self._found = threading.Event()
        self.url = ""
        for name, settings in SETTINGS.items():
            file = state / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(settings))
        # As a learner has it: solutions are folded away and don't run.
        environment = {**os.environ, "LABKIT_STATE": str(state), "JUPYTERLAB_SETTINGS_DIR": str(state / "settings")}
        environment.pop("LABKIT_SOLUTIONS", None)
        port = os.environ.get("LABKIT_BROWSER_PORT", "8930")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labkit", "lab", lab, "--no-browser", "--port", port],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        assert self._found.wait(300), "JupyterLab gave no address:\n" + "".join(self.lines)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/\S*token=\w+\S*", line)
            if found and not self.url:
                self.url = found[0]
                self._found.set()

    def address(self, lab: str) -> str:
        """Where another lab opens, in a workspace of its own."""
        base, token = re.fullmatch(r"(http://[^/]+)/\S*token=(\w+)\S*", self.url).groups()
        return f"{base}/lab/workspaces/lab{lab[:2]}/tree/notebooks/{lab}.ipynb?token={token}"

    def _ask(self, path: str, method: str = "GET"):
        base, token = re.fullmatch(r"(http://[^/]+)/\S*token=(\w+)\S*", self.url).groups()
        request = urllib.request.Request(base + path, method=method, headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def shut_down(self, lab: str) -> None:
        """End a lab's kernel, as a learner does who is done with it."""
        for session in self._ask("/api/sessions"):
            if session["path"].endswith(f"{lab}.ipynb"):
                self._ask(f"/api/sessions/{session['id']}", "DELETE")

    def close(self) -> None:
        """End the server, and with it its kernels."""
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            os.killpg(self.process.pid, sign)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue


class Course:
    """All labs behind one server: a page per lab, the next ones begun ahead of time."""

    def __init__(self, browser, state: Path, order: list[tuple[str, bool]]):
        self._browser, self._order = browser, order
        self._server = JupyterServer(order[0][0], state)
        self._pages: dict[tuple[str, bool], object] = {}

    def page(self, lab: str, whole: bool = True):
        """A lab whose cells have run, all or its widgets', in a fresh browser profile, ready for clicks."""
        page = self._begun(lab, whole)
        at = self._order.index((lab, whole)) + 1
        for later in self._order[at : at + AHEAD]:
            self._begun(*later)
        wait_for_cells(page)
        return page

    def _begun(self, lab: str, whole: bool):
        if (lab, whole) not in self._pages:
            page = self._browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            listen(page)
            first = (lab, whole) == self._order[0]
            open_notebook(page, self._server.url if first else self._server.address(lab))
            quiet(page.locator(".jp-Notebook-ExecutionIndicator:not([data-status='idle'])"), 3)
            page.evaluate(WATCH_BUSY)
            start_cells(page) if whole else start_widgets(page, lab)
            self._pages[lab, whole] = page
        return self._pages[lab, whole]

    def leave(self, lab: str, whole: bool = True) -> None:
        """Close a lab's page and end its kernel."""
        page = self._pages.pop((lab, whole), None)
        if page is not None:
            page.context.close()
            self._server.shut_down(lab)

    def close(self) -> None:
        """Close all that is still open."""
        for each in list(self._pages):
            self.leave(*each)
        self._server.close()


@pytest.fixture(scope="session")
def course(browser, tmp_path_factory, request):
    """The labs that this run tests, in order."""
    asked = [item.callspec.params for item in request.session.items if "course" in item.fixturenames]
    order = [(params["lab"], params["whole"]) for params in asked]
    found = Course(browser, tmp_path_factory.mktemp("browser"), list(dict.fromkeys(order)))
    yield found
    found.close()


@pytest.fixture
def lab_page(course, lab, whole):
    """The page of the lab that the test names, its cells run; closed at the end, its kernel ended."""
    yield course.page(lab, whole)
    course.leave(lab, whole)


def listen(page) -> None:
    """Keep what goes wrong on a page, ``page.errors``, and which files Chromium dropped, ``page.dropped``.

    A lab makes networks; when an interface comes or goes, Chromium drops what it is loading.
    """
    page.errors, page.dropped = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.errors.append(line.text))
    page.on("requestfailed", lambda asked: asked.failure == NETWORK_CHANGED and page.dropped.append(asked.url))


def own_errors(page) -> list[str]:
    """What went wrong on the page itself: all but the dropped files, and what says that it misses one of them."""
    return [
        error for error in page.errors
        if NETWORK_CHANGED not in error and not any(url in error for url in page.dropped)
    ]  # fmt: skip


def open_notebook(page, address: str) -> None:
    """Open a notebook and wait for its kernel: cells that are run before lose their outputs and never run.

    JupyterLab asks for a kernel, and for each of its own files, once. Where Chromium dropped one of them
    (another lab makes networks), the page is loaded again, as a person would.
    """
    from playwright.sync_api import TimeoutError as TooLate

    for last in (False, False, False, True):
        before = len(page.dropped)
        page.errors.clear()  # those of a load that is thrown away
        try:
            page.goto(address)
            page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
            if last or len(page.dropped) == before:
                return
        except TooLate:
            if last:
                raise


def start_cells(page) -> None:
    """Run → Run All Cells."""
    choose(page, "Run", "Run All Cells")
    page.locator(".jp-CodeCell .jp-InputPrompt", has_text="[*]").first.wait_for(state="attached", timeout=30_000)


def start_widgets(page, lab: str) -> None:
    """Run the cell that opens the lab and each that is one call of the lab's: predictions, widgets, checks, the quiz.

    Saved outputs go before, so that all that is seen is live.
    """
    choose(page, "Edit", "Clear Outputs of All Cells")
    notebook = nbformat.read(COURSE / "notebooks" / f"{lab}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for number, source in enumerate(code):
        lines = [line for line in source.splitlines() if line and not line.startswith("#")]
        if "labkit.open(" in source or (len(lines) == 1 and lines[0].startswith("lab.")):
            page.locator(".jp-CodeCell").nth(number).locator(".jp-InputPrompt").click()
            page.keyboard.press("Control+Enter")


def wait_for_cells(page) -> None:
    """Wait until no cell waits for its turn: JupyterLab marks those with a star, also while the kernel says nothing."""
    quiet(page.locator(".jp-CodeCell .jp-InputPrompt", has_text="[*]"), 1.5, PATIENCE)
