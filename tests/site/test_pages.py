"""The course as a site: whole, linked, described, and nothing on it from elsewhere."""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import subprocess
import sys
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from labkit import course
from labkit.course.exercises import load
from labkit.paths import COURSE

from .conftest import HUB, REPOSITORY

sys.path.insert(0, str(COURSE / "docs" / "site"))

import readable

LABS = [entry.lab for entry in course.labs()]
#: A container's states; no terms where they are everyday words.
EVERYDAY = {"created", "running", "exited", "stopped", "removed"}


def notebook(lab: str) -> dict:
    return json.loads((COURSE / "notebooks" / f"{lab}.ipynb").read_text(encoding="utf-8"))


def figures(lab: str) -> list[dict]:
    """The outputs of a notebook that hold a figure."""
    outputs = [output for cell in notebook(lab)["cells"] for output in cell.get("outputs", [])]
    return [output for output in outputs if "image/png" in output.get("data", {})]


def test_nothing_was_said_while_it_was_built(site):
    assert re.fullmatch(r"The site is built: \S+/html/index\.html\n", site.said)


def test_a_warning_fails_the_build(tmp_path):
    """In a copy of the course without its labs, where links lead nowhere."""
    (tmp_path / "notebooks").mkdir()
    for name in ("data", "labkit", "tools", "README.md", "CHANGELOG.md"):
        (tmp_path / name).symlink_to(COURSE / name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "site").symlink_to(COURSE / "docs" / "site")
    (tmp_path / "docs" / "page.md").write_text("# A page\n\n[nowhere](nothing.md)\n")
    code = (
        "import runpy, sys, pathlib; tool = runpy.run_path(sys.argv[1]); "
        "tool['main'].__globals__['ROOT'] = pathlib.Path(sys.argv[2]); sys.exit(tool['main'](pathlib.Path(sys.argv[3])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, COURSE / "tools" / "site", tmp_path, tmp_path / "built"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "nothing.md" in done.stderr


def test_each_lab_and_each_page_for_who_teaches_is_there(site):
    assert list(site.labs) == LABS
    documents = {f"docs/{path.stem}.html" for path in (COURSE / "docs").glob("*.md")}
    assert documents | {"index.html", "glossary.html", "run.html", "search.html"} <= set(site.pages)
    in_sight = {urljoin("index.html", a["href"]) for a in site.pages["index.html"].html.select(".bd-sidebar a[href]")}
    assert documents | {f"notebooks/{lab}.html" for lab in LABS} | {"glossary.html"} <= in_sight


def test_no_link_and_no_anchor_is_broken(site):
    ids = {name: {e["id"] for e in page.html.select("[id]")} for name, page in site.pages.items()}
    broken, followed = [], 0
    for name, page in site.pages.items():
        for attribute in ("href", "src"):
            for element in page.html.select(f"[{attribute}]"):
                target, anchor = urldefrag(urljoin(name, unquote(re.sub(r"\?[^#]*", "", element[attribute]))))
                if re.match(r"[a-z]+:", target):
                    continue
                followed += 1
                where = target or name
                if not (site.folder / where).is_file() or (anchor and where in ids and anchor not in ids[where]):
                    broken.append(f"{name}: {element[attribute]}")
    assert not broken
    assert followed > 1000


def test_nothing_comes_from_another_machine(site):
    """The pages work in a room without a network."""
    for name, page in site.pages.items():
        loaded = page.html.select("script[src], img[src], iframe[src], link[rel=stylesheet], link[rel=preload]")
        elsewhere = [e.get("src") or e.get("href") for e in loaded]
        assert not [address for address in elsewhere if re.match(r"(https?:)?//", address)], name
    for sheet in site.folder.glob("_static/**/*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?https?://", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.parametrize("lab", LABS)
def test_figures_keep_their_text_alternatives(site, lab):
    shown = [image["alt"] for image in site.labs[lab].article.select(".cell_output img")]
    assert shown == [figure["metadata"]["image/png"]["alt"] for figure in figures(lab)]


def test_every_image_says_what_it_shows(site):
    for name, page in site.pages.items():
        for image in page.article.select("img") if page.article else []:
            words = image.get("alt", "")
            assert len(words) >= 20 and not words.endswith(".png"), f"{name}: {image}"


@pytest.mark.parametrize("lab", LABS)
def test_each_lab_says_first_how_to_run_it(site, lab):
    first = site.labs[lab].article.select_one("h1").find_next_sibling()
    assert "course-run" in first["class"] and f"make lab LAB={lab[:2]}" in first.get_text()


@pytest.mark.parametrize("lab", LABS)
def test_solutions_and_answers_are_folded(site, lab):
    content, article = load(lab), site.labs[lab].article
    solutions = article.select("details.hide")
    assert len(solutions) == len(content.exercises)
    assert all(fold.select_one(".cell_input") and not fold.has_attr("open") for fold in solutions)
    assert "%%solution" not in article.get_text()
    answers = {fold.select_one("strong").get_text() for fold in article.select("details.course-answer")}
    asked = [*content.predictions.values(), *content.quiz]
    assert answers == {f"{question.right}.".replace("`", "") for question in asked}
    assert not article.select("details[open]")


@pytest.mark.parametrize("lab", LABS)
def test_beside_a_widget_stands_its_figure(site, lab):
    said = [
        text
        for cell in notebook(lab)["cells"]
        for o in cell.get("outputs", [])
        for text in o.get("data", {}).get("text/plain", "")
    ]
    boxes = site.labs[lab].article.select(".course-widget")
    assert len(boxes) == "".join(said).count("Widget: ")
    known = {base64.b64decode(figure["data"]["image/png"]) for figure in figures(lab)}
    for box in boxes:
        picture = urljoin(site.labs[lab].name, box.select_one("img")["src"])
        assert (site.folder / picture).read_bytes() in known


def test_named_figures_and_widgets_are_in_the_notebooks():
    cells = {cell["id"] for lab in LABS for cell in notebook(lab)["cells"]}
    assert {*readable.FIGURES, *readable.FIGURES.values()} <= cells


def test_several_figures_in_a_cell_are_refused(tmp_path):
    page = notebook(LABS[0])
    cell = next(
        cell for cell in page["cells"] if any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))
    )
    cell["outputs"] *= 2
    with pytest.raises(ValueError, match=f"{cell['id']} has 2 figures"):
        readable.readable(page, course.labs()[0], tmp_path)


