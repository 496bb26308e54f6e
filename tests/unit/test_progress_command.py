"""`labkit progress`: what is told, to whom, and how a class is counted."""

from __future__ import annotations

import json
import re

import pytest

from labkit.cli import main
from labkit.course.exercises import load
from labkit.course.figures_map import course_map
from labkit.course.progress import Progress

OOM = "08-out-of-memory"


@pytest.fixture
def learner(own_state):
    progress = Progress()
    first, *_ = load(OOM).exercises
    progress.checked(OOM, first, True)
    prediction = next(iter(load(OOM).predictions))
    progress.predicted(OOM, prediction, 0, False)
    return progress


def reported(capsys, *words: str) -> dict:
    assert main(["progress", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_terminal_says_where_one_stands_and_what_is_next(learner, capsys):
    assert main(["progress"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("00 Start here") and "open, next" in lines[0]
    assert lines[8].startswith("08 Out of memory") and "begun" in lines[8]
    assert f"exercises 1/{len(load(OOM).exercises)}" in lines[8]


def test_a_report_is_anonymous_unless_a_name_is_given(learner, capsys):
    found = reported(capsys)
    assert found["learner"] is None
    assert found["labs"][OOM]["state"] == "begun"
    text = json.dumps(found)
    assert str(learner.path) not in text
    assert not re.search(r"\d{4}-\d\d-\d\d", text), "on which days somebody learns is nobody's business"
    assert reported(capsys, "--name", "Ada")["learner"] == "Ada"
    assert reported(capsys)["learner"] is None, "a name is not kept"


def test_a_class_is_counted_without_names(learner, capsys, tmp_path):
    first, second, *_ = load(OOM).exercises
    files = []
    for number, name in enumerate(["Ada", "", "Grace"]):
        if number == 2:
            Progress().checked(OOM, second, False)
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(reported(capsys, "--name", name)))
    found = reported(capsys, *map(str, files))
    assert found["learners"] == 3
    assert found["labs"][OOM] == {"open": 0, "begun": 3, "done": 0}
    assert found["exercises"][f"{OOM}/{first}"] == {"tried": 3, "passed": 3}
    assert found["exercises"][f"{OOM}/{second}"] == {"tried": 1, "passed": 0}
    assert "Ada" not in json.dumps(found)
    assert main(["progress", *map(str, files)]) == 0
    text = capsys.readouterr().out
    assert "3 learners" in text and f"{OOM}/{second}: passed 0 of 1" in text
    assert f"{OOM}/{first}" not in text, "what all passed is not hard"


@pytest.mark.parametrize("words", ["", "[]", "{}", '{"labs": []}', '{"labs": {"08": 1}}', '{"labs": {"08": {}}}'])
def test_a_file_that_is_no_report_is_named(words, tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text(words)
    assert main(["progress", str(path)]) == 1
    assert "x.json is no learner's report" in capsys.readouterr().err


def test_the_map_says_in_words_what_only_this_learner_sees(learner):
    from labkit.course import labs

    picture = course_map(list(labs()), learner.standings(), learner.next_lab())
    data, metadata = picture._repr_mimebundle_()
    spoken = metadata["image/png"]["alt"]
    assert "00 ○ open → next" in spoken
    assert f"08 … begun 1/{len(load(OOM).exercises)}" in spoken
    assert "begun" not in data["text/plain"], "the same on every run"
