"""What stays on an engine's disk: records of builds, ended containers, images without a name; and how some of it goes."""

import secrets

from docker.errors import APIError

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine import dockercli
from ...engine.client import remove_container
from ...errors import NotPossibleHere
from ...units import yes_no
from . import buildkit
from .building import Build, build


class Remembered(Result):
    """One Dockerfile built three times, the third time without the image of the second.

    ``record`` is what ``docker buildx du --verbose`` says of its ``RUN`` afterwards.
    """

    builds: dict[str, Build]
    record: str

    def facts(self) -> str:
        rows = []
        for when, one in self.builds.items():
            steps = [f"{step.instruction.split()[0]} {'CACHED' if step.cached else 'built'}" for step in one.steps[1:]]
            rows.append(f"{when:<28} {' · '.join(steps)}")
        return "\n".join([*rows, f"BuildKit has a record of its RUN: {yes_no('Usage count' in self.record)}"])


def remembered(on: Context) -> Remembered:
    """Build the same files again, then once more with the image gone, and look into BuildKit's cache.

    The record is found by a word in its instruction that no build had before. It stays: records carry no label, so a
    prune can't tell the lab's from others'.

    Raises:
        NotPossibleHere: the engine has no BuildKit.
    """
    if buildkit.command_line(on) is None:
        raise NotPossibleHere(
            f"This lab builds without BuildKit here: {on.facts.name} has none, or there is no command line with buildx.",
            next_step="Go on: nothing below needs its cache.",
            engine=on.session.engine.endpoint,
        )
    tag, word = f"{on.session.name('kept')}:1", secrets.token_hex(4)
    recipe = f"FROM {images.BUSYBOX}\nCOPY kept.txt /\nRUN echo {word} >> /kept.txt\n"
    builds: dict[str, Build] = {}
    for when in ("built", "built again", "image removed, built again"):
        if len(builds) == 2:
            on.docker.api.remove_image(tag)
        builds[when] = build(on, tag, {"Dockerfile": recipe, "kept.txt": f"{word}\n"})
    record = dockercli.run_cli(on.session, f"docker buildx du --verbose --filter description~={word}")
    on.docker.api.remove_image(tag)
    return Remembered(on.facts, builds, record)


class Tidied(Result):
    """What the lab left on purpose, and what is left of it after pruning: counts by kind.

    ``disk`` is ``docker system df`` in between, of the whole engine; ``said`` is what each prune said.
    """

    before: dict[str, int]
    after: dict[str, int]
    disk: str
    said: dict[str, str]

    def facts(self) -> str:
        return "\n".join(f"{kind:<30} {count} → {self.after[kind]}" for kind, count in self.before.items())


def tidied(on: Context) -> Tidied:
    """Leave an ended container, an image without a name and one with; prune by a label that only these have.

    Without the filter, prune takes what is everybody's on this engine.
    """
    name, word = on.session.name("tidy"), f"tidy={on.session.id}"
    on.free(on.session.name("ended"))
    container = on.docker.containers.create(
        on.image(), ["touch", "/new"], name=on.session.name("ended"), labels={"tidy": on.session.id},
        network_mode="none",
    )  # fmt: skip
    try:
        container.start()
        container.wait(timeout=60)
        container.commit(message="without a name")
        container.commit(name, "1", message="with a name")
        before = _left(on, word)
        disk = dockercli.run_cli(on.session, "docker system df")
        said = {
            line: dockercli.run_cli(on.session, line)
            for line in (f"docker {kind} prune --force --filter label={word}" for kind in ("container", "image"))
        }
        after = _left(on, word)
    finally:
        remove_container(container)
    try:
        on.docker.api.remove_image(f"{name}:1")
    except APIError as fault:  # a learner's container may hold it
        if fault.status_code != 409:
            raise
    return Tidied(on.facts, before, after, disk, said)


def _left(on: Context, word: str) -> dict[str, int]:
    api, filters = on.docker.api, {"label": word}
    ended = [row for row in api.containers(all=True, filters=filters) if row["State"] == "exited"]
    named = [any(tag != "<none>:<none>" for tag in row["RepoTags"] or []) for row in api.images(filters=filters)]
    return {
        "containers that have ended": len(ended),
        "images without a name": named.count(False),
        "images with a name": named.count(True),
    }
