"""The commands that stand beside the calls in the notebooks, and which cells need one."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache

import nbformat

from labkit.paths import COURSE

NOTEBOOKS = sorted((COURSE / "notebooks").glob("[0-9][0-9]-*.ipynb"))

#: Calls that do nothing to an engine: they print, draw, ask, or wait for somebody to press something.
LOOKS = """
lab.incidents.manual lab.incidents.ask lab.incidents.check lab.incidents.command lab.incidents.live report.shortest
lab.docker.containers.get labkit.open lab.predict lab.quiz lab.check lab.map lab.glossary lab.notes lab.name_for
lab.terminal lab.delivery.tea lab.delivery.board lab.delivery.call lab.docker.df lab.history.builder
lab.history.group_script lab.history.layers lab.history.lxc_program lab.history.lxc_steps lab.history.runtime
lab.history.side_by_side lab.history.timeline lab.history.walk_program lab.images.compare lab.images.explorer
lab.images.puzzle lab.images.source lab.isolation.namespace_board lab.isolation.others_chart
lab.isolation.density lab.isolation.probe_script lab.isolation.stopwatch lab.life.machine lab.limits.live
lab.limits.program lab.oom.live
lab.oom.program lab.parts.then_and_now lab.security.live lab.shop.ARCHITECTURES.items lab.solves.scale lab.xray.live
registry.manifest release.digest.startswith tapped.body tried.apparmor lab.network.live
lab.data.program cables.listing published.rules reach.rules run.verdict.evidence tried.status zombies.table
registry.catalogue registry.tags registry.digest registry.get run.order hand.typed finishes lab.oom.job
lab.security.profile lab.security.job image.instructions shop.answers
carried.machines pieces.items lab.incidents.command('api').replace lab.releases.files lab.releases.folder
lab.releases.place_files lab.releases.live bill.gate
""".split()

#: Calls for which ``docker`` has no command: they work below it, on the machine, are given a command as text, or must not
#: say what they do: an incident is to be found.
BELOW = """
lab.own lab.cli lab.releases.customers lab.incidents.start lab.incidents.mend lab.isolation.neighbours
lab.isolation.gvisor lab.history.jail lab.history.walk_out
lab.history.behind_pivot lab.history.each_namespace lab.history.group_by_hand lab.history.build lab.history.lxc_by_api
lab.history.runc_alone lab.parts.wiretap lab.parts.socket own.engine.shell own.parts.ordinary_user request
""".split()

#: Cells that use what others above have left on the engine, under a name that no variable tells.
AFTER = {
    "lab00-28": "lab00-25",
    "lab03-manifest": "lab03-pushes",
    "lab03-names": "lab03-pushes",
    "lab03-by-digest": "lab03-pushes",
    "lab03-publish": "lab03-pushes",
    "lab03-delete": "lab03-pushes",
    "lab03-solution-no-tag": "lab03-pushes",
    "lab03-solution-digest": "lab03-solution-no-tag",
}

#: Python's own, and what only looks or waits, whatever it is called on.
_PYTHON = re.compile(
    r"print|display|enumerate|range|all|bool|(pathlib|tempfile|json|time|hashlib)\.|"
    r".*\.(plot|evidence|join|encode|decode|strip|split|splitlines|startswith|removeprefix|json|replace|items|values|get|"
    r"hexdigest|write_text|reload|wait|logs)$"
)


@dataclass(frozen=True)
class Beside:
    """A cell with commands beside its calls; ``commands`` as one would type them, ``code`` is the cell's Python."""

    lab: str
    cell: str
    commands: tuple[str, ...]
    code: str

    def __str__(self) -> str:
        return self.cell


@cache
def cells(lab: str) -> list[tuple[str, str]]:
    """A lab's code cells as (id, source)."""
    notebook = nbformat.read(COURSE / "notebooks" / f"{lab}.ipynb", as_version=4)
    return [(cell.id, cell.source) for cell in notebook.cells if cell.cell_type == "code"]


def python_of(source: str) -> str:
    """What Python runs in a cell: a solution without its first line; nothing of one that is typed."""
    if source.startswith("%%docker"):
        return ""
    return source.partition("\n")[2] if source.startswith("%%solution") else source


def commands_of(source: str) -> tuple[str, ...]:
    """The commands beside a cell's calls: comments above them. A variable without quotation marks is only an example."""
    lines = re.findall(r"^# (docker .*|(?:export )?[A-Z]+=[\"$].*)$", python_of(source), re.M)
    return tuple(lines)


def all_beside() -> list[Beside]:
    """Every cell with commands, in the order of the course."""
    labs = [path.stem for path in NOTEBOOKS]
    found = [(lab, cell, commands_of(source), python_of(source)) for lab in labs for cell, source in cells(lab)]
    return [Beside(*row) for row in found if row[2]]


def bare_actions(source: str) -> list[str]:
    """The calls of a cell that act on an engine, where fewer commands than that stand beside them."""
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(python_of(source))) if isinstance(node, ast.Call)}
    # One that is called on what another one gave (``run(…).pause``) is told by its last word.
    calls = {re.sub(r".*\)(?=\.)", "", call, flags=re.S) for call in calls}
    acting = sorted(call for call in calls if call not in (*LOOKS, *BELOW) and not _PYTHON.match(call))
    typed = [part for line in commands_of(source) for part in line.split("; ") if part.startswith("docker ")]
    return acting if len(typed) < len(acting) else []


def needed(beside: Beside) -> list[tuple[str, str]]:
    """The cells above one that make what it uses, as (id, code)."""
    found: list[tuple[str, str]] = []
    wanted, after = _names(beside.code)[1], AFTER.get(beside.cell, "")
    above = cells(beside.lab)
    for cell, source in reversed(above[1 : [cell for cell, _ in above].index(beside.cell)]):
        code = python_of(source)
        made, used = _names(code)
        if made & wanted or cell in after:
            found.append((cell, code))
            wanted, after = (wanted - made) | used, f"{after} {AFTER.get(cell, '')}"
    return found[::-1]


def _names(code: str) -> tuple[set[str], set[str]]:
    """The variables that a cell makes, and those that it uses before it has made them itself."""
    made, used = set(re.findall(r"^import (\w+)$", code, re.M)), set()
    for statement in ast.parse(code).body:
        every = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        stored = {node.id for node in every if isinstance(node.ctx, ast.Store)}
        targets = (
            {name.id for name in statement.targets if isinstance(name, ast.Name)}
            if isinstance(statement, ast.Assign)
            else set()
        )
        used |= {node.id for node in every if isinstance(node.ctx, ast.Load)} - (stored - targets) - made
        made |= stored
    return made, used - {"lab"}
