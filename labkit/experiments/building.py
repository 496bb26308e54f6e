"""Build an image from a few files and look at each step: built or taken from the cache, and how long.

The build context is made in memory with fixed times, owners and order, so that two builds of
the same files differ only where a step itself makes a difference.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from docker.errors import APIError, DockerException

from .. import images
from ..engine.client import labels_line
from ..engine.faults import explained
from ..errors import BadInput, LabError
from ..images.archive import EPOCH
from .context import Context
from .result import Result

__all__ = ["Build", "Step", "build"]


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile, as the engine worked on it.

    ``cached``: the engine reused an earlier result; ``seconds``: from its line in the engine's
    answer to the next step's; ``output``: what the step's program wrote.
    """

    instruction: str
    cached: bool
    seconds: float
    image_id: str
    output: str = ""


@dataclass(frozen=True)
class Build(Result):
    """A finished build: the image's reference and ID, and its steps in order."""

    tag: str
    image_id: str
    steps: list[Step]
    seconds: float

    def facts(self) -> str:
        return "\n".join(
            f"{number}. {step.instruction:<44} {'from the cache' if step.cached else 'built'}"
            for number, step in enumerate(self.steps, 1)
        )


def context_archive(files: Mapping[str, str | bytes], *, mtime: int = EPOCH) -> io.BytesIO:
    """The build context as a tar with fixed times, owners and order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(files):
            content = files[name]
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), mtime, 0o755 if data[:4] == b"\x7fELF" else 0o644
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def build(
    on: Context,
    tag: str,
    files: Mapping[str, str | bytes],
    *,
    cache: bool | str = True,
    mtime: int = EPOCH,
    arguments: Mapping[str, str] | None = None,
) -> Build:
    """Build an image with the engine's own builder, without a network and without a foreign base.

    Args:
        tag: the image's reference, such as ``"shop-1a2b3c4d:1"``.
        files: the context, path to content; ``"Dockerfile"`` is one of them.
        cache: whether earlier steps may be reused; an image's reference: only that image's.
        mtime: the files' time stamp in the context, seconds since 1970.
        arguments: build arguments (``--build-arg``).

    Raises:
        BadInput: no Dockerfile, one that the engine can't read, or a base or name that there can't be.
        LabError: a step failed; the sentence names the step and what it wrote.
    """
    recipe = _recipe(files)
    for base in re.findall(r"^FROM (labkit/\S+)", recipe, re.M):
        if base not in images.RECIPES:
            raise BadInput(f"There is no image {base}.", next_step=f"Begin with FROM {' or '.join(images.RECIPES)}.")
        on.image(base)
    label = labels_line(on.docker.lab_labels)
    written = _labelled(recipe, label)
    files = {**files, "Dockerfile": f"{written}\n"}
    reader = _Reader()
    on.say(f"building {tag}")
    began = time.perf_counter()
    with explained(on.session.engine.endpoint), _readable(written, label):
        stream = on.docker.api.build(
            fileobj=context_archive(files, mtime=mtime), custom_context=True, tag=tag, nocache=not cache,
            cache_from=[cache] if isinstance(cache, str) else None,
            rm=True, forcerm=True, network_mode="none", buildargs=dict(arguments or {}), decode=True, labelled=True,
        )  # fmt: skip
        try:
            for line in stream:
                reader.take(line)
        except BaseException:
            _forget(on, reader)
            raise
        if reader.error:
            _forget(on, reader)
            # The steps that nobody wrote, the lab's labels, are not counted.
            total = int(reader.total or 1) - written.count(label)
            number = sum(not step.instruction.startswith(_OWN) for step in reader.steps) + 1
            raise LabError(
                f"The build failed at step {number} of {total}: {reader.instruction}.",
                cause=_cause(reader),
                next_step=_next_step(reader),
                engine=on.session.engine.endpoint,
            )
        image = on.docker.api.inspect_image(tag)["Id"]
    steps = [step for step in reader.finished() if not step.instruction.startswith(_OWN)]
    return Build(on.facts, tag, image, steps, time.perf_counter() - began)


#: How a step of ours begins.
_OWN = "LABEL labkit."


def _labelled(recipe: str, label: str) -> str:
    """The Dockerfile with the session's labels as the first step of each stage.

    So every image that a step leaves says whose it is: the classic builder, told to reuse one image's steps
    (``cache_from``), gives that image new parents and leaves the old ones behind, without a name or a child.
    """
    return re.sub(
        r"^[ \t]*FROM\s(?:[^\n]*\\\n)*[^\n]*", lambda found: f"{found[0]}\n{label}", recipe, flags=re.M | re.I
    )


def _recipe(files: Mapping[str, str | bytes]) -> str:
    if "Dockerfile" not in files:
        raise BadInput(
            "There is no Dockerfile among the files.",
            next_step="Add one: files['Dockerfile'] = 'FROM labkit/busybox:1\\n…'",
        )
    recipe = files["Dockerfile"]
    recipe = recipe if isinstance(recipe, str) else recipe.decode()
    if not re.search(r"^\s*FROM\s", recipe, re.M | re.I):
        raise BadInput(
            "The Dockerfile has no FROM.", next_step="Its first instruction names the base: FROM labkit/busybox:1"
        )
    return recipe


@contextlib.contextmanager
def _readable(written: str, label: str) -> Iterator[None]:
    """What the engine can't read is refused before any step: then the sentence shows the line."""
    try:
        yield
    except APIError as fault:
        found = re.search(r"parse error (?:on |at )?line (\d+): (.*)", fault.explanation or "")
        if not found:
            raise
        lines = [*written.splitlines(), ""]
        number = int(found[1]) - 1
        raise BadInput(
            f"The Dockerfile can't be read: line {number + 1 - lines[:number].count(label)}: {lines[number].strip()}.",
            cause=f"The engine says: {found[2].strip().rstrip('.')}.",
            next_step="Change that line, and build again.",
        ) from fault
    except DockerException as fault:
        if "invalid tag" not in str(fault):
            raise
        raise BadInput(
            f"This is no name for an image: {str(fault).removeprefix('invalid tag ')}.",
            next_step="Write a name in lowercase letters, then : and a tag: shop:1",
        ) from fault


