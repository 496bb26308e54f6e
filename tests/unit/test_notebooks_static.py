"""What every committed notebook must be, without running it.

A notebook that was never executed passes nbval without testing anything, and a tag here or
there takes a cell out of the comparison. This is where that would show.
"""

from __future__ import annotations

import re
import shlex
import statistics
from functools import cache
from pathlib import Path

import nbformat
import pytest

from labkit import course
from labkit.course.exercises import load
from labkit.course.progress import Progress
from labkit.course.widget_questions import PredictionWidget, QuizWidget

from ..beside import NOTEBOOKS, bare_actions, commands_of

#: A verdict in what a cell prints: yes or no at the end of a line or before the next, True or False, so many of so many.
VERDICT = re.compile(r"(?:: |  )(?:yes|no)(?=$| ·|  )|: +(?:True|False)\b|\b\d+ of \d+\b", re.M)
#: Verdicts without raw evidence in their own cell, and where it is.
SHOWN_ELSEWHERE = {
    "lab00-03": "each check is a row of the report that this cell prints",
    "lab00-15": "prints the requests and their answers",
    "lab00-20": "the cell above prints the requests and their answers",
    "lab01-run": "the digest is in the next cell",
    "lab01-broken": "prints the failed test's words; the push was skipped",
    "lab01-roll": "compared in the cell itself",
    "lab02-06": "the next cell's table has all that was reported",
    "lab03-by-digest": "compared in the cell itself",
    "lab03-shelf": "compared in the cell itself",
    "lab04-environments": "prints the answers that it compares",
    "lab05-42b": "compared in the cell itself",
    "lab06-08": "the figure has the processes, their numbers and parents",
    "lab06-24": "prints the links in their order",
    "lab06-38b": "compared in the cell itself, beside the record's words",
    "lab08-55": "compared in the cell itself; lab08-53 shows the line",
    "lab09-19": "prints the disk",
}

LOOSE_TAGS = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-test-listed"}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_is_valid_and_belongs_to_the_course(path):
    nbformat.validate(read(path))
    assert path.stem in {entry.lab for entry in course.labs()}


def test_metadata(path):
    metadata = read(path).metadata
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info.name == "python"
    assert "widgets" not in metadata, "saved widget state: JupyterLab doesn't restore it"


def test_was_executed_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


