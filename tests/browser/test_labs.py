"""The labs as a learner meets them: JupyterLab in Chromium, buttons pressed, effects seen."""

from __future__ import annotations

import pytest
from conftest import run_all


def errors_shown(page) -> list[str]:
    """The text of every cell output that shows an error."""
    return page.locator(
        ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'], .jp-OutputArea-error"
    ).all_inner_texts()


def executed(page) -> int:
    """How many cells the last run reached, from the highest prompt number that is on the page."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    return max((int(text.strip("[]: ")) for text in prompts if text.strip("[]: ").isdigit()), default=0)


def widget(page, title: str):
    """The labkit widget with these words in it, scrolled into view."""
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer").first
    panel.evaluate("e => e.scrollTop = 0")
    page.wait_for_timeout(500)
    found = page.locator(".labkit-widget", has_text=title).first
    for _ in range(60):  # JupyterLab only renders what is near the screen
        if found.count() and found.is_visible():
            found.scroll_into_view_if_needed()
            return found
        panel.evaluate("e => e.scrollTop += 500")
        page.wait_for_timeout(150)
    raise AssertionError(f"no widget says {title!r}")


def press_start(page) -> None:
    """00: the glossary answers while one types."""
    box = widget(page, "Glossary")
    box.locator("input").fill("diffID")
    for _ in range(100):
        if "hypervisor" not in box.inner_text():
            break
        page.wait_for_timeout(100)
    assert "hypervisor" not in box.inner_text()
    assert "uncompressed tar archive" in box.inner_text()


def press_oom(page) -> None:
    """08: the slider moves, the curve grows while memory does, the verdict comes; a prediction is kept."""
    box = widget(page, "Grow a process inside a limit")
    picture = box.locator("img")
    before = picture.get_attribute("src")
    slider = box.locator(".widget-slider", has_text="Limit")
    slider.locator(".noUi-handle").focus()
    for _ in range(2):
        slider.locator(".noUi-handle").press("ArrowRight")
    assert slider.locator(".widget-readout").inner_text() == "48"
    seen = set()
    box.get_by_role("button", name="Start").click()
    for _ in range(300):
        seen.add(picture.get_attribute("src"))
        if "The OOM killer chose the main process" in box.inner_text():
            break
        page.wait_for_timeout(100)
    assert "The OOM killer chose the main process" in box.inner_text()
    assert len(seen - {before}) >= 3, "the curve did not move while memory grew"

    box = widget(page, "Predict: A process keeps growing")
    compare = box.get_by_role("button", name="Compare")
    assert compare.is_disabled()
    box.get_by_text("The kernel kills a process in the container").click()
    box.get_by_role("button", name="Commit").click()
    box.get_by_text("Noted.").wait_for()
    compare.click()
    box.get_by_text("As predicted.").wait_for()


#: What is pressed in each lab once all its cells have run, short of the last, which closes it.
PRESS = {"00-start-here": press_start, "08-out-of-memory": press_oom}


@pytest.mark.parametrize("lab", PRESS)
def test_lab(open_lab, lab):
    page = open_lab(lab)
    assert f"{lab}.ipynb" in page.locator(".lm-TabBar-tab.jp-mod-current").inner_text()
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0
    run_all(page)
    assert errors_shown(page) == []
    assert executed(page) > 10, "Run All Cells ran next to nothing"
    PRESS[lab](page)
    assert page.errors == []
