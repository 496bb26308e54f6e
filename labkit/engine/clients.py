"""The client programs docker, buildx and Compose, of labkit's own, with settings of labkit's own.

They run on the notebook's machine, whichever engine they talk to, so that every learner types the same
commands of the same version.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

from ..debian import Progress
from ..errors import LabError
from ..files import write_whole
from ..paths import state_dir
from .embedded import packages, programs

_PLUGINS = "usr/libexec/docker/cli-plugins"

#: From the packages of the engine that a learner meets at work; the released suite's where those can't be had.
KIT = programs.Kit(
    name="docker",
    title="the docker command line with buildx and Compose",
    packages=("docker-cli", "docker-buildx", "docker-compose"),
    programs=(
        ("bin/docker", programs.Program("usr/bin/docker")),
        ("cli-plugins/docker-buildx", programs.Program(f"{_PLUGINS}/docker-buildx", check=("version",))),
        ("cli-plugins/docker-compose", programs.Program(f"{_PLUGINS}/docker-compose", check=("version",))),
    ),
    suites=(packages.CURRENT, packages.LAST_GOOD),
)

#: Variables that would change what a client does: which engine, builder and project, and with which settings.
_SETTINGS = ("DOCKER_", "BUILDX_", "BUILDKIT_", "COMPOSE_")

#: Seconds after which fetching is tried again, once it has failed in this process.
_RETRY = 600.0

_failed: tuple[float, LabError] | None = None


def ensure(progress: Progress | None = None) -> Path:
    """The ``docker`` program of labkit's own; fetched first where it is missing (38 MB, once).

    Raises:
        LabError: the packages can't be had or don't start here; told again at once for ten minutes.
    """
    global _failed
    there = programs.existing(KIT)
    if there is None:
        if _failed and time.monotonic() - _failed[0] < _RETRY:
            raise _failed[1]
        try:
            there = programs.ensure(KIT, progress=progress)
        except LabError as reason:
            _failed = (time.monotonic(), reason)
            raise
    _failed = None
    return there / "bin/docker"


def installed() -> str | None:
    """A ``docker`` on ``PATH`` that is Docker's own command line, not a name that Podman took; else None."""
    found = shutil.which("docker")
    return found if found and programs.version_of(found).startswith("Docker version") else None


def settings_folder() -> Path:
    """The folder that ``DOCKER_CONFIG`` names: without this user's credentials, proxies and contexts.

    What a learner puts there (``docker login``, buildx's builders) stays.
    """
    folder = state_dir("docker")
    # This user's own plugins last: they are found where labkit's can't be had.
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    plugins = [str(place / "cli-plugins") for place in (programs.folder(KIT), own) if place != folder]
    file = folder / "config.json"
    try:
        content = json.loads(file.read_text())
        known = content.get("cliPluginsExtraDirs", [])
    except (OSError, ValueError, AttributeError):
        content, known = {}, []
    if known[:1] != plugins[:1]:
        write_whole(file, json.dumps({**content, "cliPluginsExtraDirs": plugins}, indent=1) + "\n", durable=True)
    return folder


def without_settings(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which no variable tells a Docker client anything."""
    return {key: value for key, value in environment.items() if not key.startswith(_SETTINGS)}


def typing(progress: Progress | None = None) -> dict[str, str]:
    """What a shell needs beside the engine's address so that ``docker``, typed there, is labkit's: ``PATH`` and
    ``DOCKER_CONFIG``. Empty where labkit's own can't be had, so that the shell's stays as it is.
    """
    try:
        program = ensure(progress)
    except LabError as reason:
        if progress:
            progress(f"This shell's own docker command line stays: {reason}")
        return {}
    first = str(program.parent)
    others = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part != first]
    return {"PATH": os.pathsep.join([first, *others]), "DOCKER_CONFIG": str(settings_folder())}
