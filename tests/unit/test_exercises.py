"""Questions, exercises and progress, without an engine."""

from __future__ import annotations

import importlib
import json
import multiprocessing
from types import SimpleNamespace

import pytest
import requests
from docker.errors import APIError

from labkit import course
from labkit.course.exercises import LabContent, Question, load, not_yet, passed
from labkit.course.progress import Progress
from labkit.course.widget_questions import PredictionWidget, QuizWidget
from labkit.errors import BadInput, LabError

OOM = "08-out-of-memory"
WRITTEN = [entry.lab for entry in course.labs() if load(entry.lab).exercises]


def asked(lab: str) -> list[Question]:
    content = load(lab)
    return [*content.predictions.values(), *content.quiz]


@pytest.mark.parametrize("choices", [("a", "b"), ("a", "right", "right"), ("a", "a", "right")])
def test_a_question_has_one_right_answer_and_no_two_choices_alike(choices):
    with pytest.raises(ValueError, match="one of its choices must be 'right', and no two alike"):
        Question("k", "?", choices, "right", "why")
    assert Question("k", "Which?", ("this", "that"), "that", "why").as_text() == "Which?\n  A) this\n  B) that"


def test_a_lab_whose_questions_are_wrong_does_not_load(tmp_path):
    folder = tmp_path / "start_here"
    folder.mkdir()
    row = 'asks = "?"\nchoices = ["a", "b"]\nright = "c"\nwhy = "why"\n'
    (folder / "questions.toml").write_text(f"[predictions]\n[exercises]\n[quiz.touch]\n{row}")
    with pytest.raises(ValueError, match="touch: one of its choices must be 'c'"):
        LabContent.beside(str(folder / "checks.py"))


#: An exercise's words, as ``questions.toml`` has them.
TASKS = {"e": {"title": "Title", "hints": ["hint one", "hint two"]}, "f": {"title": "Same", "hints": "e"}}


def test_content_is_found_by_its_key():
    content = LabContent("99-test", {"p": Question("p", "?", ("a",), "a", "why")}, tasks=TASKS)

    @content.exercise("e")
    def check(on):
        return passed("well done") if on.times else not_yet("no", 1)

    assert content.find("predictions", "p").right == "a"
    exercise = content.find("exercises", "e")
    assert (exercise.title, exercise.hints) == ("Title", ("hint one", "hint two"))
    assert exercise.check(Vanishing(1, 0, False)).passed and exercise.check(Vanishing(0, 0, False)).hint == 1
    content.exercise("f")(check)
    assert content.find("exercises", "f").hints == exercise.hints
    with pytest.raises(BadInput, match="no prediction 'x'") as caught:
        content.find("predictions", "x")
    assert "It has: p" in caught.value.next_step


class Vanishing:
    """An engine whose containers vanish after they were listed, so many times."""

    session = SimpleNamespace(engine=SimpleNamespace(endpoint=""))

    def __init__(self, times: int, status: int, told: bool):
        self.times, self.status, self.told = times, status, told

    def look(self):
        self.times -= 1
        if self.times >= 0:
            response = requests.Response()
            response.status_code = self.status
            fault = APIError("no such container", response)
            if self.told:
                raise LabError("The engine answered.") from fault
            raise fault


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("status", [404, 409])
def test_a_container_that_vanishes_under_a_check_is_no_fault(status, told):
    content = LabContent("99-test", tasks=TASKS)

    @content.exercise("e")
    def check(on):
        on.look()
        return passed("seen")

    assert content.exercises["e"].check(Vanishing(2, status, told)).passed
    with pytest.raises((APIError, LabError)):
        check(Vanishing(99, status, told))
    with pytest.raises((APIError, LabError)):
        check(Vanishing(1, 500, told))


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
    for question in asked(lab):
        assert 2 <= len(question.choices) <= 6 and all(question.choices)
        assert question.asks.strip() and len(question.why) > 20
    for exercise in content.exercises.values():
        assert 2 <= len(exercise.hints) <= 4 and all(exercise.hints)
    assert len(content.quiz) >= 3 and content.exercises
    assert list(content.tasks) == list(content.exercises), "words without a check"


