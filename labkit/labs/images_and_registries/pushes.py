"""What a push really sends, and a pull: everything once, then only what is new; and a push that broke off."""

import json
import re
from dataclasses import field

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import LabError
from ...units import yes_no
from .anatomy import Anatomy, anatomy, sample_tag
from .building import build
from .registry import Push, RunningRegistry

#: The app's own code in its second version.
SECOND = '#!/bin/sh\n. /lib/greeting.sh\ngreet\necho "second version"\n'


class TwoPushes(Result):
    """Two versions of one app, pushed one after the other.

    ``missing``: the second one's blobs that the registry did not have before its push, from its own disk; ``asked``: what
    that push asked for and sent, from its access log.
    """

    first: Push
    second: Push
    missing: list[str]
    asked: list[str]

    def facts(self) -> str:
        exactly = sorted(self.second.uploaded) == sorted(self.missing)
        return f"{self.first}\n{self.second}\nexactly the new blobs were uploaded: {yes_no(exactly)}"


def two_pushes(on: Context, registry: RunningRegistry, repository: str = "shop") -> TwoPushes:
    """Build two versions of the sample app that differ in the app's own code; push both.

    Uploads are counted in the registry's access log, not taken from the client's words.
    """
    one = sample_tag(on, "1")
    two = sample_tag(on, "2", app__sh=SECOND)
    first = registry.push(one, repository, "1")
    before, mark = registry.stored().sizes, len(registry.requests())
    second = registry.push(two, repository, "2")
    asked = [row for row in registry.requests()[mark:] if re.match(r"(HEAD|PUT) ", row)]
    return TwoPushes(on.facts, first, second, [blob for blob in second.sizes if blob not in before], asked)


class PullBack(Result):
    """An image that the engine no longer had: ``blobs`` it is made of, and those ``downloaded`` by the pull, by digest.

    ``first`` and ``again`` are what the registry was asked by that pull and by one more, as its access log has it.
    """

    blobs: list[str]
    downloaded: list[str]
    first: list[str]
    again: list[str]

    def facts(self) -> str:
        here = len(self.blobs) - len(self.downloaded)
        fetched = [row for row in self.again if re.match(r"GET \S+/(blobs|manifests)/", row)]
        return (
            f"pulled back: {len(self.downloaded)} blobs downloaded, {here} were there already\n"
            f"pulled again: {len(fetched) or 'nothing'} downloaded"
        )


def pull_back(on: Context, registry: RunningRegistry, repository: str = "back") -> PullBack:
    """Add a layer to the sample app, push that, remove it from the engine, and pull it twice.

    Downloads are counted in the registry's access log. The layer is a container's, committed: one that was
    built would be kept, image or not, in the builder's cache.
    """
    name = on.session.name("back")
    with on.container(sample_tag(on), ["sh", "-c", "echo new > /new"], network_mode="none") as author:
        author.wait(timeout=60)
        author.commit(name, "1")
    blobs = list(registry.push(f"{name}:1", repository, "1").sizes)
    there = f"{registry.address}/{repository}:1"
    for reference in (there, f"{name}:1"):
        on.docker.api.remove_image(reference)
    marks = [len(registry.requests())]
    for _ in ("first", "again"):
        registry.pull(repository, "1")
        marks.append(len(registry.requests()))
    on.docker.api.remove_image(there)
    asked = registry.requests()
    first, again = asked[marks[0] : marks[1]], asked[marks[1] : marks[2]]
    fetched = [row.split()[1].rpartition("/")[2] for row in first if row.startswith("GET ")]
    return PullBack(on.facts, blobs, [digest for digest in fetched if digest in blobs], first, again)


