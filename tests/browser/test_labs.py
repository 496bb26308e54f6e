"""The labs as a learner meets them: JupyterLab in Chromium, every widget pressed, effects seen, looks measured."""

from __future__ import annotations

import os
from pathlib import Path

import layout
import press
import pytest
from conftest import own_errors

from labkit.course import labs
from labkit.course.exercises import load
from labkit.paths import COURSE
from tests.chromium import errors_shown


def not_executed(page) -> list[str]:
    """Prompts of code cells that have no number: ``[ ]`` or ``[*]``. A folded cell shows no prompt at all."""
    prompts = [text.strip() for text in page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()]
    return [text for text in prompts if text and not text.strip("[]: ").isdigit()]


def keep_pictures(page, lab: str) -> None:
    """For eyes: the whole lab, both widths and both themes, into the folder that LABKIT_PICTURES names."""
    folder = os.environ.get("LABKIT_PICTURES")
    if folder:
        layout.take_pictures(page, Path(folder), lab)


#: Labs whose cells take minutes. `make notebooks` runs them too; here, the widgets' alone, and all with `make slow`.
LONG = ("02", "09", "12")
LABS = [pytest.param(lab, lab[:2] not in LONG, id=lab) for lab in press.PRESS]
WHOLE = [pytest.param(lab, True, id=f"{lab}-whole", marks=pytest.mark.slow) for lab in press.PRESS if lab[:2] in LONG]


@pytest.mark.parametrize(("lab", "whole"), LABS + WHOLE)
def test_lab(lab_page, lab, whole):
    page = lab_page
    notebook = COURSE / "notebooks" / f"{lab}.ipynb"
    committed = notebook.read_bytes()
    assert f"{lab}.ipynb" in page.locator(".lm-TabBar-tab.jp-mod-current").inner_text()
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0
    assert errors_shown(page) == []
    assert not whole or not_executed(page) == [], "Run All Cells left cells out"
    assert page.locator(".labkit-busy").count() == 0, "a cell has ended and still says that it works"
    if lab.startswith("07"):  # one of its cells waits for ten seconds, and that is its point
        said = page.evaluate("window.busyLines")
        assert any(line.startswith("Working: docker stop for") for line in said), said
    # Only a cell that ran just now shows a live widget; prompt numbers are committed, too.
    assert page.locator(".labkit-widget", has_text="Predict: ").count() == len(load(lab).predictions)
    try:
        press.PRESS[lab](page)
        press.predictions(page)
        press.hints(page)
        press.quiz(page)
    finally:
        keep_pictures(page, lab)
    faults = layout.faults(page)
    assert not faults, "\n".join(["what looks wrong:", *faults])
    assert page.locator(".jp-Dialog").count() == 0
    assert own_errors(page) == []
    assert notebook.read_bytes() == committed, "JupyterLab saved into the checkout"


def test_every_lab_is_pressed():
    assert list(press.PRESS) == [entry.lab for entry in labs()]
