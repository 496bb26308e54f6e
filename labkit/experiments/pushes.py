"""What a push really sends: everything once, then only what is new; and a push that broke off."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

from .. import images
from ..errors import LabError
from ..images.archive import sha256
from ..units import yes_no
from .anatomy import anatomy, sample_tag
from .building import build
from .context import Context
from .registry import Push, Registry
from .result import Result

__all__ = ["BrokenPush", "Matched", "TwoPushes", "broken_push", "matched", "two_pushes"]

#: The app's own code in its second version.
SECOND = '#!/bin/sh\n. /lib/greeting.sh\ngreet\necho "second version"\n'


@dataclass(frozen=True)
class TwoPushes(Result):
    """Two versions of one app, pushed one after the other; ``new`` is what only the second one has."""

    first: Push
    second: Push
    new: int

    def facts(self) -> str:
        exactly = len(self.second.uploaded) == self.new
        return f"{self.first}\n{self.second}\nexactly the new blobs were uploaded: {yes_no(exactly)}"


def two_pushes(on: Context, registry: Registry, repository: str = "shop") -> TwoPushes:
    """Build two versions of the sample app that differ in the app's own code; push both.

    Uploads are counted in the registry's access log, not taken from the client's words.
    """
    one = sample_tag(on, "1")
    two = sample_tag(on, "2", app__sh=SECOND)
    first = registry.push(one, repository, "1")
    second = registry.push(two, repository, "2")
    new = len(set(second.sizes) - set(first.sizes))
    return TwoPushes(on.facts, first, second, new)


@dataclass(frozen=True)
class Matched(Result):
    """An image's blobs fetched from the registry, hashed here, and compared with engine and manifest."""

    digests: bool
    diff_ids: bool
    layers: int

    def facts(self) -> str:
        return (
            f"{self.layers} layers fetched over HTTP\n"
            f"SHA-256 of each blob is its digest in the manifest: {yes_no(self.digests)}\n"
            f"SHA-256 of each unpacked blob is the engine's diffID: {yes_no(self.diff_ids)}"
        )


def matched(on: Context, registry: Registry, repository: str, tag: str, image: str) -> Matched:
    """Fetch every layer of an image from the registry and recompute its names.

    Args:
        image: the same image on the engine.
    """
    rows = registry.manifest(repository, tag)["layers"]
    blobs = [registry.blob(repository, row["digest"]) for row in rows]
    opened = [gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob for blob in blobs]
    engine = [layer.diff_id for layer in anatomy(on, image).layers]
    return Matched(
        on.facts,
        [sha256(blob) for blob in blobs] == [row["digest"] for row in rows],
        [sha256(data) for data in opened] == engine,
        len(rows),
    )


@dataclass(frozen=True)
class BrokenPush(Result):
    """A push that broke off and its repetition: blobs by digest.

    ``mounted`` ones came from another repository of the registry, without an upload.
    """

    arrived: list[str]
    retry: Push
    mounted: list[str]

    def facts(self) -> str:
        missing = set(self.retry.sizes) - set(self.arrived)
        return (
            f"broken off half-way: {yes_no(0 < len(self.arrived) < len(self.retry.sizes))}\n"
            f"the retry uploaded exactly what was missing: {yes_no(set(self.retry.uploaded) | set(self.mounted) == missing)}"
        )


def broken_push(on: Context, registry: Registry, repository: str = "broken", *, megabytes: int = 12) -> BrokenPush:
    """Break off a push when its first blob is in, then push again.

    The image has small layers and one of random bytes, which can't be compressed and so takes longest.
    """
    size = f"head -c {megabytes}m /dev/urandom > /big"
    steps = [f"FROM {images.BUSYBOX}", "RUN echo one > /one", f"RUN {size}"]
    built = build(on, f"{on.session.name('broken')}:1", {"Dockerfile": "\n".join([*steps, ""])}, cache=False)
    try:
        arrived = registry.push_and_break(built.tag, repository, "1")
        retry = registry.push(built.tag, repository, "1")
        mounted = registry.mounted()
    finally:
        on.docker.api.remove_image(built.tag, force=True)
    if not arrived:
        raise LabError("The push broke off before anything had arrived.", next_step="Run the cell again.")
    return BrokenPush(on.facts, arrived, retry, mounted)
