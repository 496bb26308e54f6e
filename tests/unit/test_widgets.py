"""What all widgets share, without a browser: figures with words, work beside the page, text for where nothing runs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import ipywidgets as w
import pytest
import requests
from docker.errors import APIError

from labkit.course.exercises import Exercise, not_yet
from labkit.course.notebook import NO_WIDGETS
from labkit.course.style import Picture
from labkit.course.widget_base import FigureView, LabWidget, button, words
from labkit.course.widget_questions import HintWidget
from labkit.errors import LabError
from labkit.labs.container_lifetime.widget import LifeWidget


def test_a_figure_takes_no_room_before_the_first_and_says_itself_in_words():
    view = FigureView()
    assert view.layout.display == "none"
    view.show(Picture(b"png", "A curve that ends at a line.", 920))
    assert view.description == "", "ipywidgets in the browser needs it there to show a tooltip"
    assert (view.value, view.tooltip, view.layout.display) == (b"png", "A curve that ends at a line.", "")


def pressed(work) -> tuple[w.Button, w.HTML]:
    """Press a button whose work this is, and wait for its end."""
    starter, says = button("Go", "do it"), w.HTML()
    before = set(threading.enumerate())
    LabWidget("Title", [starter, says], "Widget").beside(work, starter, says)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    return starter, says


def test_a_button_waits_until_its_work_has_ended():
    go, seen = threading.Event(), []
    starter, says = button("Go", "do it"), w.HTML()
    before = set(threading.enumerate())
    LabWidget("Title", [starter, says], "Widget").beside(lambda: go.wait(10) and seen.append(1), starter, says)
    assert starter.disabled
    go.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert seen == [1] and not starter.disabled


FAULTS = [
    (LabError("The engine is gone.", next_step="labkit doctor"), "The engine is gone. labkit doctor", True),
    (APIError("x", explanation="No such container: web"), "No such container: web", True),
    (requests.ConnectionError("Connection refused"), "Nothing answers there.", True),
    (KeyError("history"), "KeyError: &#x27;history&#x27;", False),
    (KeyboardInterrupt(), "KeyboardInterrupt", False),
]


@pytest.mark.parametrize(("fault", "sentence", "known"), FAULTS)
def test_whatever_goes_wrong_becomes_a_sentence_and_the_button_works_again(monkeypatch, fault, sentence, known):
    raised = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_value))

    def work():
        raise fault

    starter, says = pressed(work)
    assert sentence in says.value and "labkit-bad" in says.value
    assert not starter.disabled
    assert raised == ([] if known else [fault]), "what nobody expected is in the kernel's log as well"


def test_the_buttons_of_a_life_work_again_after_any_fault():
    def press(action):
        raise KeyError("State")

    made = LifeWidget(SimpleNamespace(session=SimpleNamespace(name=str)))
    made._life = SimpleNamespace(press=press, status=lambda: "running", moments=[])
    with pytest.raises(KeyError):
        made.press("start")
    assert "KeyError" in made.says.value
    assert not made.buttons["stop"].disabled and made.buttons["create"].disabled


def test_an_exercise_that_is_looked_at_again_tells_what_went_wrong():
    def gone():
        raise LabError("The engine is gone.")

    made = HintWidget(Exercise("e", "Title", ("a", "b"), gone), not_yet("no"), gone)
    made.again.click()
    assert "The engine is gone." in made.says.value


def test_the_text_beside_a_widget_is_whole_and_always_the_same():
    text = "Widget: " + "words " * 60
    made = LabWidget("Title", [button("Go", "do it")], text)
    assert repr(made) == text and made._repr_mimebundle_()["text/plain"] == f"{text}\n{NO_WIDGETS}"


def test_words_are_escaped_and_backticks_are_code():
    assert words("<b> `a<b`", "note") == '<span class="labkit-note">&lt;b&gt; <code>a&lt;b</code></span>'
