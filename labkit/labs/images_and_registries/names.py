"""Images' names taken apart: what is written, what an engine adds, and what it finds under both.

Source: distribution/reference, ``normalize.go`` (``splitDockerDomain``, ``TagNameOnly``, ``ParseDockerRef``).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace

from docker.errors import NotFound

from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput
from ...units import yes_no
from .anatomy import sample_tag
from .registry import RunningRegistry

#: One with each part that may be left out, and two that look alike: only the second has a host.
EXAMPLES = (
    "shop", "shop:2", "docker.io/library/shop:latest", "team/shop", "localhost/shop", "registry.example:5000/team/shop:2",
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """An image's name in its parts, "" where one is left out; ``path`` may have slashes of its own."""

    host: str
    port: str
    path: str
    tag: str
    digest: str

    def __str__(self) -> str:
        host = self.host + (f":{self.port}" if self.port else "")
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{host}/{self.path}{tag}{digest}" if host else f"{self.path}{tag}{digest}"

    def full(self) -> Name:
        """The name that an engine reads: with the host, the place and the tag that were left out."""
        host = self.host if self.host not in ("", "index.docker.io") else "docker.io"
        path = f"library/{self.path}" if host == "docker.io" and "/" not in self.path else self.path
        return Name(host, self.port, path, self.tag or ("" if self.digest else "latest"), self.digest)


def split(written: str) -> Name:
    """Take a name apart. What stands before the first slash is a host only where it looks like one: with a dot, a
    colon or a capital letter in it, or ``localhost``."""
    rest, _, digest = written.partition("@")
    first, slash, path = rest.partition("/")
    if not slash or not (first == "localhost" or re.search("[.:A-Z]", first)):
        first, path = "", rest
    host, port = re.fullmatch(r"(\[.*\]|[^:]*):?(.*)", first).groups()  # type: ignore[union-attr]  # fits any text
    path, _, tag = path.partition(":")
    return Name(host, port, path, tag, digest)


class Names(Result):
    """Names that one image was given in turn.

    ``parts`` by what was written; ``listed`` is what the engine lists then; ``found`` says whether it found the same
    image under the full name. ``digests`` are inspected IDs by name with a digest, one with its own tag and one with another's.
    """

    parts: dict[str, Name]
    listed: dict[str, list[str]]
    found: dict[str, bool]
    digests: dict[str, str]

    def facts(self) -> str:
        rows = [f"{written:<36} {parts.full()}" for written, parts in self.parts.items() if not parts.digest]
        lines = [*rows, f"the engine finds each under its full name: {yes_no(all(self.found.values()))}"]
        if self.digests:
            lines.append(f"beside a digest, the tag counts: {yes_no(len(set(self.digests.values())) > 1)}")
        return "\n".join(lines)


def names(on: Context, *written: str, registry: RunningRegistry | None = None) -> Names:
    """Give the sample image one name after the other, and ask the engine what it has then.

    Each gets the session's ending, and is taken away again: whatever is written, nobody's image loses its name.

    Args:
        written: names without a digest; :data:`EXAMPLES` by default.
        registry: two names with a digest are asked for in this one's repository ``shop`` as well.

    Raises:
        BadInput: one has a digest, or no name.
        labkit.errors.NotPossibleHere: the engine takes one for no name.
    """
    api, image = on.docker.api, sample_tag(on)
    parts, listed, found = {}, {}, {}
    before = set(api.inspect_image(image)["RepoTags"])
    for text in written or EXAMPLES:
        parts[text] = name = split(text)
        if name.digest or not name.path:
            raise BadInput(f"{text!r} can't be given to an image.", next_step="Write a name, and perhaps a tag.")
        ours = replace(name, path=on.session.name(name.path))
        api.tag(image, str(ours))
        try:
            tags = [tag for tag in api.inspect_image(image)["RepoTags"] if tag not in before]
            with contextlib.suppress(NotFound):
                found[text] = set(tags) <= set(api.inspect_image(str(ours.full()))["RepoTags"])
        finally:
            api.remove_image(str(ours), noprune=True)
        listed[text] = [tag.replace(f"-{on.session.id}", "") for tag in tags]
        found.setdefault(text, False)
    digests = {}
    if registry is not None:
        digest = registry.digest("shop", "1")
        for tag in ("another", "1"):
            text = f"{registry.address}/shop:{tag}@{digest}"
            digests[text] = api.inspect_image(text)["Id"]
        parts[text] = split(text)
    return Names(on.facts, parts, listed, found, digests)
