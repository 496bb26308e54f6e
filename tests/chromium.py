"""This machine's Chromium, for all that looks at pages."""

from __future__ import annotations

import os
import shutil
import time

FLAGS = [
    "--no-sandbox",  # CI runs as root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium(playwright):
    """This machine's Chromium."""
    program = os.environ.get("LABKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=program, args=FLAGS)


def quiet(locator, seconds: float, timeout: float = 300.0) -> None:
    """Wait until nothing has matched for a while."""
    patience = time.monotonic() + timeout
    last = time.monotonic()
    while time.monotonic() - last < seconds:
        if locator.count():
            last = time.monotonic()
        if last > patience:
            raise AssertionError(f"still there after {timeout:.0f} s: {locator}")
        locator.page.wait_for_timeout(100)


def errors_shown(page) -> list[str]:
    """The text of every cell output that shows an error."""
    return page.locator(
        ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'], .jp-OutputArea-error"
    ).all_inner_texts()


def choose(page, menu: str, entry: str) -> None:
    """Choose an entry of a menu."""
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()
