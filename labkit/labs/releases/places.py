"""One image in two places: staging and production differ by what they are told, by one Compose file."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from ...course.context import Context
from ...course.result import Result
from ...engine.dockercli import run
from ...errors import LabError
from ...files import Temporary
from ...units import yes_no
from ...waiting import wait_until
from ..images_and_registries.samples import source
from .kiosk import PATIENCE, image

PLACES = ("staging", "production")


def files() -> dict[str, str]:
    """The Compose file, and for each place the file with its settings."""
    return source("places")


@dataclass(frozen=True)
class Place:
    """What runs in a place: image ID, what each replica says that it was told, whether ``docker inspect`` shows the secret."""

    image: str
    told: list[dict[str, Any]]
    shown: bool

    def says(self, key: str) -> str:
        """What all replicas say alike."""
        values = {str(row[key]) for row in self.told}
        return values.pop() if len(values) == 1 else "they differ"


class Places(Result):
    """Staging and production, side by side."""

    places: dict[str, Place]

    def facts(self) -> str:
        both = list(self.places.values())
        names = (
            "replicas",
            "stage (environment)",
            "price (config file)",
            "token (secret file)",
            "docker inspect shows it",
        )
        cells = [
            (str(len(one.told)), one.says("stage"), one.says("price"), "there" if one.says("token") else "none",
             yes_no(one.shown)) for one in both
        ]  # fmt: skip
        rows = zip(("", *names), (PLACES[0], *cells[0]), (PLACES[1], *cells[1]))
        lines = [f"{name:<25}{left:<12}{right}" for name, left, right in rows]
        images, tokens = {one.image for one in both}, {one.says("token") for one in both}
        return "\n".join([*lines, f"one image ID: {yes_no(len(images) == 1)} · one token: {yes_no(len(tokens) == 1)}"])


@contextlib.contextmanager
def _up(on: Context, place: str, environment: dict[str, str]) -> Iterator[list[Container]]:
    """The place's containers, as ``docker compose up`` makes them; ``down`` at the end."""
    project = on.session.name(place)
    with Temporary() as folder:
        for name, text in files().items():
            Path(folder, name).write_text(text, encoding="utf-8")
        words = ["docker", "compose", "-p", project, "--project-directory", folder, "-f", f"{folder}/compose.yaml",
                 "--env-file", f"{folder}/{place}.env"]  # fmt: skip

        def compose(*more: str) -> None:
            done = run(on.session, [*words, *more], environment=environment, timeout=600)
            if done.returncode:
                raise LabError(f"docker compose {more[0]} failed for {place}.", cause=done.stdout.strip()[-400:])

        try:
            compose("up", "-d", "--no-color")
            filters = {"label": f"com.docker.compose.project={project}"}
            yield on.docker.containers.list(filters=filters)
        finally:
            compose("down", "-t", "5")


def _ask(container: Container) -> dict[str, Any]:
    def answer() -> dict[str, Any]:
        code, text = container.exec_run(["wget", "-q", "-O", "-", "http://127.0.0.1:8000/config"])
        return {} if code else dict(json.loads(text))

    return wait_until(answer, PATIENCE, "The kiosk does not answer.", every=0.3)


def places(on: Context) -> Places:
    """Start staging and production from one Compose file, and ask each replica what it was told.

    Each place gets a token of its own, which the client takes from its environment and the engine puts into a file in
    the container (``secrets: token: environment``).

    Raises:
        NotPossibleHere: there is no ``docker`` command line.
        LabError: Compose could not start it; its own words are in the sentence.
    """
    on.session.show_life()  # Compose makes what bears no label: the next session knows by our keeper whether it is ours
    tag, found = image(on), {}
    for number, place in enumerate(PLACES):
        on.say(f"docker compose up: {place}", number / len(PLACES))
        token = secrets.token_hex(16)
        environment = {**on.session.engine.process_environment(), "IMAGE": tag, "TOKEN": token}
        with _up(on, place, environment) as containers:
            told = [_ask(container) for container in containers]
            inspected = [on.docker.api.inspect_container(container.id) for container in containers]
            images = {row["Image"] for row in inspected}
            found[place] = Place(" ".join(sorted(images)), told, token in json.dumps(inspected))
    return Places(on.facts, found)
