"""A class: what its roll takes and refuses, and that a lost board disturbs nobody."""

from __future__ import annotations

import csv
import io
import json
import threading
import time

import pytest

from labkit.cli import main
from labkit.commands.classes import page
from labkit.commands.roll import Refused, Roll
from labkit.course import classroom, labs
from labkit.course.exercises import load
from labkit.course.progress import Progress
from labkit.errors import BadInput, NotPossibleHere

LAB = labs()[0].lab
EXERCISE = next(iter(load(LAB).exercises))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def roll(tmp_path, clock):
    return Roll(tmp_path / "class.json", clock)


def taken_in(roll: Roll, name: str = "") -> dict[str, str]:
    return roll.join(json.dumps({"code": roll.code, "name": name}).encode())


def message(who: dict[str, str], counter: int, **content) -> tuple[bytes, str]:
    body = json.dumps({"learner": who["learner"], "counter": counter, **content}).encode()
    return body, classroom.signature(who["secret"], body)


def report(*, failed: int = 0, passed: bool = False) -> dict:
    outcome = "passed" if passed else failed or None
    return {"labs": {LAB: {"state": "begun", "exercises": {EXERCISE: outcome}, "predictions": {}}}}


def refused(roll: Roll, body: bytes, signed: str) -> int:
    with pytest.raises(Refused) as reason:
        roll.take(body, signed)
    return reason.value.status


def test_nothing_forged_or_sent_again_is_taken(roll):
    ada, grace = taken_in(roll, "Ada"), taken_in(roll, "Grace")
    body, signed = message(ada, 1, report=report(failed=1))
    roll.take(body, signed)
    before = roll.rows()
    assert refused(roll, body, signed) == 409, "a replay"
    changed = body.replace(b'"counter": 1', b'"counter": 2')
    assert refused(roll, changed, signed) == 403, "another body"
    assert refused(roll, *(changed, classroom.signature(grace["secret"], changed))) == 403, "somebody else's secret"
    assert refused(roll, changed, "") == refused(roll, changed, "ü") == 403
    leaving, _ = message(ada, 3, leave=True)
    assert refused(roll, leaving, classroom.signature(grace["secret"], leaving)) == 403
    assert refused(roll, *message({"learner": "0" * 16, "secret": "x"}, 1, report=report())) == 404
    assert roll.rows() == before


@pytest.mark.parametrize(
    "content",
    [{}, {"report": []}, {"report": {"labs": 1}}, {"report": {"labs": {LAB: 1}}},
     {"report": {"labs": {LAB: {"exercises": []}}}}],
)  # fmt: skip
def test_what_is_no_report_is_refused(roll, content):
    who = taken_in(roll)
    assert refused(roll, *message(who, 1, **content)) == 400
    assert refused(roll, b"[" * 100000, "") == refused(roll, b"\xff", "") == 400


def test_of_a_report_only_what_the_course_asks_is_kept(roll):
    who = taken_in(roll)
    odd = {"exercises": {EXERCISE: "<b>", "other": "passed"}, "predictions": {}, "more": "x"}
    roll.take(*message(who, 1, report={"labs": {LAB: odd, "99-other": odd}}))
    assert "<b>" not in roll.path.read_text() and "other" not in roll.path.read_text()
    assert roll.path.stat().st_mode & 0o077 == 0, "it holds the learners' secrets"


def test_a_code_can_not_be_tried_out(roll, clock):
    for _ in range(30):
        with pytest.raises(Refused) as reason:
            roll.join(b'{"code": "AAAAAA"}')
    assert reason.value.status == 403
    with pytest.raises(Refused) as reason:
        taken_in(roll)
    assert reason.value.status == 429
    clock.now += 61
    assert taken_in(roll)["secret"]


def test_names_are_text_and_nobodys_twice(roll):
    first = taken_in(roll, '<script>alert("x")</script>')["name"]
    assert [taken_in(roll, name)["name"] for name in ("Ada", "ada", "A\u202eda\n\x00", "=1+1")] == [
        "Ada", "ada (2)", "A da", "=1+1",
    ]  # fmt: skip
    assert len(taken_in(roll, "x" * 1000)["name"]) == 40
    pseudonym = taken_in(roll)["name"]
    assert pseudonym and pseudonym != first
    html = page(roll, "<i>host</i>", "nonce").decode()
    assert "&lt;script&gt;alert(&quot;x&quot;)" in html and "<script>alert" not in html and "<i>" not in html
    lines = list(csv.reader(io.StringIO(roll.grades())))
    assert "'=1+1" in [line[0] for line in lines]
    assert {len(line) for line in lines} == {5 + len(labs())}
    canvas = {line[0]: line[3] for line in lines[2:]}
    assert canvas["Ada"] == "Ada" and canvas[pseudonym] == "", "a pseudonym is nobody's login"


