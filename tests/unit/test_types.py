"""What an editor knows of a lab: a type checker's own words, compared with what the objects say."""

from __future__ import annotations

import inspect
import re
from functools import cached_property
from types import SimpleNamespace

import pytest
from mypy import api

from labkit.lab import Lab
from labkit.paths import COURSE

TOPICS = {
    name: part.func(SimpleNamespace(context=None))
    for name, part in vars(Lab).items()
    if isinstance(part, cached_property)
}
WORDS = [f"{name}.{word}" for name, topic in TOPICS.items() for word in vars(type(topic)) if not word.startswith("_")]


@pytest.fixture(scope="module")
def revealed(tmp_path_factory) -> dict[str, str]:
    """The type of each word of each topic, as mypy has it where a notebook has ``lab``."""
    folder = tmp_path_factory.mktemp("types")
    lines = ["import labkit", 'lab = labkit.open("08-out-of-memory")', *(f"reveal_type(lab.{word})" for word in WORDS)]
    (folder / "cell.py").write_text("\n".join(lines) + "\n")
    options = ["--config-file", str(COURSE / "pyproject.toml"), "--follow-imports=silent", "--cache-dir", str(folder)]
    said, errors, status = api.run([*options, str(folder / "cell.py")])
    assert (status, errors) == (0, ""), said + errors
    return dict(zip(WORDS, re.findall(r'Revealed type is "(.*)"', said), strict=True))


def test_an_experiment_has_its_real_signature_without_the_context(revealed):
    found = revealed["oom.grow"].replace("builtins.", "").replace("Union[str, int]", "str | int")
    assert found == "def (limit: str | int =, **arguments: Any) -> labkit.labs.out_of_memory.oom.OomRun"


@pytest.mark.parametrize("word", WORDS)
def test_every_word_of_a_topic_has_a_type(revealed, word):
    topic, _, name = word.partition(".")
    value = getattr(TOPICS[topic], name)
    if not callable(value):
        assert revealed[word] != "Any"
        return
    found = re.fullmatch(r"def (?:\[.*\] )?\((.*)\) -> (.*)", revealed[word])
    assert found and found[2] != "Any", revealed[word]
    parameters = inspect.signature(value).parameters
    assert re.findall(r"(\w+): ", found[1]) == list(parameters) and "on" not in parameters
