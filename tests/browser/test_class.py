"""The class's board in Chromium: eight learners on real labs, one cut off and back, one forging."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe

sys.path.insert(0, str(Path(__file__).parent.parent))
from classroom import Class, learner

from labkit.course import classroom, labs
from labkit.course.exercises import load
from labkit.waiting import wait_until

NAMES = ["Ada", "", "Grace", "<b onclick=alert(1)>Mallory</b>", "", "Linus", "Barbara Liskov", ""]


@pytest.fixture
def room(tmp_path):
    found = Class(tmp_path / "instructor")
    yield found
    found.stop()


def row(page, name: str) -> str:
    return page.locator("tbody tr").filter(has=page.get_by_role("rowheader", name=name, exact=True)).inner_text()


def test_eight_learners_on_the_board(room, browser, tmp_path):
    everybody = [learner(tmp_path, number) for number in range(8)]
    called = [
        classroom.join(one.membership, room.address, room.code.lower(), name) for one, name in zip(everybody, NAMES)
    ]
    assert len(set(called)) == 8 and called[0] == "Ada"
    for one in everybody:
        assert classroom.send(one.membership, one.hand_in())
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda fault: errors.append(str(fault)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(room.board)
    assert page.locator("tbody tr").count() == 8
    assert sorted(page.locator("tbody th").all_inner_texts()) == sorted(called)
    assert page.locator("tbody b").count() == 0, "a name's markup is text"
    assert page.locator("#stuck li").count() == 4
    assert "Nobody has begun: 04" in page.locator("#rest").inner_text()

    # One more passes, and it is seen without a reload.
    lab = labs()[0].lab
    first = next(iter(load(lab).exercises))
    before = row(page, called[0])
    everybody[0].checked(lab, first, True)
    page.wait_for_function("count => document.querySelectorAll('td.done').length > count",
                           arg=page.locator("td.done").count(), timeout=15000)  # fmt: skip
    assert row(page, called[0]) != before

    # Somebody else's row: with one's own secret, with none, and what was truly sent, once more.
    victim, forger = (classroom.joined(everybody[at].membership) for at in (2, 3))
    seen = row(page, called[2])
    body = json.dumps({"learner": victim["learner"], "counter": 10**6, "report": everybody[0].hand_in()}).encode()
    for signed in (classroom.signature(forger["secret"], body), "", "0" * 64):
        answer = requests.post(
            f"{victim['address']}/progress", data=body,
            headers={"Content-Type": "application/json", classroom.SIGNED: signed}, timeout=5,
        )  # fmt: skip
        assert answer.status_code == 403
    page.wait_for_timeout(2500)
    assert row(page, called[2]) == seen

    # The board is gone for a while: nobody's lab notices, the page says so, and then all arrives.
    room.stop()
    cut = everybody[4]
    cut.checked(lab, first, True)
    done = list(load(labs()[3].lab).exercises)
    for key in done:
        cut.checked(labs()[3].lab, key, True)
    page.wait_for_selector("#lost.on", timeout=15000)
    room.start()
    wait_until(lambda: row(page, called[4]).count("✓") >= len(done), 30, "what was done while the board was gone")
    page.wait_for_selector("#lost:not(.on)", state="attached", timeout=15000)

    assert "row" in classroom.leave(everybody[7].membership)
    wait_until(lambda: page.locator("tbody tr").count() == 7, 15, "the row of who has left goes")
    csv = requests.get(room.board + "grades.csv", timeout=5).text.splitlines()
    assert len(csv) == 2 + 7 and csv[1].startswith("    Points Possible,")
    csv = requests.get(room.board + "moodle.csv", timeout=5).text.splitlines()
    assert csv[0].startswith("username,") and len(csv) == 1 + sum(bool(name) for name in NAMES)
    assert requests.get(room.board.rsplit("/", 2)[0] + "/wrong/", timeout=5).status_code == 404
    assert [text for text in errors if "ERR_CONNECTION_REFUSED" not in text] == []

    for width in (1280, 390):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if folder := os.environ.get("LABKIT_PICTURES"):
                page.screenshot(path=Path(folder) / f"class-{width}-{scheme}.png", full_page=True)
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = _axe(browser, page)
        assert found == [], found


def _axe(browser, page) -> list[str]:
    # The page's own policy forbids a script that is put into it: the same page, in a context without that.
    other = browser.new_context(bypass_csp=True, viewport=page.viewport_size).new_page()
    other.goto(page.url)
    found = Axe().run(other)
    other.context.close()
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found.response["violations"]]
