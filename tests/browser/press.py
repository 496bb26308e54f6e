"""Each lab's widgets, pressed once; the effect is looked for on the page."""

from __future__ import annotations

import re

from playwright.sync_api import expect

#: Milliseconds that what a press does may take on a busy machine.
LONG = 180_000


def widget(page, title: str):
    """The labkit widget with these words in it, scrolled into view."""
    found = page.locator(".labkit-widget", has_text=title).first
    found.scroll_into_view_if_needed(timeout=30_000)
    return found


def says(box, words) -> None:
    """Wait until the widget says these words."""
    expect(box).to_contain_text(words, timeout=LONG)


def named(box, name: str):
    """Its button of this name; an icon in front of the words counts as a letter of no alphabet."""
    return box.get_by_role("button", name=re.compile(rf"^\W*{re.escape(name)}$"))


def press(box, name: str) -> None:
    """Press one of its buttons."""
    named(box, name).click(timeout=LONG)


def draws(box) -> None:
    """Wait until its picture is there, with something in it."""
    expect(box.locator("img").last).to_be_visible(timeout=LONG)
    assert box.locator("img").last.evaluate("e => e.naturalWidth") > 100


def predictions(page) -> None:
    """Each prediction: a choice is made and kept, then compared."""
    boxes = page.locator(".labkit-widget", has_text="Predict: ").all()
    by_keyboard(page)
    expect(named(boxes[0], "Compare")).to_be_enabled()
    for box in boxes[1:]:
        compare = box.get_by_role("button", name="Compare")
        expect(compare).to_be_disabled()
        box.locator("input[type=radio]").first.check()
        press(box, "Commit")
        says(box, "Noted.")
        expect(box.locator("input[type=radio]").first).to_be_disabled()
        compare.click()
        expect(box).to_contain_text(re.compile(r"As predicted\.|The engine says otherwise\."))


def by_keyboard(page) -> None:
    """A prediction without a mouse: arrows move between the choices and not between cells, Space commits."""
    box = page.locator(".labkit-widget", has_text="Predict: ").first
    choices = box.locator("input[type=radio]")
    choices.first.focus()
    page.keyboard.press("Space")
    expect(choices.first).to_be_checked()
    page.keyboard.press("ArrowDown")
    expect(choices.nth(1)).to_be_checked()
    page.keyboard.press("ArrowUp")
    expect(choices.first).to_be_checked()
    named(box, "Commit").focus()
    page.keyboard.press("Space")
    says(box, "Noted.")


def quiz(page) -> None:
    """Each question answers at once, and says why."""
    box = page.locator(".labkit-widget", has_text="Quiz").last
    rows = box.locator(".widget-radio")
    assert rows.count() >= 3
    answers = box.locator(".labkit-good, .labkit-bad")
    for number, row in enumerate(rows.all(), 1):
        row.locator("input[type=radio]").first.check()
        # An answer pushes the next question down: a click that is under way meanwhile would miss it.
        expect(answers).to_have_count(number, timeout=LONG)


def hints(page) -> None:
    """An exercise that is not done offers hints, the next one at each press, and looks again."""
    boxes = page.locator(".labkit-widget", has_text="Exercise: ")
    assert boxes.count() >= 2, "a learner who has done nothing is offered hints"
    for box in boxes.all():
        press(box, "Hint")
        says(box, "Hint ")
    press(box, "Check again")
    expect(box.locator(".labkit-title")).to_be_visible()


def start(page) -> None:
    """00: the glossary and the map of the notes answer while one types."""
    box = widget(page, "Glossary")
    expect(box).to_contain_text("hypervisor")
    box.locator("input").fill("diffID")
    expect(box).not_to_contain_text("hypervisor", timeout=LONG)
    expect(box).to_contain_text("uncompressed tar archive")
    box = widget(page, "The notes and their evidence")
    box.locator("input").fill("libcontainer")
    expect(box).not_to_contain_text("Bare metal", timeout=LONG)
    expect(box).to_contain_text("in runc's source")


def delivery(page) -> None:
    """01: a person opens the gate; a broken test stops the line."""
    box = widget(page, "The pipeline's board")
    press(box, "Commit and run")
    says(box, "a person decides")
    draws(box)
    press(box, "Approve")
    says(box, "Released.")
    box.get_by_text("break a test").click()
    press(box, "Commit and run")
    says(box, "Stopped at")


def isolation(page) -> None:
    """02: a flag shares a namespace; a benchmark is stopped, and what was measured until then is shown."""
    box = widget(page, "Which namespaces are its own?")
    press(box, "--pid=host")
    press(box, "Run")
    draws(box)
    box = widget(page, "Measure it yourself")
    box.locator("select").select_option("system-calls")
    handle = box.locator(".noUi-handle")
    handle.focus()
    handle.press("End")
    expect(box.locator(".widget-readout")).to_have_text("240")
    press(box, "Start")
    expect(box).to_contain_text(re.compile(r": [1-9]\d* of \d"), timeout=LONG)
    press(box, "Stop")
    draws(box)


