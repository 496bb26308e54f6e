"""What is deployed: settings that their programs know, nothing privileged, and what the repository itself says."""

from __future__ import annotations

import json
import re

import pytest
from traitlets.config.loader import PyFileConfigLoader

from labkit.cli import main, parser
from labkit.paths import COURSE

DEPLOY = COURSE / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_the_image_has_binders_packages_and_what_the_wheel_is_made_of():
    installed = DOCKERFILE.replace("qemu-system-$(dpkg", "qemu-system-x86 ").split()
    for package in (COURSE / "apt.txt").read_text().split():
        assert any(word.strip('"') == package for word in installed), package
    sources = re.findall(r"^COPY (.+) (/src\S*)$", DOCKERFILE, flags=re.M)
    assert {name for names, _ in sources for name in names.split()} == {
        "pyproject.toml", "setup.py", "README.md", "labkit", "notebooks", "data",
    }  # fmt: skip
    assert all((COURSE / name).exists() for names, _ in sources for name in names.split())


def test_the_image_runs_as_nobody_special():
    assert re.search(r"^USER 1000$", DOCKERFILE, flags=re.M)
    assert "privileged" not in re.sub(r"^#.*", "", DOCKERFILE, flags=re.M) and "sudo" not in DOCKERFILE


def command_lines() -> list[list[str]]:
    """labkit's command lines in all of these files: in a line of their own, after a prompt's words, or as a list."""
    found = []
    for path in [*sorted(DEPLOY.iterdir()), COURSE / ".devcontainer/devcontainer.json"]:
        text = path.read_text()
        lists = re.findall(r"\[\"?(?:labkit|PROGRAM)\"?, ([^]]+)\]", text)
        found += [re.findall(r"[^\s,\"]+", words) for words in lists]
        typed = re.findall(r"^(?!#)(?:.*[ /])?labkit ((?:class|doctor|engine|join|lab) ?[^#`\n\"]*)", text, flags=re.M)
        found += [re.split(r" (?:>|&&|\|)", words)[0].split() for words in typed]
    return found


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_labkits_command_lines_are_such(words):
    parser().parse_args(words)


@pytest.mark.parametrize("before", ["c.JupyterHub.services = [{'name': 'cull'}]", ""])
def test_a_hubs_other_services_and_roles_stay(tmp_path, before, monkeypatch):
    monkeypatch.setenv("LABKIT_INSTRUCTORS", "ada grace")
    (tmp_path / "hub.py").write_text(
        f"c = get_config()\n{before}\nload_subconfig({str(DEPLOY / 'jupyterhub_config.py')!r})\n"
    )
    found = PyFileConfigLoader("hub.py", path=str(tmp_path)).load_config()
    services, roles = found.JupyterHub.services, found.JupyterHub.load_roles
    services = services if isinstance(services, list) else services.get_value([])
    assert [each["name"] for each in services] == (["cull", "class"] if before else ["class"])
    assert roles.get_value([])[0]["users"] == ["ada", "grace"]
    assert found.Spawner.cmd[1:] == ["lab", "--hub"] and services[-1]["command"][1:] == ["class", "--hub"]


def test_codespaces_looks_at_the_root():
    found = json.loads((COURSE / ".devcontainer/devcontainer.json").read_text())
    assert "privileged" not in found and "capAdd" not in found and "runArgs" not in found
    goals = re.findall(r"make (\w+)", found["onCreateCommand"])
    assert goals and all(re.search(rf"^{goal}:", (COURSE / "Makefile").read_text(), flags=re.M) for goal in goals)


@pytest.mark.parametrize(
    "words, says",
    [
        (["lab", "--hub"], "labkit lab --hub is started by a JupyterHub. Without a hub: labkit lab"),
        (["class", "--hub"], "JupyterHub"),
    ],
)
def test_without_a_hub_it_is_a_sentence(words, says, monkeypatch, capsys):
    for name in ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
