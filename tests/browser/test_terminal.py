"""The button of ``lab.terminal()`` in JupyterLab: what is typed behind it is the lab's, and goes with its kernel."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
from conftest import JupyterServer, listen, open_notebook, own_errors, wait_for_cells
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import left_behind, wait_until

from labkit.engine.client import PlainAPIClient
from labkit.engine.session import SESSION

LAB = "00-start-here"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_BROWSER_PORT", "8960")  # the labs' own server may still run
    found = JupyterServer(LAB, tmp_path)
    yield found
    found.close()


def run_cell(page, code: str) -> None:
    page.locator(".jp-CodeCell", has_text=code).first.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    wait_for_cells(page)


def test_a_terminal_of_the_lab(server, browser, engine):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    listen(page)
    open_notebook(page, server.url)
    run_cell(page, "labkit.open(")
    run_cell(page, "lab.terminal()")
    button = page.get_by_role("button", name="Open the terminal")
    session = json.loads(button.get_attribute("data-commandlinker-args"))["name"].removeprefix("lab_")
    button.click()
    expect(page.locator(".jp-Terminal .xterm-screen")).to_be_visible()
    typing = page.locator(".jp-Terminal .xterm-helper-textarea")
    page.wait_for_timeout(2000)  # the shell's first prompt, which nothing on the page tells
    with contextlib.closing(PlainAPIClient(**engine.client_options())) as api:
        typing.focus()
        page.keyboard.type("docker run -d --name x-$SESSION labkit/busybox:1 sleep 600\n")

        def made() -> list[dict]:
            return api.containers(filters={"name": f"^/?x-{session}$"})

        wait_until(made)
        assert made()[0]["Labels"][SESSION] == session
    page.keyboard.type("docker ps --format '{{.Names}}: {{.Status}}'\n")
    page.wait_for_timeout(2000)
    if folder := os.environ.get("LABKIT_PICTURES"):
        page.screenshot(path=Path(folder, "terminal.png"))
    server.shut_down(LAB)
    wait_until(lambda: left_behind(engine, session) == [])
    wait_until(lambda: f"lab_{session}" not in [row["name"] for row in server._ask("/api/terminals")])
    assert own_errors(page) == []
