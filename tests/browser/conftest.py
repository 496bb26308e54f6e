"""JupyterLab as `labkit lab` starts it, and a real Chromium in front of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from labkit.commands.rerun import run_environment

CHROMIUM_FLAGS = [
    "--no-sandbox",  # CI runs as root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class JupyterServer:
    """One `labkit lab` process; `url` opens the lab it was asked for."""

    def __init__(self, lab: str, state: str):
        self.lines: list[str] = []
        self._found = threading.Event()
        self.url = ""
        environment = run_environment(None, state)
        environment["JUPYTERLAB_SETTINGS_DIR"] = f"{state}/settings"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labkit", "lab", lab, "--no-browser", "--port", "8930"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        assert self._found.wait(120), "JupyterLab gave no address:\n" + "".join(self.lines)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/\S*token=\w+\S*", line)
            if found and not self.url:
                self.url = found[0]
                self._found.set()

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


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("LABKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield found
        found.close()


@pytest.fixture
def open_lab(browser, tmp_path):
    """Open a lab in JupyterLab in a fresh browser profile: returns the page, ready for clicks."""
    opened = []

    def open_it(lab: str, *, width: int = 1280, height: int = 900):
        server = JupyterServer(lab, str(tmp_path))
        context = browser.new_context(viewport={"width": width, "height": height})
        opened.append((server, context))
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(server.url)
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
        # Cells that are run before the kernel is connected lose their outputs and never run.
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        quiet(page.locator(".jp-Notebook-ExecutionIndicator:not([data-status='idle'])"), 3)
        return page

    yield open_it
    for server, context in opened:
        context.close()
        server.close()


def quiet(locator, seconds: float, timeout: float = 300.0) -> None:
    """Wait until nothing has matched for a while."""
    patience = time.monotonic() + timeout
    last = time.monotonic()
    while time.monotonic() - last < seconds:
        if locator.count():
            last = time.monotonic()
        if last > patience:
            raise AssertionError(f"still there after {timeout:.0f} s: {locator}")
        time.sleep(0.1)


def run_all(page, timeout: float = 300.0) -> None:
    """Run → Run All Cells, and wait until the kernel is idle again."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']")
    busy.first.wait_for(state="attached", timeout=30_000)
    quiet(busy, 1.5, timeout)  # between two cells the kernel looks idle for a moment
