"""The client programs docker, buildx and Compose, of labkit's own, with settings of labkit's own.

They run on the notebook's machine, whichever engine they talk to, so that every learner types the same
commands of the same version.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from requests.utils import get_environ_proxies

from ..errors import LabError, NotPossibleHere
from ..files import write_whole
from ..paths import home, runtime_dir, state_dir
from ..saying import say
from .embedded import packages, programs
from .faults import explained

if TYPE_CHECKING:
    from .base import Engine

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

#: Where its API is too new for an engine: a client of the released suite, which speaks older versions as well.
EARLIER = replace(KIT, name="earlier-docker", suites=(packages.LAST_GOOD,))

#: Variables that would change what a client does: which engine, builder and project, with which settings, who else
#: is told of it, and when what it builds was made.
_SETTINGS = ("DOCKER_", "BUILDX_", "BUILDKIT_", "COMPOSE_", "EXPERIMENTAL_BUILDKIT_", "OTEL_", "SOURCE_DATE_EPOCH")

#: Seconds after which fetching is tried again, once it has failed in this process.
_RETRY = 600.0

_failed: tuple[float, LabError] | None = None

#: Programs and endpoints that have been seen to belong together.
_proven: set[tuple[str, str]] = set()


def ensure(kit: programs.Kit = KIT) -> Path:
    """The ``docker`` program of labkit's own; fetched first where it is missing (38 MB, once).

    Raises:
        LabError: the packages can't be had or don't start here; told again at once for ten minutes.
    """
    global _failed
    there = programs.existing(kit)
    if there is None:
        if _failed and time.monotonic() - _failed[0] < _RETRY:
            raise _failed[1]
        try:
            there = programs.ensure(kit)
        except LabError as reason:
            _failed = (time.monotonic(), reason)
            raise
    _failed = None
    return there / "bin/docker"


def installed() -> str | None:
    """A ``docker`` on ``PATH`` that is Docker's own command line, not a name that Podman took; else None."""
    found = shutil.which("docker")
    return found if found and programs.version_of(found).startswith("Docker version") else None


def proven(engine: Engine) -> str:
    """The path of a ``docker`` program that talks to just this engine: labkit's own, else the one installed here, else
    labkit's of the released suite.

    Each is asked for the engine's networks, whose identifiers no other engine has. While the engine doesn't answer,
    nothing can be proven, and the first is taken.

    Raises:
        NotPossibleHere: there is none, or none that this engine understands; the sentence says why.
    """
    refusals: list[str] = []
    for candidate in (lambda: str(ensure()), installed, lambda: str(ensure(EARLIER))):
        try:
            path = candidate()
        except LabError as reason:
            refusals.append(str(reason))
            continue
        if path is None:
            continue
        said = _asked(path, engine)
        if not said:
            return path
        refusals.append(f"{path} does not talk to this engine: {said}")
    raise NotPossibleHere(
        "No docker command line can be had here.",
        cause=" ".join(dict.fromkeys(refusals)),
        next_step="Use lab.docker, which needs none, or install Docker's own.",
    )


def _asked(path: str, engine: Engine) -> str:
    """Why a ``docker`` program can't be used with an engine; empty where it can."""
    from .client import PlainAPIClient

    if (path, engine.endpoint) in _proven:
        return ""
    try:
        with explained(engine.endpoint), contextlib.closing(PlainAPIClient(**engine.client_options())) as api:
            known = {row["Id"] for row in api.networks()}
    except LabError:
        return ""
    command = [path, "network", "ls", "--quiet", "--no-trunc"]
    try:
        done = subprocess.run(
            command, env=engine.process_environment(), stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    if done.returncode:
        return (done.stderr.strip() or "no reason given").splitlines()[-1]
    if not known & set(done.stdout.split()):
        return "it talks to another one."
    _proven.add((path, engine.endpoint))
    return ""


def settings_folder() -> Path:
    """The folder that ``DOCKER_CONFIG`` names: without this user's credentials, proxies and contexts.

    What a learner puts there (``docker login``, buildx's builders) stays, except where nothing can be kept.
    """
    for made in (state_dir, runtime_dir):
        with contextlib.suppress(LabError, OSError):
            return _settled(made("docker"))
    return Path("/nonexistent/labkit")  # nothing can be written anywhere: then without any


def _settled(folder: Path) -> Path:
    # This user's own plugins last: they are found where labkit's can't be had.
    own = Path(os.environ.get("DOCKER_CONFIG") or home() / ".docker")
    plugins = [str(place / "cli-plugins") for place in (programs.folder(KIT), own) if place != folder]
    file = folder / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content.get("cliPluginsExtraDirs", [])
    except (OSError, ValueError, AttributeError):
        content, known = {}, []
    if known[:1] != plugins[:1]:
        write_whole(file, json.dumps({**content, "cliPluginsExtraDirs": plugins}, indent=1) + "\n", durable=True)
    return folder


def without_settings(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which no variable tells a Docker client anything."""
    return {key: value for key, value in environment.items() if not key.startswith(_SETTINGS)}


def past_proxies() -> dict[str, str]:
    """What a shell's other clients need so that they reach this machine's own addresses: ``NO_PROXY`` with them, where
    a proxy is set. What no variable can put right is said.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            say(f"{name} is set: docker-py, outside of labs, then takes no engine's own certificate. Unset it there.")
    if not get_environ_proxies("https://127.0.0.1"):
        return {}
    others = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(filter(None, [others, "127.0.0.1"])))


def typing() -> dict[str, str]:
    """What a shell needs beside the engine's address so that ``docker``, typed there, is labkit's: ``PATH`` and
    ``DOCKER_CONFIG``. Empty where labkit's own can't be had, so that the shell's stays as it is.
    """
    try:
        program = ensure()
    except LabError as reason:
        say(f"This shell's own docker command line stays: {reason}")
        return {}
    first = str(program.parent)
    others = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part != first]
    return {"PATH": os.pathsep.join([first, *others]), "DOCKER_CONFIG": str(settings_folder())}
