"""Questions, exercises and progress, without an engine."""

from __future__ import annotations

import json
import multiprocessing

import pytest

from labkit import course
from labkit.course.exercises import LabContent, Question, load, not_yet, passed
from labkit.course.progress import Progress
from labkit.errors import BadInput

OOM = "08-out-of-memory"
WRITTEN = [entry.lab for entry in course.labs() if load(entry.lab).exercises]


def test_a_question_needs_a_right_answer():
    with pytest.raises(ValueError, match="answer 2 is not one of 2 choices"):
        Question("k", "?", ("a", "b"), 2, "why")
    assert Question("k", "Which?", ("this", "that"), 1, "why").as_text() == "Which?\n  A) this\n  B) that"


def test_content_is_found_by_its_key():
    content = LabContent("99-test")
    content.prediction("p", "?", ("a",), 0, "why")
    content.ask("q", "?", ("a",), 0, "why")

    @content.exercise("e", "Title", "hint one", "hint two")
    def check(on):
        return passed("well done") if on else not_yet("no", 1)

    assert content.find("predictions", "p").answer == 0
    assert [question.key for question in content.quiz] == ["q"]
    exercise = content.find("exercises", "e")
    assert (exercise.title, exercise.hints) == ("Title", ("hint one", "hint two"))
    assert exercise.check(True).passed and exercise.check(False).hint == 1
    with pytest.raises(BadInput, match="no prediction 'x'") as caught:
        content.find("predictions", "x")
    assert "It has: p" in caught.value.next_step


def test_a_lab_without_content_has_an_empty_one():
    assert load("tests").exercises == {}
    assert load("99-none").quiz == []


def test_there_is_content_to_check():
    assert {"00-start-here", "08-out-of-memory"} <= set(WRITTEN)


@pytest.mark.parametrize("lab", WRITTEN)
def test_content_is_whole(lab):
    content = load(lab)
    assert content.lab == lab
    keys = [*content.predictions, *(question.key for question in content.quiz)]
    assert len(set(keys)) == len(keys), "a key is used twice"
    for question in [*content.predictions.values(), *content.quiz]:
        assert 2 <= len(question.choices) <= 6 and len(set(question.choices)) == len(question.choices)
        assert question.prompt.strip() and len(question.why) > 20
    for exercise in content.exercises.values():
        assert 2 <= len(exercise.hints) <= 4 and all(exercise.hints)
    assert len(content.quiz) >= 3 and content.exercises


@pytest.mark.parametrize("lab", WRITTEN)
def test_answers_are_not_always_in_the_same_place(lab):
    content = load(lab)
    answers = [question.answer for question in [*content.predictions.values(), *content.quiz]]
    assert len(set(answers)) > 1


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path / "deep" / "progress.json")


def test_progress_is_made_when_first_written(progress):
    assert progress.read() == {} and not progress.path.exists()
    progress.checked("08-out-of-memory", "survivor", False)
    assert json.loads(progress.path.read_text()) == {"08-out-of-memory": {"exercises": {"survivor": {"failed": 1}}}}


def test_the_state_folder_decides_where(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    Progress().checked("00-start-here", "hello", True)
    assert (tmp_path / "state/progress.json").exists()


def test_the_first_prediction_counts(progress):
    progress.predicted(OOM, "full", 0, False)
    progress.predicted(OOM, "full", 1, True)
    assert progress.prediction(OOM, "full") == 0
    assert progress.read()[OOM]["predictions"]["full"]["right"] is False
    assert progress.prediction(OOM, "other") is None


def test_a_right_quiz_answer_stays_right(progress):
    for right in (False, True, False):
        progress.answered("08", "flag", right)
    assert progress.read()["08"]["quiz"]["flag"] == {"tries": 3, "right": True}


def test_checks_are_counted_until_passed_and_stay_passed(progress):
    assert [progress.checked(OOM, "survivor", False) for _ in range(2)] == [1, 2]
    assert progress.standings()[OOM].exercises["survivor"] == 2
    assert progress.passed_on(OOM, "survivor") == ""
    progress.checked(OOM, "survivor", True)
    progress.checked(OOM, "survivor", False)
    assert progress.standings()[OOM].exercises["survivor"] == "passed"
    assert progress.passed_on(OOM, "survivor").startswith("20")


def test_a_lab_is_open_begun_and_done_with_its_last_exercise(progress):
    *first, last = load(OOM).exercises
    assert progress.standings()[OOM].state == "open"
    for key in first:
        progress.checked(OOM, key, True)
    found = progress.standings()[OOM]
    assert (found.state, found.passed) == ("begun", len(first))
    progress.checked(OOM, last, True)
    assert progress.standings()[OOM].state == "done"


def test_an_exercise_that_the_lab_has_no_longer_is_no_gap_and_no_gain(progress):
    progress.checked(OOM, "of an earlier edition", True)
    assert (progress.standings()[OOM].state, progress.standings()[OOM].passed) == ("begun", 0)


def test_the_next_lab_is_the_first_that_is_not_done(progress):
    assert progress.next_lab() == "00-start-here"
    for key in load("00-start-here").exercises:
        progress.checked("00-start-here", key, True)
    assert progress.next_lab() == "01-devops-and-delivery"
    for entry in course.labs():
        for key in load(entry.lab).exercises:
            progress.checked(entry.lab, key, True)
    assert progress.next_lab() is None


@pytest.mark.parametrize("words", ["", "{", "[1, 2]", "null", "\x00\x01", '{"08": "x"}', '{"08": {"exercises": []}}'])
def test_a_file_that_is_no_progress_does_not_stop_a_learner(progress, words):
    progress.path.parent.mkdir(parents=True)
    progress.path.write_text(words)
    assert progress.standings()[OOM].passed == 0 and progress.next_lab()
    progress.checked(OOM, "survivor", True)
    assert progress.standings()[OOM].passed == 1


def _write_many(path, name: str) -> None:
    from pathlib import Path

    for number in range(25):
        Progress(Path(path)).checked("08", f"{name}-{number}", True)


def test_kernels_that_write_at_once_lose_nothing(progress):
    progress.path.parent.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(progress.path), f"w{n}")) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert sum("passed" in entry for entry in progress.read()["08"]["exercises"].values()) == 100
    left = sorted(path.name for path in progress.path.parent.iterdir())
    assert left == ["progress.json", "progress.lock"]