def images(page) -> None:
    """03: steps change places and are built; images show what they share."""
    box = widget(page, "The build cache as a puzzle")
    expect(box).to_contain_text("2. ENV GREETING=hello")
    box.get_by_role("button", name="▼").first.click()
    says(box, "2. COPY packages.txt /app/")
    press(box, "Build twice")
    says(box, "steps reused.")
    draws(box)
    box = widget(page, "Layer explorer")
    values = box.locator("option").evaluate_all("all => all.slice(0, 2).map(e => e.value)")
    box.locator("select").select_option(values)
    press(box, "Open")
    draws(box)


def solves(page) -> None:
    """04: replicas answer to one name."""
    box = widget(page, "Replicas behind one name")
    press(box, "Start and load")
    says(box, "the replicas are gone again")
    draws(box)


def history(page) -> None:
    """05: each part that is switched on takes something away."""
    box = widget(page, "Build your own container")
    for part in ("root", "pid"):
        press(box, part)
    press(box, "Run")
    says(box, "still possible inside.")
    draws(box)


def architecture(page) -> None:
    """06: a run with a flag is seen through, then zoomed into."""
    box = widget(page, "X-ray a docker run")
    box.locator("select").first.select_option(label="none")
    press(box, "docker run")
    draws(box)
    zoom = box.locator("select").last
    expect(zoom).to_be_enabled(timeout=LONG)
    before = box.locator("img").get_attribute("src")
    zoom.select_option(index=1)
    expect(box.locator("img")).not_to_have_attribute("src", before, timeout=LONG)


def lifetime(page) -> None:
    """07: every button acts, and only those that can act are offered."""
    box = widget(page, "Drive a container through its life")
    for action, status in (
        ("create", "created"), ("start", "running"), ("pause", "paused"), ("unpause", "running"),
        ("restart", "running"), ("kill", "exited (Running=false"), ("start", "running"), ("stop", "exited"), ("remove", "gone"),
    ):  # fmt: skip
        press(box, action)
        says(box, f"{action}: ")
        says(box, f"The engine says: {status}")
    expect(named(box, "start")).to_be_disabled()
    draws(box)


def oom(page) -> None:
    """08: the slider moves, the curve grows while memory does, the verdict comes."""
    box = widget(page, "Grow a process inside a limit")
    picture = box.locator("img")
    before = picture.get_attribute("src")
    slider = box.locator(".widget-slider", has_text="Limit")
    slider.locator(".noUi-handle").focus()
    for _ in range(2):
        slider.locator(".noUi-handle").press("ArrowRight")
    expect(slider.locator(".widget-readout")).to_have_text("48")
    seen = set()
    press(box, "Start")
    for _ in range(300):
        seen.add(picture.get_attribute("src"))
        if "The OOM killer chose the main process" in box.inner_text():
            break
        page.wait_for_timeout(100)
    says(box, "The OOM killer chose the main process")
    assert len(seen - {before}) >= 3, "the curve did not move while memory grew"


def limits(page) -> None:
    """09: a quota draws its staircase, and ticked flags their table."""
    box = widget(page, "Work inside a quota")
    press(box, "Run")
    says(box, "throttled: yes")
    draws(box)
    box = widget(page, "Take rights away")
    box.get_by_label("--read-only").check()
    press(box, "Try everything")
    says(box, "attempts succeed.")
    draws(box)


def networks(page) -> None:
    """10: a container is plugged into one more network, and the map with its matrix follows."""
    box = widget(page, "Draw the map")
    box.get_by_label("web in back").check()
    press(box, "Connect and ping")
    says(box, "6 of 6 ways")
    draws(box)


def incidents(page) -> None:
    """11: an incident begins with a user's report, a hint says where to look, the check says what still is wrong."""
    box = widget(page, "It does not work")
    box.locator("input[type=text]").fill("browser")
    press(box, "Start")
    says(box, "A user reports:")
    press(box, "Hint")
    says(box, "Hint 1 of 3")
    press(box, "Check")
    says(box, "Not yet:")
    draws(box)


def releases(page) -> None:
    """12: a bad release is rolled out, each request appears, nobody loses one, and it is given up."""
    box = widget(page, "Roll out under load")
    box.get_by_text("blue/green", exact=True).click()
    box.get_by_label("the bad release").check()
    press(box, "Roll out")
    says(box, "✗ lost: 0 of")
    says(box, "given up")
    draws(box)


PRESS = {
    "00-start-here": start,
    "01-devops-and-delivery": delivery,
    "02-isolation-models": isolation,
    "03-images-and-registries": images,
    "04-what-docker-solves": solves,
    "05-container-history": history,
    "06-engine-architecture": architecture,
    "07-container-lifetime": lifetime,
    "08-out-of-memory": oom,
    "09-limits-and-security": limits,
    "10-networks-and-data": networks,
    "11-it-does-not-work": incidents,
    "12-releases": releases,
}