@pytest.mark.parametrize("lab", LABS)
def test_each_term_that_a_lab_uses_is_a_link(site, lab):
    """As plain words in its prose; of two that begin alike, the longer one counts."""
    article = copy.copy(site.labs[lab].article)
    linked = {unquote(urldefrag(a["href"])[1]) for a in article.select("a[href*='glossary.html#term-']")}
    for other in article.select("h1, h2, h3, pre, .cell, code, a:not([href*='#term-'])"):
        other.extract()
    anchors = {
        dt.find(string=True): dt["id"] for dt in site.pages["glossary.html"].article.select("dl.glossary dt[id]")
    }
    terms = {entry.term.partition(" (")[0]: entry for entry in course.glossary()}
    any_of_them = "|".join(re.escape(name) for name in sorted(terms, key=len, reverse=True))
    found = re.findall(rf"(?<![\w/.-])(?:{any_of_them})(?![\w/-]|\.\w)", " ".join(article.get_text().split()))
    used = [terms[name] for name in set(found)]
    missing = [entry.term for entry in used if anchors[entry.term] not in linked]
    states = {entry.term for entry in course.glossary() if entry.lab != lab and entry.term in EVERYDAY}
    assert set(missing) <= states and len(used) >= 5


def test_everyday_words_are_no_terms_elsewhere():
    import course_site

    assert "running" in course_site.spellings("07-container-lifetime")
    assert "running" not in course_site.spellings("08-out-of-memory")
    assert course_site.spellings()["repositories"] == "repository"
    assert "CD" not in course_site.spellings(), "it is short for two"


def test_a_term_links_once_a_page(site):
    for page in site.labs.values():
        links = [a["href"] for a in page.article.select("a[href*='glossary.html#term-']")]
        assert len(links) == len(set(links)), page.name


@pytest.mark.parametrize("lab", LABS)
def test_launch_buttons_open_the_lab_itself(site, lab):
    links = [a["href"] for a in site.labs[lab].html.select(".dropdown-launch-buttons a[href]")]
    assert links == [
        f"https://mybinder.org/v2/gh/someone/container-labs/main?urlpath=lab/tree/notebooks/{lab}.ipynb",
        f"{HUB}/hub/user-redirect/git-pull?repo={REPOSITORY.replace(':', '%3A')}"
        f"&urlpath=lab/tree/container-labs/notebooks/{lab}.ipynb&branch=main",
    ]
    assert "colab" not in str(site.labs[lab].html).lower()


@pytest.mark.parametrize("origin, public", [
    ("git@github.com:someone/labs.git", "https://github.com/someone/labs"),
    ("https://gitlab.com/someone/labs", "https://gitlab.com/someone/labs"),
    ("https://git.example.org/someone/labs.git", ""),
])  # fmt: skip
def test_launch_buttons_are_only_where_a_public_repository_is(tmp_path, origin, public):
    settings = tmp_path / "conf.py"
    settings.write_text((COURSE / "docs" / "site" / "conf.py").read_text())
    for words in (["init", "-q"], ["remote", "add", "origin", origin]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "GIT_"))}
    code = "import conf; print(conf.repository(), 'launch_buttons' in conf.html_theme_options)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{public} {bool(public)}\n"


@pytest.mark.parametrize("lab", LABS)
def test_what_can_be_downloaded_is_the_original(site, lab):
    [link] = [a["href"] for a in site.labs[lab].html.select(".dropdown-download-buttons a[href$='.ipynb']")]
    file = site.folder / urljoin(site.labs[lab].name, link)
    assert file.read_bytes() == (COURSE / "notebooks" / f"{lab}.ipynb").read_bytes()


def test_the_map_has_each_lab_in_order(site):
    places = site.pages["index.html"].article.select(".course-map > ol > li")
    assert [place.select_one("a")["href"] for place in places] == [f"notebooks/{lab}.html" for lab in LABS]
    for place, entry in zip(places, course.labs()):
        assert entry.line in place.get_text() and f"{entry.minutes} minutes" in place.get_text()


def test_each_statement_of_the_notes_leads_to_its_cell(site):
    rows = site.pages["notes.html"].article.select("tbody tr")
    assert [row.td.get_text() for row in rows] == [one.says for one in course.notes()]
    for row, one in zip(rows, course.notes()):
        assert [a["href"] for a in row.select("a")] == ([f"notebooks/{one.lab}.html#{one.cell}"] if one.cell else [])


def test_the_start_page_says_when_the_course_was_last_verified(site):
    verified = json.loads((COURSE / "data" / "verified.json").read_text())
    text = site.pages["index.html"].article.get_text()
    assert verified["date"] in text and verified["versions"]["docker.io"] in text
