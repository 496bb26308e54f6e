"""What the questions of all labs have in common: a right answer can't be told by its place, its length or its manner.

Counted over the files, whose order is also what a notebook saves; a learner's own order is shuffled.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from labkit import course
from labkit.course.exercises import Question, load

QUESTIONS = [
    pytest.param(question, id=f"{entry.lab[:2]}-{question.key}")
    for entry in course.labs()
    for question in [*load(entry.lab).predictions.values(), *load(entry.lab).quiz]
]
ALL: list[Question] = [row.values[0] for row in QUESTIONS]

#: How far a count may lie from what chance would give, as a share of all questions. Chance itself (a fair
#: three-sided die, thrown eighty times) strays by a twentieth.
TOLERANCE = 0.05

#: An answer may be longer than the shortest beside it by half, or by so many letters.
LONGER, LETTERS = 1.5, 12

SWEEPING = re.compile(
    r"\b(all|none|both|any|either|neither) of (the|these|those|them)\b|\babove$"
    r"|^(all|none|both|any|either|neither|never|always|yes|no|nothing|everything|there is none)$",
    re.IGNORECASE,
)


def fair(found: float, expected: float) -> bool:
    return abs(found - expected) <= TOLERANCE * len(ALL)


def share(question: Question, extreme) -> float:
    """1 where the right answer alone is the longest (or shortest), a half where two share that, 0 where it isn't."""
    lengths = [len(choice) for choice in question.choices]
    return (len(question.right) == extreme(lengths)) / lengths.count(extreme(lengths))


def test_the_right_answer_stands_everywhere_alike_often():
    places = Counter(question.choices.index(question.right) for question in ALL)
    for place in range(max(len(question.choices) for question in ALL)):
        expected = sum(1 / len(question.choices) for question in ALL if place < len(question.choices))
        assert fair(places[place], expected), f"{'ABCDEF'[place]}: {places[place]} of {len(ALL)}, not {expected:.0f}"


@pytest.mark.parametrize("extreme", [max, min])
def test_the_right_answer_is_the_longest_or_shortest_as_often_as_any(extreme):
    found = sum(share(question, extreme) for question in ALL)
    expected = sum(1 / len(question.choices) for question in ALL)
    assert fair(found, expected), f"{found:.1f} of {len(ALL)}, not {expected:.1f}"


@pytest.mark.parametrize("entry", course.labs(), ids=lambda entry: entry.lab)
def test_no_place_has_most_of_a_labs_answers(entry):
    asked = [*load(entry.lab).predictions.values(), *load(entry.lab).quiz]
    places = Counter(question.choices.index(question.right) for question in asked)
    assert max(places.values()) <= (len(asked) + 2) // 2, dict(places)


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_of_like_length(question):
    longest, shortest = (extreme(map(len, question.choices)) for extreme in (max, min))
    assert longest <= LONGER * shortest or longest - shortest <= LETTERS, question.choices


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_three_or_four_and_each_says_something_of_its_own(question):
    assert 3 <= len(question.choices) <= 4
    assert len({re.sub(r"\W+", " ", choice).casefold().strip() for choice in question.choices}) == len(question.choices)
    sweeping = [choice for choice in question.choices if SWEEPING.search(choice)]
    assert not sweeping, f"answers on other answers, or with no reason: {sweeping}"


def test_no_question_is_asked_twice():
    assert max(Counter(question.asks for question in ALL).values()) == 1
