"""The house's own rules: who may import whom, how long a file gets, what an import costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import course
from labkit.commands.new import named_in
from labkit.course.result import Result, draws
from labkit.course.topic import Topic
from labkit.lab import Lab
from labkit.paths import COURSE

PACKAGE = COURSE / "labkit"
LABS = PACKAGE / "labs"

#: From the ground up; a module may import from its own layer and from those before it.
LAYERS = [
    {"errors", "units", "paths", "files", "waiting", "saying", "debian", "workingcopy", "beside"},
    {"engine"},
    {"images"},
    {"observe"},
    {"course"},
    {"labs"},
    {"lab"},
    {"commands"},
    {"cli", "__main__", "__init__"},
]

#: Within a lab, by how a file's name begins: experiments come first, the topics (``__init__``) last.
WITHIN = ["", "figures", "checks", "widget", "__init__"]

#: Where one lab builds on another.
ARROWS = {
    ("devops_and_delivery", "images_and_registries"),
    ("what_docker_solves", "images_and_registries"),
    ("what_docker_solves", "devops_and_delivery"),
    ("container_history", "isolation_models"),
    ("it_does_not_work", "images_and_registries"),
    ("releases", "images_and_registries"),
}

AGENT = PACKAGE / "observe" / "agent"

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(AGENT))


def named(path: Path) -> str:
    """A file as a test's name."""
    return str(path.relative_to(PACKAGE))


def layer_of(part: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if part in names]
    assert found, f"labkit.{part} is in no layer: add it to LAYERS"
    return found[0]


def place_of(module: str) -> int:
    """A module's place within its lab."""
    return max(number for number, begins in enumerate(WITHIN) if module.startswith(begins))


def imports_of(path: Path) -> set[tuple[str, ...]]:
    """The modules of labkit that a module imports anywhere, as their names below labkit."""
    package = ["labkit", *path.relative_to(PACKAGE).parts[:-1]]
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = [*above, *(node.module.split(".") if node.module else [])]
            # "from .. import images" names modules; "from ..errors import X" names what is in one.
            names = [[*module, alias.name] if is_module([*module, alias.name]) else module for alias in node.names]
        found |= {tuple(name[1:]) for name in names if name[0] == "labkit" and name[1:]}
    return found


def is_module(name: list[str]) -> bool:
    below = PACKAGE.joinpath(*name[1:])
    return name[0] == "labkit" and (below.with_suffix(".py").exists() or (below / "__init__.py").exists())


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    """A layering test that sees no import would always pass."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    for name in ("images/__init__.py", "labs/one/oom.py", "labs/one/x.py", "labs/two/shop.py", "course/style.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "labs" / "one" / "x.py"
    path.write_text(
        "import labkit.lab\nfrom ...errors import LabError\nfrom ... import images\nfrom . import oom\n"
        "from ..two import shop\nfrom ..two.shop import Shop\nfrom .oom import grow\n"
        "def f():\n    from labkit.course import style\n    from ...engine.faults import explain\nimport json\n"
    )
    assert imports_of(path) == {
        ("lab",), ("errors",), ("images",), ("labs", "one", "oom"), ("labs", "two", "shop"), ("course", "style"),
        ("engine", "faults"),
    }  # fmt: skip
    assert [place_of(name) for name in ("oom", "figures", "figures_oom", "checks", "widget", "__init__")] == [
        0, 1, 1, 2, 3, 4,
    ]  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_imports_point_down(path):
    own = layer_of(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    above = {".".join(module) for module in imports_of(path) if layer_of(module[0]) > own}
    assert not above, f"imports from above: {sorted(above)}"


def swallowed(source: str) -> list[int]:
    """The lines where everything is caught, and neither raised again at the end nor told to anybody."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            found += [node.lineno for kind in node.args if ast.unparse(kind) in EVERYTHING]
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in EVERYTHING):
            # Whether to raise it is no telling: what is asked there may be true of all.
            rest = [part for part in node.body if not isinstance(part, ast.If)]
            told = any(isinstance(n, ast.Name) and n.id == node.name for part in rest for n in ast.walk(part))
            if not told and not isinstance(node.body[-1], ast.Raise):
                found.append(node.lineno)
    return found


EVERYTHING = ("Exception", "BaseException")


def test_what_swallows_is_seen():
    tried = "try: pass\nexcept Exception as fault:\n"
    assert swallowed(tried + " pass") == swallowed(tried + " if not right(fault): raise") == [2]
    assert swallowed("from contextlib import suppress\nwith suppress(OSError, Exception): pass") == [2]
    assert swallowed(tried + " if mine(fault): return\n raise") == swallowed(tried + " say(fault)") == []
    assert swallowed("try: pass\nexcept OSError: pass") == []


@pytest.mark.parametrize("path", [*SOURCES, *sorted(AGENT.glob("*.py"))], ids=named)
def test_nothing_swallows_all_that_goes_wrong(path):
    assert swallowed(path.read_text()) == []