class Matched(Result):
    """An image's blobs fetched from the registry, hashed, and compared with engine and manifest.

    ``identity``: the engine's image ID is a digest of the registry's, too. It is the configuration's in
    the classic image store, the manifest's in containerd's. ``manifest`` is the document, as JSON. ``hashes``: for each
    digest in it, in its order, the SHA-256 of the blob and of what it holds when unpacked.
    """

    digests: bool
    diff_ids: bool
    identity: bool
    layers: int
    manifest: str = ""
    hashes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def facts(self) -> str:
        return (
            f"{self.layers} layers and a configuration fetched over HTTP\n"
            f"SHA-256 of each blob is its digest in the manifest: {yes_no(self.digests)}\n"
            f"SHA-256 of each unpacked layer is the engine's diffID: {yes_no(self.diff_ids)}\n"
            f"the engine's image ID is a digest there, too: {yes_no(self.identity)}"
        )


def matched(on: Context, registry: RunningRegistry, repository: str, tag: str, image: str) -> Matched:
    """Fetch every blob of an image from the registry and recompute its names; ``image`` is the engine's own."""
    inspected = on.docker.api.inspect_image(image)
    return _matched(on, registry, repository, tag, inspected["Id"], inspected["RootFS"]["Layers"])


def _matched(
    on: Context, registry: RunningRegistry, repository: str, tag: str, image_id: str, diff_ids: list[str]
) -> Matched:
    manifest = registry.manifest(repository, tag)
    named = [row["digest"] for row in (manifest["config"], *manifest["layers"])]
    hashed = [registry.hashed(repository, digest) for digest in named]
    config, *layers = hashed
    return Matched(
        on.facts,
        [stored for stored, _ in hashed] == named,
        [opened for _, opened in layers] == diff_ids,
        image_id in (config[0], registry.digest(repository, tag)),
        len(layers),
        json.dumps(manifest, indent=1),
        dict(zip(named, hashed)),
    )


class Everywhere(Result):
    """Images whose names were recomputed from the engine's archive and from the registry's blobs, by reference.

    ``names`` are those of :class:`Anatomy` and the hashes of :class:`Matched`.
    """

    archives: dict[str, Anatomy]
    fetched: dict[str, Matched]

    @property
    def names(self) -> dict[str, object]:
        """By image."""
        return {
            image: {**opened.names, "blobs of the registry, hashed, and unpacked": self.fetched[image].hashes}
            for image, opened in self.archives.items()
        }

    def facts(self) -> str:
        engine = all(all(opened.checks.values()) for opened in self.archives.values())
        registry = all(row.digests and row.diff_ids and row.identity for row in self.fetched.values())
        layers = sum(row.layers for row in self.fetched.values())
        return (
            f"{len(self.archives)} images, {layers} layers\n"
            f"every name recomputed is the engine's: {yes_no(engine)}\n"
            f"every name recomputed is the registry's: {yes_no(registry)}"
        )


def everywhere(on: Context, registry: RunningRegistry, *images: str, repository: str = "every") -> Everywhere:
    """Open each image as the engine saves it, push it, fetch it back, and recompute all its names on both ways.

    Args:
        images: references on the engine; both versions of the sample app and their base by default.
        repository: where they are pushed to, as tags 1, 2, 3 …
    """
    images = images or (sample_tag(on, "1"), sample_tag(on, "2", app__sh=SECOND), on.image())
    archives, fetched = {}, {}
    for number, image in enumerate(images, 1):
        opened = archives[image] = anatomy(on, image)
        registry.push(image, repository, str(number))
        diff_ids = [layer.diff_id for layer in opened.layers]
        fetched[image] = _matched(on, registry, repository, str(number), opened.image_id, diff_ids)
    return Everywhere(on.facts, archives, fetched)


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


def broken_push(on: Context, registry: RunningRegistry, repository: str = "broken") -> BrokenPush:
    """Break off a push when its first blob is in, then push again.

    The image has small layers and one of random bytes, which can't be compressed and so takes longest.
    """
    # containerd's store sends without compressing first, and what the line's buffers hold arrives also after it broke.
    megabytes = 48 if on.facts.image_store == "containerd" else 16
    steps = [f"FROM {images.BUSYBOX}", "RUN echo one > /one", f"RUN head -c {megabytes}m /dev/urandom > /big"]
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