def test_moodle_gets_rows_of_its_users_only(roll):
    """It refuses a whole file for one row of nobody that it knows."""
    ada = taken_in(roll, "ada.l")
    taken_in(roll), taken_in(roll, " \u202e")  # pseudonyms
    roll.take(*message(ada, 1, report=report(passed=True)))
    (head, *rows) = csv.reader(io.StringIO(roll.moodle()))
    assert head[0] == "username" and len(head) == 1 + len(labs())
    of = len(load(LAB).exercises)
    assert rows == [["ada.l", f"{100 / of:.0f}", *["0"] * (len(labs()) - 1)]]


def test_who_is_stuck_on_what_for_how_long(roll, clock):
    who = taken_in(roll, "Ada")
    roll.take(*message(who, 1, report=report(failed=1)))
    clock.now += 600
    roll.take(*message(who, 2, report=report(failed=3)))
    clock.now += 120
    (row,) = roll.rows()
    assert (row.minutes, row.heard) == (12, 2)
    assert row.stuck == f"lab 00, {load(LAB).exercises[EXERCISE].title}: 3 tries"
    roll = Roll(roll.path, clock)  # begun again
    assert roll.rows() == [row]
    roll.take(*message(who, 3, report=report(passed=True)))
    assert roll.rows()[0].stuck == ""
    roll.take(*message(who, 4, leave=True))
    assert roll.rows() == []


def test_a_board_that_is_wrong_or_gone_is_one_sentence(own_state, capsys):
    for address in ("127.0.0.1:9", "http://127.0.0.1:9/", "nowhere.invalid"):
        assert main(["join", address, "ABCDEF"]) == 1
        said = capsys.readouterr().err.strip()
        assert "No class answers at http://" in said and "\n" not in said
    for address in ("", "http://", "a b", "file:///etc/passwd"):
        with pytest.raises(BadInput):
            classroom.join(own_state / "class.json", address, "ABCDEF")
    assert main(["join"]) == main(["join", "--leave"]) == 1
    assert not (own_state / "class.json").exists()


def test_a_board_that_is_gone_does_not_hold_up_a_lab(own_state, monkeypatch):
    progress = Progress()
    gone = {"address": "http://127.0.0.1:9", "learner": "a", "secret": "b", "name": "c", "counter": 0}
    progress.membership.write_text(json.dumps(gone))
    monkeypatch.setattr(classroom, "_post", lambda *_: time.sleep(3))
    began = time.monotonic()
    for number in range(5):
        progress.checked(LAB, EXERCISE, number == 4)
    assert time.monotonic() - began < 2
    senders = [thread for thread in threading.enumerate() if thread.name == "labkit-class"]
    assert len(senders) == 1, "one thread, however much changes"
    progress.membership.unlink()  # left: it ends
    senders[0].join(20)
    assert not senders[0].is_alive()


def test_what_was_lost_arrives_with_a_later_counter(own_state, roll, monkeypatch):
    """The board may know a later counter than a learner whose file was copied back from a backup."""
    progress, who = Progress(), taken_in(roll)
    there = False

    class Answer:
        def __init__(self, status: int, **content) -> None:
            self.status_code, self._content = status, content

        def json(self):
            return self._content

    def post(address, what, body, signed=""):
        if not there:
            raise NotPossibleHere("gone")
        try:
            roll.take(body, signed)
        except Refused as reason:
            return Answer(reason.status, says=str(reason), **reason.more)
        return Answer(200)

    monkeypatch.setattr(classroom, "_post", post)
    monkeypatch.setattr(classroom, "FIRST_PAUSE", 0.1)
    roll.take(*message(who, 70, report=report()))
    progress.membership.write_text(json.dumps({"address": "http://x", **who, "counter": 3}))
    progress.checked(LAB, EXERCISE, True)
    time.sleep(1)
    assert roll.rows()[0].cells[0].kind == "open"
    there = True
    deadline = time.monotonic() + 20
    while roll.rows()[0].cells[0].kind != "done" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert roll.rows()[0].cells[0].kind == "done"
    assert classroom.joined(progress.membership)["counter"] == 71