@pytest.mark.parametrize("lab", WRITTEN)
def test_each_learner_has_an_order_of_choices_that_stays(lab, tmp_path):
    mine, other = Progress(tmp_path / "mine" / "progress.json"), Progress(tmp_path / "other" / "progress.json")
    orders = [question.shuffled(mine.seed()) for question in asked(lab)]
    assert [sorted(order) for order in orders] == [sorted(question.choices) for question in asked(lab)]
    again = Progress(mine.path)
    again.answered(lab, "any", True)
    assert [question.shuffled(again.seed()) for question in asked(lab)] == orders
    assert [question.shuffled(other.seed()) for question in asked(lab)] != orders


@pytest.mark.parametrize("lab", WRITTEN)
def test_every_choice_is_somebodys_first(lab):
    for question in asked(lab):
        assert {question.shuffled(str(seed))[0] for seed in range(100)} == set(question.choices)


def test_an_order_is_the_same_on_every_machine_and_python():
    question = Question("key", "?", ("a", "b", "c", "d"), "a", "why")
    assert question.shuffled("1a2b3c4d") == ["a", "d", "c", "b"]


def test_the_saved_text_has_the_files_order_whoever_learns(progress):
    """What nbval compares and GitHub shows; a widget's own order is in the page only."""
    question = asked(OOM)[0]
    made = PredictionWidget(OOM, question, progress)
    assert repr(made) == "Prediction\n" + question.as_text()
    assert list(made.choices.options) == question.shuffled(progress.seed())


def test_a_prediction_is_kept_by_its_text(progress):
    question = asked(OOM)[0]
    made = PredictionWidget(OOM, question, progress)
    made.choices.value = question.right
    made.commit.click()
    made.compare.click()
    assert "As predicted." in made.says.value
    again = PredictionWidget(OOM, question, progress)
    assert again.choices.value == question.right and again.commit.disabled and not again.compare.disabled
    assert progress.read()[OOM]["predictions"][question.key] == {"choice": question.right, "right": True}


def test_a_prediction_of_labkit_0_1_was_kept_by_its_place(progress):
    question = Question("full", "?", ("a", "b"), "a", "why")
    for kept, means in ((1, "b"), (2, None), ("a", "a"), ("gone", None)):
        progress.path.parent.mkdir(parents=True, exist_ok=True)
        progress.path.write_text(json.dumps({OOM: {"predictions": {"full": {"choice": kept, "right": False}}}}))
        assert progress.prediction(OOM, question) == means
        assert PredictionWidget(OOM, question, progress).choices.value == means


def test_a_quiz_answer_is_right_by_its_text(progress):
    question = Question("k", "?", ("a", "b", "c"), "b", "because")
    [row] = QuizWidget("08", [question], progress).rows
    choices, says = row.children[1:]
    choices.value = "a"
    assert "Not quite." in says.value
    choices.value = "b"
    assert "Right." in says.value and "because" in says.value
    assert progress.read()["08"]["quiz"]["k"] == {"tries": 2, "right": True}


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
    full, other = asked(OOM)[:2]
    progress.predicted(OOM, full.key, full.choices[0], False)
    progress.predicted(OOM, full.key, full.choices[1], True)
    assert progress.prediction(OOM, full) == full.choices[0]
    assert progress.read()[OOM]["predictions"][full.key]["right"] is False
    assert progress.prediction(OOM, other) is None


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


@pytest.mark.parametrize("lab", WRITTEN)
def test_every_check_is_tried_with_three_wrong_states_and_two_right_ways(lab):
    rows = importlib.import_module(f"tests.engine.test_exercises_{lab[:2]}").STATES.rows
    assert len({str(row) for row in rows}) == len(rows)
    for key in load(lab).exercises:
        wrong = [row for row in rows if row.key == key and row.hint is not None]
        assert len(wrong) >= 3 and len([row for row in rows if row.key == key]) - len(wrong) >= 2, key
