"""``labkit new``: the skeleton of what a contributor adds, in the places where it belongs."""

import argparse
import ast
import keyword
import re
from pathlib import Path
from string import Template

from ..course import resolve
from ..errors import BadInput, NotPossibleHere
from ..paths import COURSE, INSTALLED

#: A function's name, and none that a file of a lab has for another reason.
_NAME = "(?!figures|checks|widget|experiment$)[a-z][a-z0-9_]*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["experiment"], help="what to begin")
    parser.add_argument("lab", help="the lab's number, name or folder, such as 08 or out_of_memory")
    parser.add_argument(
        "name", help="the experiment's name, such as throttle; oom.throttle where a lab has several topics"
    )


def main(options: argparse.Namespace) -> int:
    for path in begin(options.lab, options.name):
        print(path.relative_to(COURSE))
    print("Now fill them in; CONTRIBUTING.md says how. The test: pytest tests/engine -k " + options.name.split(".")[-1])
    return 0


def begin(lab: str, name: str) -> list[Path]:
    """Write a new experiment, its figure and its test, and add its line to the lab's topic; returns these files.

    Args:
        lab: its number, name or folder.
        name: the experiment's, which becomes ``lab.<topic>.<name>``; with the topic and a dot before it where
            the lab has several.

    Raises:
        BadInput: no such lab or topic, no name for an experiment, or one that is taken.
        NotPossibleHere: this labkit is no checkout.
    """
    if INSTALLED:
        raise NotPossibleHere(
            "This labkit was installed from a wheel: what is added to it goes with the next one.",
            next_step="Use a checkout of the course; CONTRIBUTING.md there says how.",
        )
    folder = resolve(lab).folder
    home = COURSE / "labkit" / "labs" / folder
    wanted, _, name = name.rpartition(".")
    if not re.fullmatch(_NAME, name) or keyword.iskeyword(name):
        raise BadInput(f"{name!r} is no name for an experiment.", next_step="Choose small letters, such as throttle.")
    text = (home / "__init__.py").read_text(encoding="utf-8")
    body = ast.parse(text).body
    topics = {node.name.lower(): node for node in body if isinstance(node, ast.ClassDef)}
    if not wanted and len(topics) == 1:
        (wanted,) = topics
    if wanted not in topics:
        raise BadInput(
            f"{folder} has the topics {', '.join(topics)}.", next_step=f"Name one: {next(iter(topics))}.{name}"
        )
    words = {"folder": folder, "name": name, "title": name.replace("_", " ").capitalize()}
    words["kind"] = "".join(part.capitalize() for part in name.split("_")) + "Run"
    made = {
        "experiment": home / f"{name}.py",
        "figure": home / f"figures_{name}.py",
        "test": COURSE / "tests" / "engine" / f"test_{name}.py",
    }
    taken = [f"lab.{wanted}.{name}"] if name in named_in(topics[wanted]) else []
    taken += [str(path.relative_to(COURSE)) for path in made.values() if path.exists()]
    if taken:
        raise BadInput(f"There is {' and '.join(taken)} already.", next_step="Choose another name.")
    for part, path in made.items():
        skeleton = Path(__file__).with_name("skeleton") / f"{part}.txt"
        path.write_text(Template(skeleton.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    (home / "__init__.py").write_text(_with_line(text, body, topics[wanted], name), encoding="utf-8")
    return [*made.values(), home / "__init__.py"]


def named_in(topic: ast.ClassDef) -> list[str]:
    """The names that a class binds in its body, in order."""
    found: list[str] = []
    for node in topic.body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [ast.unparse(target) for target in node.targets]
    return found


def _with_line(text: str, body: list[ast.stmt], topic: ast.ClassDef, name: str) -> str:
    """A lab's ``__init__.py`` with an experiment's line below the topic's others, and its module imported."""
    lines = text.split("\n")
    last = [node for node in topic.body if isinstance(node, (ast.Assign, ast.Expr))][-1]
    lines.insert(last.end_lineno or last.lineno, f"    {name} = experiment({name}.{name})")
    (beside,) = [node for node in body if isinstance(node, ast.ImportFrom) and node.level == 1 and not node.module]
    modules = sorted([name, *(alias.name for alias in beside.names)])
    line = f"from . import {', '.join(modules)}"
    if len(line) > 120:
        line = "\n".join(["from . import (", *(f"    {module}," for module in modules), ")"])
    lines[beside.lineno - 1 : beside.end_lineno] = [line]
    return "\n".join(lines)