def test_outputs_show_everywhere(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", output.get("evalue")
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_size(path):
    assert 25 <= len(read(path).cells) <= 60


def test_code_is_short(path):
    # The markers of a solution or an exercise are no code to read.
    lengths = [
        sum(1 for line in cell.source.splitlines() if line.strip() and not line.startswith(("#", "%%solution")))
        for cell in code_cells(path)
    ]
    assert max(len(cell.source.splitlines()) for cell in code_cells(path)) <= 15
    assert statistics.median(lengths) <= 3


def test_three_quarters_are_compared_strictly(path):
    cells = code_cells(path)
    strict = [cell for cell in cells if not tags(cell) & LOOSE_TAGS and "NBVAL_" not in cell.source]
    assert len(strict) >= 0.75 * len(cells), f"{len(strict)} of {len(cells)}"


def test_strict_cells_have_something_to_compare(path):
    """Of the strictly compared cells, most must print or show; a course of silent cells proves nothing."""
    strict = [cell for cell in code_cells(path) if not tags(cell) & LOOSE_TAGS]
    assert sum(bool(cell.outputs) for cell in strict) >= 0.75 * len(strict)


def test_first_cell_opens_its_own_lab(path):
    assert f'lab = labkit.open("{path.stem}")' in code_cells(path)[0].source


def test_every_action_has_its_command_beside_it(path):
    assert [f"{cell.id}: {call}" for cell in code_cells(path) for call in bare_actions(cell.source)] == []


def test_a_verdict_has_its_raw_evidence_beside_it(path):
    """What labkit has worked out is no proof: ``result.evidence()`` shows what it looked at."""
    bare = {
        cell.id
        for cell in code_cells(path)
        if VERDICT.search("".join(one.text for one in cell.outputs if one.output_type == "stream"))
        and ".evidence(" not in cell.source and not tags(cell) & {"solution", "exercise"}
    }  # fmt: skip
    listed = {cell.id for cell in code_cells(path)} & set(SHOWN_ELSEWHERE)
    assert bare == listed


def test_docker_is_typed(path):
    assert any(cell.source.startswith("%%docker") for cell in code_cells(path))


def test_commands_are_copyable(path):
    for command in [line for cell in code_cells(path) for line in commands_of(cell.source)]:
        assert len(command) <= 170 and not command.endswith("\\"), command
        shlex.split(command)


def test_what_a_command_names_is_there(path):
    """A variable is set beside a call above it, or there it is said what it stands for."""
    told = {"SESSION"}
    for cell in code_cells(path):
        told |= set(re.findall(r"^# (?:export )?([A-Z]+)=", cell.source, re.M))
        used = re.findall(r"\$([A-Z]+)\b", "\n".join(commands_of(cell.source)))
        assert set(used) <= told, (cell.id, used)


def test_solutions_are_folded_and_tagged(path):
    keys = []
    for cell in code_cells(path):
        is_solution = cell.source.startswith("%%solution ")
        assert is_solution == ("solution" in tags(cell))
        if is_solution:
            assert cell.metadata.jupyter.source_hidden is True
            keys.append(cell.source.split("\n")[0].removeprefix("%%solution ").strip())
    assert sorted(keys) == sorted(load(path.stem).exercises)


def test_every_exercise_is_one_cell_after_its_solution(path):
    cells = code_cells(path)
    for key in load(path.stem).exercises:
        [place] = [n for n, cell in enumerate(cells) if f'lab.check("{key}")' in cell.source]
        assert tags(cells[place]) >= {"exercise"}, key
        assert cells[place].source.startswith("# Your turn: write above the last line"), key
        assert cells[place].source.endswith(f'lab.check("{key}")'), key
        assert cells[place - 1].source.startswith(f"%%solution {key}\n"), key


@pytest.mark.parametrize("call, kind", [("check", "exercises"), ("predict", "predictions")])
def test_keys_are_those_of_the_exercises(path, call, kind):
    used = re.findall(rf'lab\.{call}\("([^"]+)"\)', "\n".join(cell.source for cell in code_cells(path)))
    assert sorted(used) == sorted(getattr(load(path.stem), kind))


def test_the_quiz_is_asked(path):
    assert any("lab.quiz()" in cell.source for cell in code_cells(path))


def test_a_prediction_comes_before_what_it_is_about(path):
    """The cell after a prediction is its experiment, so the notebook can't end with one."""
    cells = code_cells(path)
    places = [n for n, cell in enumerate(cells) if "lab.predict(" in cell.source]
    assert places and places[-1] < len(cells) - 1


def test_links_lead_somewhere(path):
    planned = {f"{entry.lab}.ipynb" for entry in course.labs()}
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        file = target.split("#")[0]
        assert not file or file in planned or (path.parent / file).exists(), target


def test_there_is_a_sentence_to_keep_and_a_recap(path):
    assert "> **Keep:**" in prose(path)
    assert re.search(r"^\|.*\|$", prose(path), flags=re.M), "a recap table"


def test_images_have_a_text_alternative(path):
    for image in re.findall(r"<img [^>]*>", prose(path)):
        assert re.search(r'alt="[^"]{10,}"', image), image
    for words in re.findall(r"!\[([^\]]*)\]\(", prose(path)):
        assert len(words) >= 10
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                described = output.metadata.get("image/png", {}).get("alt", "")
                assert len(described) >= 20 and "<Figure" not in data.get("text/plain", "")


def test_cell_names_are_stable(path):
    names = [cell.id for cell in read(path).cells]
    assert len(set(names)) == len(names)
    made_up = [name for name in names if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", name)]
    assert not made_up, "ids that an editor made up change with every save"


def test_holds_nothing_of_the_machine_it_was_made_on(path):
    text = path.read_text()
    assert not re.search(r"/work/|/root/|\\u001b\[", text)


def test_questions_are_saved_as_they_are_asked(path, tmp_path):
    """A question whose words were changed in ``questions.toml`` is shown in its new words on GitHub, too."""
    content, progress = load(path.stem), Progress(tmp_path / "progress.json")
    widgets = {f'lab.predict("{key}")': PredictionWidget(path.stem, question, progress)
               for key, question in content.predictions.items()}  # fmt: skip
    widgets["lab.quiz()"] = QuizWidget(path.stem, content.quiz, progress)
    saved = {cell.source: cell.outputs[0].data["text/plain"] for cell in code_cells(path) if cell.source in widgets}
    assert saved == {source: repr(widget) for source, widget in widgets.items()}
