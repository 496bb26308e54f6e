"""Build an image from a few files and look at each step: built or taken from the cache, and how long.

The build context is made with fixed times and modes, so that two builds of the same files differ only where a
step itself makes a difference.
"""

import functools
import re
import time
from collections.abc import Mapping

from docker.utils.build import match_tag

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError
from ...images.archive import EPOCH
from . import buildkit, classic
from .buildkit import Account, Step


class Build(Result):
    """A finished build: the image's reference and ID, its steps in order, and the bytes of context that were sent."""

    tag: str
    image_id: str
    steps: list[Step]
    seconds: float
    context: int = 0

    def facts(self) -> str:
        return "\n".join(f"{number}. {step.instruction}" for number, step in enumerate(self.steps, 1))


def build(
    on: Context,
    tag: str,
    files: Mapping[str, str | bytes],
    *,
    cache: bool = True,
    mtime: int = EPOCH,
    arguments: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Build:
    """Build an image as ``docker build`` does, without a network and without a foreign base.

    What BuildKit remembers of it, a few KiB a step, stays on the engine when the lab closes: its records carry no
    label, so nobody can tell whose they are. The engine clears old ones away by itself, or ``docker builder prune``.

    Args:
        tag: the image's reference, such as ``"shop-1a2b3c4d:1"``.
        files: the context, path to content; ``"Dockerfile"`` is one of them.
        cache: whether earlier results may be reused, whoever's they are.
        mtime: the files' time stamp in the context, seconds since 1970.
        arguments: build arguments (``--build-arg``).
        secrets: build secrets (``--secret``), by their id.

    Raises:
        NotPossibleHere: secrets, where there is no BuildKit.
        BadInput: no Dockerfile, one that the engine can't read, or a base or name that there can't be.
        LabError: a step failed; the sentence names the step and what it wrote.
    """
    recipe = _recipe(files)
    for base in re.findall(r"^FROM (labkit/\S+)", recipe, re.M):
        if base not in images.RECIPES:
            raise BadInput(f"There is no image {base}.", next_step=f"Begin with FROM {' or '.join(images.RECIPES)}.")
        on.image(base)
    if not match_tag(tag):
        raise BadInput(
            f"This is no name for an image: {tag!r}.",
            next_step="Write a name in lowercase letters, then : and a tag: shop:1",
        )
    given = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    on.say(f"building {tag}")
    began = time.perf_counter()
    program = buildkit.command_line(on)
    run = functools.partial(buildkit.run, program=program) if program else classic.run
    account = run(on, tag, given, cache=cache, mtime=mtime, arguments=arguments or {}, secrets=secrets or {})
    if account.error:
        on.docker.ping()  # an engine that is gone has a sentence of its own
        raise _fault(on, account, recipe)
    image = on.docker.api.inspect_image(tag)["Id"]
    return Build(on.facts, tag, image, account.steps, time.perf_counter() - began, account.context)


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


def _fault(on: Context, account: Account, recipe: str) -> LabError:
    """The sentence for a build that did not work."""
    unread = re.search(r"parse error (?:on |at )?line (\d+): (.*)", account.error)
    if unread:
        # What the engine can't read is refused before any step: then the sentence shows the line.
        number = int(unread[1])
        line = [*recipe.splitlines(), ""][number - 1].strip()
        return BadInput(
            f"The Dockerfile can't be read: line {number}: {line}.",
            cause=f"The engine says: {unread[2].strip().rstrip('.')}.",
            next_step="Change that line, and build again.",
        )
    where = f"at step {account.number} of {account.total}: {account.failed}" if account.failed else "before any step"
    return LabError(
        f"The build failed {where}.",
        cause=_cause(account),
        next_step=_next_step(account),
        engine=on.session.engine.endpoint,
    )


_FULL = "no space left on device"


def _cause(account: Account) -> str:
    # The classic builder colours what a step wrote to its standard error.
    wrote = re.sub(r"\x1b\[[0-9;]*m", "", account.output).strip().splitlines()
    # The last line, unless a full disk was told before it.
    line = next((line for line in wrote if _FULL in line.lower()), wrote[-1] if wrote else "")
    return " ".join([*([f"It wrote: {line}."] if line else []), f"The engine says: {account.error}."])


def _next_step(account: Account) -> str:
    if _FULL in (account.output + account.error).lower():
        return "The disk that holds the engine's images is full: see docker system df, then labkit clean --all"
    return "Change that line, or a file it uses, and build again: the steps before it are in the cache."