def lab_imports(path: Path) -> set[tuple[str, str]]:
    """What a file of a lab imports from the labs, as (lab, module); a lab's own topics are its ``__init__``."""
    return {(*module[1:], "__init__")[:2] for module in imports_of(path) if module[0] == "labs"}


@pytest.mark.parametrize("path", sorted(LABS.glob("*/*.py")), ids=named)
def test_within_a_lab_imports_point_down(path):
    """Experiment, figures, checks, widget, topics: each may use what comes before it, here and in other labs."""
    above = {module for module in lab_imports(path) if place_of(module[1]) > place_of(path.stem)}
    assert not above, f"imports from above: {sorted(above)}"


def test_a_lab_builds_on_few_others():
    """No sideways import but the known ones; and what is no longer used is no longer allowed."""
    found = {(path.parent.name, lab) for path in LABS.glob("*/*.py") for lab, _ in lab_imports(path)}
    assert {(lab, other) for lab, other in found if lab != other} == ARROWS


def test_folder_notebook_and_course_agree():
    entries = course.labs()
    assert sorted(path.parent.name for path in LABS.glob("*/__init__.py")) == sorted(lab.folder for lab in entries)
    assert sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb")) == sorted(lab.lab for lab in entries)
    assert {module[1] for module in imports_of(LABS / "__init__.py")} == {lab.folder for lab in entries}
    for lab in entries:
        assert (LABS / lab.folder / "checks.py").exists(), lab.folder


def bound(node: ast.ClassDef) -> list[str]:
    """The names that a class binds, in its body and on ``self`` in its ``__init__``."""
    found = named_in(node)
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            targets = [t for n in ast.walk(part) if isinstance(n, ast.Assign) for t in n.targets]
            targets += [n.target for n in ast.walk(part) if isinstance(n, ast.AnnAssign)]
            found += [t.attr for t in targets if isinstance(t, ast.Attribute) and ast.unparse(t.value) == "self"]
    return found


def test_the_reader_of_names_sees_all_forms():
    text = "class A:\n a = b = 1\n def c(self): self.x = 1\n def __init__(self):\n  self.d: int = 1\n  self.e = 2\n"
    (node,) = ast.parse(text).body
    assert bound(node) == ["a", "b", "c", "__init__", "e", "d"]


@pytest.mark.parametrize("path", [PACKAGE / "lab.py", *sorted(LABS.glob("*/__init__.py"))], ids=named)
def test_a_name_is_given_once(path):
    """A topic named like an attribute of a lab, or two experiments of one name: one would hide the other."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    assert classes
    for node in classes:
        twice = {name for name in bound(node) if bound(node).count(name) > 1}
        assert not twice, f"{node.name} has two of each: {sorted(twice)}"


def test_a_lab_has_every_topic_by_its_name():
    """``lab.oom`` is an ``Oom``: what a folder adds, a notebook finds."""
    topics = {kind.__name__.lower(): kind for lab in course.labs() for kind in topics_of(lab.folder)}
    made = {name: part.func for name, part in vars(Lab).items() if isinstance(part, cached_property)}
    assert sorted(made) == sorted(topics)
    for name, kind in topics.items():
        assert type(made[name](SimpleNamespace(context=None))) is kind


def topics_of(folder: str) -> list[type[Topic]]:
    module = importlib.import_module(f"labkit.labs.{folder}")
    found = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Topic)]
    return [kind for kind in found if kind is not Topic]


def test_two_figures_of_one_name_are_refused():
    class Found(Result):
        pass

    def first(found): ...

    def second(found): ...

    draws(Found)(draws(Found)(first))  # a module that is imported again signs up again
    with pytest.raises(TypeError, match="Found has two figures 'plot'"):
        draws(Found)(second)


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


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_module_says_what_it_is(path):
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text))


#: In these, every public function and class says what it is. A check's title, in its decorator, is its docstring.
TOLD = ("engine", "images", "observe", "course", "labs")


def public(path: Path) -> list:
    """A module's own public functions and classes."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.parse(path.read_text()).body if isinstance(node, kinds)]
    return [node for node in found if not node.name.startswith("_")]


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] in TOLD and path.name != "main.py"],
    ids=named,
)
def test_whatever_is_public_says_what_it_is(path):
    silent = [node.name for node in public(path) if not ast.get_docstring(node) and not node.decorator_list]
    assert [name for name in silent if name != "main"] == []


EXPERIMENTS = [path for path in LABS.glob("*/*.py") if place_of(path.stem) == 0]
SHARED = [PACKAGE / "course" / f"{name}.py" for name in ("benchmark", "context", "result", "state", "topic")]


@pytest.mark.parametrize("path", sorted(EXPERIMENTS + SHARED), ids=named)
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


def test_experiments_load_no_figures_and_no_widgets():
    loaded = loaded_by("import " + ", ".join(f"labkit.labs.{lab.folder}.checks" for lab in course.labs()))
    assert "labkit.labs.out_of_memory.oom" in loaded
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