_FULL = "no space left on device"


def _cause(reader: _Reader) -> str:
    # The engine colours what a step wrote to its standard error.
    wrote = re.sub(r"\x1b\[[0-9;]*m", "", reader.output).strip().splitlines()
    # The last line, unless a full disk was told before it.
    line = next((line for line in wrote if _FULL in line.lower()), wrote[-1] if wrote else "")
    return " ".join([*([f"It wrote: {line}."] if line else []), f"The engine says: {reader.error}."])


def _next_step(reader: _Reader) -> str:
    if _FULL in (reader.output + reader.error).lower():
        return "The disk that holds the engine's images is full: see docker system df, then labkit clean --all"
    return "Change that line, or a file it uses, and build again: the steps before it are in the cache."


class _Reader:
    """Understands the classic builder's answer, line by line."""

    def __init__(self):
        self.steps: list[Step] = []
        self.total = self.instruction = self.image = self.error = self.output = ""
        self.cached = False
        self.began = 0.0

    def take(self, line: dict) -> None:
        if "error" in line:
            self.error = line["error"].strip().rstrip(".")
            return
        text = line.get("stream", "")
        found = re.match(r"Step (\d+)/(\d+) : (.*)", text)
        if found:
            self._close()
            self.total, self.instruction = found[2], found[3].strip()
            self.began, self.cached, self.output = time.perf_counter(), False, ""
        elif "Using cache" in text:
            self.cached = True
        elif re.match(r" ---> [0-9a-f]{12}$", text.strip("\n")):
            self.image = text.split()[-1]
        elif not re.match(r" ---> |Removing intermediate|Success", text):
            self.output += text

    def _close(self) -> None:
        if self.instruction:
            seconds = time.perf_counter() - self.began
            self.steps.append(Step(self.instruction, self.cached, seconds, self.image, self.output))
            self.instruction = ""

    def finished(self) -> list[Step]:
        self._close()
        return self.steps


def _forget(on: Context, reader: _Reader) -> None:
    """Remove what an unfinished build leaves: images without a name or label, newest first."""
    for identifier in [reader.image, *(step.image_id for step in reversed(reader.steps))]:
        with contextlib.suppress(APIError, DockerException):
            if identifier and not on.docker.api.inspect_image(identifier)["RepoTags"]:
                on.docker.api.remove_image(identifier)
