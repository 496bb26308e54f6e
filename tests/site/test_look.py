"""The site in Chromium: on a phone, a tablet and a screen, light and dark, by hand and by axe-core."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from importlib import resources
from pathlib import Path

import pytest

from labkit import course
from labkit.paths import COURSE

#: Pixels: a phone, a tablet, a screen.
SIZES = [(390, 844), (820, 1180), (1440, 900)]
THEMES = ["light", "dark"]

#: All pages; what Sphinx makes by itself is looked at as well.
PAGES = [
    "index", "glossary", "run", "CHANGELOG", "search", "notes",
    *(f"docs/{path.stem}" for path in sorted((COURSE / "docs").glob("*.md"))),
    *(f"notebooks/{entry.lab}" for entry in course.labs()),
]  # fmt: skip

#: In the page, once all that is folded is open: axe-core's violations as sentences.
LOOK = """async () => {
  document.querySelectorAll('details').forEach(fold => fold.open = true);
  await Promise.allSettled(document.getAnimations().map(animation => animation.finished));
  const found = await axe.run({preload: false});
  return found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${rule.help}: ${node.html.slice(0, 300)}
    ${node.failureSummary}`));
}"""

#: In the page: what reaches beyond the window, and cannot be scrolled into it by itself.
BEYOND = """() => [...document.querySelectorAll('.bd-article-container *')].filter(e => {
  if (!e.checkVisibility() || e.getBoundingClientRect().right <= innerWidth + 2) return false;
  for (let box = e.parentElement; box; box = box.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX) && box !== document.body
        && box.getBoundingClientRect().right <= innerWidth + 2) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 120))"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """The site, served as any web server does."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def readers(browser):
    """A browser profile for each theme: what one page has fetched, the next one need not."""
    found = {theme: browser.new_context(color_scheme=theme) for theme in THEMES}
    yield found
    for context in found.values():
        context.close()


@pytest.fixture
def look(readers, address):
    """``look("index", 390, 844, "dark")`` opens a page as a reader does who has that screen and that wish."""
    pages, faults = [], []

    def opened(name: str, width: int = 1440, height: int = 900, theme: str = "light"):
        pages.append(page := readers[theme].new_page())
        page.set_viewport_size({"width": width, "height": height})
        page.on("pageerror", lambda error: faults.append(f"{name}: {error}"))
        page.on(
            "response", lambda answer: answer.status < 400 or faults.append(f"{name}: {answer.status} {answer.url}")
        )
        page.goto(f"{address}/{name}.html")
        return page

    yield opened
    for page in pages:
        page.close()
    assert not faults


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's program; ``LABKIT_AXE`` names the file of another version."""
    file = os.environ.get("LABKIT_AXE")
    packaged = resources.files("axe_playwright_python") / "axe.min.js"
    return (Path(file) if file else packaged).read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_reaches_beyond_the_window(look, axe, name, theme):
    for width, height in SIZES:
        page = look(name, width, height, theme)
        page.evaluate(axe)
        assert page.evaluate(LOOK) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(BEYOND) == [], width


def test_axe_would_find_something(look, axe):
    page = look("index")
    page.evaluate("document.querySelector('article img').removeAttribute('alt')")
    page.evaluate(axe)
    assert any("image-alt" in sentence for sentence in page.evaluate(LOOK))


def test_too_wide_a_line_would_be_seen(look):
    page = look("index", *SIZES[0])
    page.evaluate("document.querySelector('article p').style.width = '900px'")
    assert page.evaluate(BEYOND)


def test_a_search_leads_to_a_lab(look):
    page = look("index")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input").fill("bystander")
    page.keyboard.press("Enter")
    page.locator("#search-results a", has_text="Out of memory").first.click()
    page.wait_for_url("**/08-out-of-memory.html**")


def test_the_theme_is_the_readers_choice(look):
    page = look("glossary", theme="dark")
    behind = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(behind)
    page.get_by_role("button", name="Color mode").click()
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(behind) != dark
    page.reload()
    assert page.evaluate(behind) != dark, "forgotten"
    page.evaluate("localStorage.clear()")


def test_on_a_phone_the_labs_are_behind_a_button(look):
    page = look("index", *SIZES[0])
    link = page.locator(".bd-sidebar-primary a, #pst-primary-sidebar-modal a", has_text="Lab 08").first
    assert not link.is_visible()
    page.locator("button.primary-toggle:visible").click()
    link.click()
    page.wait_for_url("**/08-out-of-memory.html")


def test_a_term_leads_to_its_meaning(look):
    page = look("notebooks/08-out-of-memory")
    page.locator("a.course-term", has_text="cgroup").first.click()
    page.wait_for_url("**/glossary.html#term-cgroup")
    assert page.locator("#term-cgroup").is_visible()


def test_a_solution_opens(look):
    page = look("notebooks/08-out-of-memory")
    fold = page.locator("details.hide").first
    assert not fold.locator(".cell_input").is_visible()
    fold.locator("summary").click()
    assert "def finishes" in fold.locator(".cell_input").inner_text()


def test_it_works_without_a_server(browser, site):
    """From a folder, or a stick."""
    page = browser.new_page()
    page.goto((site.folder / "search.html").as_uri() + "?q=bystander")
    page.locator("#search-results a", has_text="Out of memory").first.wait_for()
    page.close()


def test_pictures_for_eyes(look):
    """All pages, all sizes, both themes, into the folder that LABKIT_PICTURES names; without one, nothing."""
    folder = os.environ.get("LABKIT_PICTURES")
    for name in PAGES if folder else []:
        for (width, height), theme in [(size, theme) for size in SIZES for theme in THEMES]:
            picture = Path(folder, f"{name.replace('/', '-')}-{width}-{theme}.png")
            look(name, width, height, theme).screenshot(path=picture, full_page=True)
