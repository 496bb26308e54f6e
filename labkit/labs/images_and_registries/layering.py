"""What makes a layer, what the build cache reuses, and when the same content gets the same ID."""

import secrets
import time
from collections.abc import Sequence

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput
from ...units import yes_no
from .building import Build, build

#: The puzzle's steps: the slow one installs what ``packages.txt`` lists, and so must come after it.
PIECES = {
    "list": "COPY packages.txt /app/",
    "install": "RUN sleep 1; cp /app/packages.txt /installed",
    "code": "COPY app.sh /app/",
    "set": "ENV GREETING=hello",
}


class Rebuild(Result):
    """One file changed, the same Dockerfile built again: what was reused."""

    changed: str
    first: Build
    second: Build

    @property
    def reused(self) -> int:
        """How many of the second build's steps came from the cache."""
        return sum(step.cached for step in self.second.steps)

    def states(self) -> list[str]:
        """What became of each step of the second build, in words."""
        return ["the base" if step.instruction.startswith("FROM") else "reused" if step.cached else "built again"
                for step in self.second.steps]  # fmt: skip

    def facts(self) -> str:
        rows = [f"{number}. {step.instruction:<46} {state}"
                for number, (step, state) in enumerate(zip(self.second.steps, self.states()), 1)]  # fmt: skip
        return "\n".join([f"{self.changed} changed:", *rows])


def dockerfile(order: Sequence[str]) -> str:
    """The Dockerfile with its steps in this order.

    Raises:
        BadInput: a step is missing or unknown, or the installation comes before the list it reads.
    """
    if sorted(order) != sorted(PIECES):
        raise BadInput(f"{list(order)} is not an order of all steps.", next_step=f"Use each once: {', '.join(PIECES)}.")
    if list(order).index("install") < list(order).index("list"):
        raise BadInput(
            "The installation can't come before the list that it reads.", next_step="Put list before install."
        )
    return "\n".join([f"FROM {images.BUSYBOX}", *(PIECES[step] for step in order), 'CMD ["sh", "/app/app.sh"]', ""])


def rebuild(
    on: Context, order: Sequence[str] = ("set", "list", "code", "install"), *, change: str = "app.sh"
) -> Rebuild:
    """Build without the cache, change one file, build again with the cache.

    The first build ignores whatever the engine remembers, and the change is one that no build had before it: so
    the second reuses what stands before the change, and nothing else.

    Args:
        order: the steps of :data:`PIECES`, each once.
        change: ``"app.sh"`` or ``"packages.txt"``.
    """
    files = {
        "Dockerfile": dockerfile(order),
        "app.sh": 'echo "$GREETING"\n',
        "packages.txt": "one library\n",
    }
    if change not in ("app.sh", "packages.txt"):
        raise BadInput(f"{change!r} is no file of this app.", next_step="Change app.sh or packages.txt.")
    tag = on.session.name("puzzle")
    first = build(on, f"{tag}:1", files, cache=False)
    files[change] += f"# change {secrets.token_hex(4)}\n"
    second = build(on, f"{tag}:2", files)
    for built in (second, first):
        on.docker.api.remove_image(built.tag)
    return Rebuild(on.facts, change, first, second)


class SameContent(Result):
    """The same step built twice without the cache: diffIDs, first of a file made anew, then of one copied in."""

    free: list[str]
    pinned: list[str]

    def facts(self) -> str:
        return (
            f"same words, other time stamp: same diffID: {yes_no(len(set(self.free)) == 1)}\n"
            f"same words, same time stamp:  same diffID: {yes_no(len(set(self.pinned)) == 1)}"
        )


def same_content(on: Context) -> SameContent:
    """Build ``RUN echo`` twice, more than a second apart; then twice ``COPY``, which keeps the file's own time stamp.

    Pinning the time inside ``RUN`` would not do: BuildKit mounts files into ``/etc`` for a program that it runs, and
    with the classic image store that folder, and its new time, is in the step's layer too.
    """
    steps = {"free": "RUN echo hello > /hello.txt", "pinned": "COPY hello.txt /"}
    found: dict[str, list[str]] = {name: [] for name in steps}
    for turn in (1, 2):
        for name, step in steps.items():
            tag = f"{on.session.name(name)}:{turn}"
            files = {"Dockerfile": f"FROM {images.BUSYBOX}\n{step}\n", "hello.txt": "hello\n"}
            build(on, tag, files, cache=False)
            found[name].append(on.docker.api.inspect_image(tag)["RootFS"]["Layers"][-1])
            on.docker.api.remove_image(tag)
        time.sleep(1.1 if turn == 1 else 0)  # time stamps in a layer count whole seconds
    return SameContent(on.facts, **found)
