"""The house's own rules: who may import whom, how long a file gets, what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

from labkit.paths import COURSE

PACKAGE = COURSE / "labkit"

#: From the ground up; a module may import from its own layer and from those before it.
LAYERS = [
    {"errors", "units", "paths", "debian", "course", "workingcopy"},
    {"engine"},
    {"images"},
    {"observe"},
    {"experiments"},
    {"exercises"},
    {"figures"},
    {"widgets"},
    {"card", "busy", "notebook", "lab", "cli", "commands", "__main__", "__init__"},
]

AGENT = PACKAGE / "observe" / "agent"

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(AGENT))


def layer_of(part: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if part in names]
    assert found, f"labkit.{part} is in no layer: add it to LAYERS"
    return found[0]


def imports_of(path: Path) -> set[str]:
    """The parts of labkit that a module imports anywhere, as their names right below labkit."""
    package = ["labkit", *path.relative_to(PACKAGE).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            # "from .. import images" names modules; "from ..errors import X" names what is in one.
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "labkit" else [module]
        found |= {name.split(".")[1] for name in names if name.startswith("labkit.")}
    return found


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    """A layering test that sees no import would always pass."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "figures").mkdir()
    path = tmp_path / "figures" / "x.py"
    path.write_text(
        "import labkit.lab\nfrom ..errors import LabError\nfrom .. import images\nfrom . import style\n"
        "def f():\n    from labkit.widgets import base\n    from ..engine.faults import explain\nimport json\n"
    )
    assert imports_of(path) == {"lab", "errors", "images", "figures", "widgets", "engine"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = layer_of(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    above = {part for part in imports_of(path) if layer_of(part) > own}
    assert not above, f"imports from above: {sorted(above)}"


@pytest.mark.parametrize("path", sorted(AGENT.glob("*.py")), ids=lambda path: path.name)
def test_the_agent_stands_alone(path):
    """It is copied into a container that has Python's own library and nothing else."""
    beside = {other.stem for other in AGENT.glob("*.py")}
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), "no relative imports: there is no package"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name in beside or name.split(".")[0] in sys.stdlib_module_names, name


def test_only_the_embedded_engine_knows_qemu():
    knows = [path for path in SOURCES if re.search(r"qemu-system|qmp", path.read_text())]
    assert [path for path in knows if not path.is_relative_to(PACKAGE / "engine" / "embedded")] == []


TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=COURSE, capture_output=True, text=True
).stdout.split("\n")
WRITTEN = [name for name in TRACKED if name.endswith((".py", ".sh", ".md")) and (COURSE / name).exists()]


def test_files_are_found():
    assert len(WRITTEN) > 50


@pytest.mark.parametrize("name", WRITTEN)
def test_no_file_is_too_long_to_read(name):
    assert len((COURSE / name).read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path):
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text))


#: In these, every public function and class says what it is. A check's title, in its decorator, is its docstring.
TOLD = ("engine", "images", "observe", "experiments", "exercises", "figures", "widgets")


def public(path: Path) -> list:
    """A module's own public functions and classes."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.parse(path.read_text()).body if isinstance(node, kinds)]
    return [node for node in found if not node.name.startswith("_")]


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] in TOLD and path.name != "main.py"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_whatever_is_public_says_what_it_is(path):
    silent = [node.name for node in public(path) if not ast.get_docstring(node) and not node.decorator_list]
    assert [name for name in silent if name != "main"] == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "experiments").glob("*.py")), ids=lambda path: path.stem)
def test_experiments_have_one_shape(path):
    """What works on an engine takes the context, as ``on``, before anything else, and says what it returns."""
    for node in public(path):
        if not isinstance(node, ast.FunctionDef):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        kinds = [ast.unparse(argument.annotation) if argument.annotation else "" for argument in arguments]
        if "Context" in kinds:
            assert (arguments[0].arg, kinds[0]) == ("on", "Context"), node.name
        assert node.returns is not None, node.name


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=COURSE, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_labkit_loads_nothing_heavy():
    loaded = loaded_by("import labkit")
    assert "labkit" in loaded
    assert not {"docker", "matplotlib", "ipywidgets", "IPython", "requests", "numpy", "nbformat"} & loaded


def test_opening_a_lab_needs_no_figures_yet():
    loaded = loaded_by("import labkit.lab")
    assert "docker" in loaded
    assert not {"matplotlib", "ipywidgets", "nbformat"} & loaded


#: What conda-forge calls a package that has another name on PyPI.
CONDA_NAMES = {"docker": "docker-py"}


def test_environment_yml_and_pyproject_ask_for_the_same():
    project = tomllib.loads((COURSE / "pyproject.toml").read_text())["project"]
    wanted = {}
    for line in project["dependencies"]:
        name, floor = re.fullmatch(r"([\w.-]+)(>=[\d.]+)", line).groups()
        wanted[CONDA_NAMES.get(name, name)] = floor
    lines = (COURSE / "environment.yml").read_text().splitlines()
    listed = [line.strip().removeprefix("- ") for line in lines if line.strip().startswith("- ")]
    found = {}
    for line in listed:
        match = re.fullmatch(r"([\w.-]+)\s*(>=[\d.]+)", line.strip("\"' "))
        if match:
            found[match[1]] = match[2]
    assert found == wanted
    assert "conda-forge" in listed and "python=3.12" in listed, "Binder wants exactly 3.12"
