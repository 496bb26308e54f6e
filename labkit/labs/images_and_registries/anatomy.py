"""Open an image: its configuration, its layers, and the three names that each layer has.

The image is saved from the engine and read as the archive that it is. Every digest is computed
here from the bytes and then compared with what the engine says.

* **digest**: SHA-256 of the blob as it is stored or sent, compressed or not;
* **diffID**: SHA-256 of the layer's uncompressed tar;
* **chainID**: names the stack up to a layer: ``sha256(chainID of the one below + " " + diffID)``.

Source: OCI image-spec, ``config.md``.
"""

import contextlib
import gzip
import io
import json
import re
import tarfile
import tempfile
from dataclasses import dataclass, field, replace
from typing import IO, Any

from docker.errors import ImageNotFound
from docker.types import Mount

from ...course.context import Context
from ...course.result import Result
from ...errors import LabError, NotPossibleHere
from ...images.archive import sha256
from ...units import yes_no
from .building import Build, build
from .samples import source


@dataclass(frozen=True)
class Layer:
    """One layer: its three names, its sizes in bytes, and the files that it holds."""

    digest: str
    diff_id: str
    chain_id: str
    stored: int
    size: int
    files: list[str]
    created_by: str = ""


@dataclass(frozen=True)
class Instruction:
    """One entry of the image's history: what was done, and whether it made a layer."""

    words: str
    layer: bool


class Anatomy(Result):
    """An opened image.

    ``checks`` says, in words, what was recomputed and whether it equals the engine's answer; ``names`` are both, and
    the folder of the engine's store in which the chainIDs were looked up.
    """

    image: str
    image_id: str
    layers: list[Layer]
    history: list[Instruction]
    config: dict[str, Any]
    checks: dict[str, bool] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, Layer | None]]:
        """Each instruction with the layer that it made, base first; the layers alone where the history has others."""
        if sum(row.layer for row in self.history) != len(self.layers):
            return [("", layer) for layer in self.layers]
        layers = iter(self.layers)
        return [(row.words, next(layers) if row.layer else None) for row in self.history]

    def facts(self) -> str:
        said = f"{len(self.history)} instructions made" if self.history else "no history kept:"
        lines = [f"{said} {len(self.layers)} layers"]
        return "\n".join([*lines, *(f"{what}: {yes_no(good)}" for what, good in self.checks.items())])

    def instructions(self) -> str:
        """Each instruction and whether it made a layer, as text."""
        return "\n".join(
            f"{row.words[:46]:<46} {'a layer' if row.layer else 'configuration only'}" for row in self.history
        )


class Shelf(Result):
    """Several opened images side by side."""

    images: list[Anatomy]

    def shared(self) -> set[str]:
        """diffIDs of layers that more than one image has."""
        seen: dict[str, int] = {}
        for one in self.images:
            for diff_id in {layer.diff_id for layer in one.layers}:
                seen[diff_id] = seen.get(diff_id, 0) + 1
        return {diff_id for diff_id, count in seen.items() if count > 1}

    def facts(self) -> str:
        shared, every = self.shared(), [layer for one in self.images for layer in one.layers]
        different = {layer.diff_id for layer in every}
        return (
            f"{len(self.images)} images, {len(every)} layers in all, {len(different)} different, {len(shared)} shared"
        )


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chainID of each layer, base first (image-spec ``config.md``)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(diff_id if not chain else sha256(f"{chain[-1]} {diff_id}".encode()))
    return chain


def sample(on: Context, /, tag: str = "1", **changed: str) -> Build:
    """Build the sample app ``hello`` of ``data/apps`` as ``hello-SESSION:tag``; returns the build.

    With the cache: the layers that two versions have in common are the same ones.

    Args:
        tag: the version.
        changed: other text for a file, as for :func:`labkit.labs.images_and_registries.samples.source`.
    """
    return build(on, f"{on.session.name('hello')}:{tag}", source("hello", **changed))


def has_image(on: Context, reference: str) -> bool:
    """Whether the engine has an image of that name."""
    with contextlib.suppress(ImageNotFound):
        return bool(on.docker.api.inspect_image(reference))
    return False


def require_image(on: Context, image: str) -> dict[str, Any]:
    """An image of the engine, inspected.

    Raises:
        NotPossibleHere: the engine has none of that name.
    """
    try:
        return dict(on.docker.api.inspect_image(image))
    except ImageNotFound:
        raise NotPossibleHere(
            f"The engine has no image {image}.",
            next_step="Build it first, or look which there are: lab.docker.images.list()",
            engine=on.session.engine.endpoint,
        ) from None


def sample_tag(on: Context, tag: str = "1", **changed: str) -> str:
    """The sample app's reference; built first where the engine lacks it."""
    name = f"{on.session.name('hello')}:{tag}"
    return name if has_image(on, name) else sample(on, tag, **changed).tag


def anatomy(on: Context, image: str) -> Anatomy:
    """Save an image of this engine, open the archive, and recompute every name in it.

    Raises:
        NotPossibleHere: the engine has no such image.
        LabError: it saved something that is no image archive.
    """
    api, inspected = on.docker.api, require_image(on, image)
    with tempfile.TemporaryFile() as saved:
        for chunk in api.get_image(image):
            saved.write(chunk)
        saved.seek(0)
        members, config_bytes, layers = read_archive(saved)
    config = json.loads(config_bytes)
    # An image need not have a history (image-spec config.md), or one that fits its layers.
    history = [Instruction(tidy(row.get("created_by", "")), not row.get("empty_layer"))
               for row in config.get("history") or []]  # fmt: skip
    # The lab's own labels are no line of anybody's Dockerfile.
    history = [row for row in history if not row.words.startswith("LABEL labkit.")]
    makers = [row.words for row in history if row.layer]
    if len(makers) == len(layers):
        layers = [replace(layer, created_by=words) for layer, words in zip(layers, makers)]
    diff_ids, chain = ([getattr(layer, name) for layer in layers] for name in ("diff_id", "chain_id"))
    store = _known(on, chain)
    checks = {
        "diffIDs recomputed equal the engine's": diff_ids == inspected["RootFS"]["Layers"],
        "diffIDs are what the configuration lists": diff_ids == config["rootfs"]["diff_ids"],
        "the image ID is the digest of a file in the archive": inspected["Id"] in members,
        "chainIDs recomputed are the names in the engine's store": bool(store),
    }
    names = {
        "diffIDs recomputed, of the tars in the archive": diff_ids,
        "docker image inspect, RootFS.Layers": inspected["RootFS"]["Layers"],
        "the archive's configuration, rootfs.diff_ids": config["rootfs"]["diff_ids"],
        "digests recomputed, of the archive's small files": sorted(members),
        "docker image inspect, Id": [inspected["Id"]],
        f"chainIDs recomputed, found in {store or 'no store'}": chain,
    }
    return Anatomy(on.facts, image, inspected["Id"], layers, history, config, checks, names)


def files_of(stream: IO[bytes]) -> tuple[set[str], bytes, list[bytes]]:
    """What an image archive holds: the digests of its small files, the configuration, the layers as they are stored.

    Both forms are understood: the one that ``docker save`` wrote before Engine 25 (a folder a
    layer) and the OCI layout (``blobs/sha256``) since.
    """
    with tarfile.open(fileobj=stream) as tar:

        def read(member: str | tarfile.TarInfo) -> bytes:
            content = tar.extractfile(member)  # before Engine 25, a layer that came before is a link to it
            return content.read() if content else b""

        try:
            [manifest] = json.loads(read("manifest.json"))
        except (KeyError, ValueError) as fault:
            raise LabError("What the engine saved is not an image archive.") from fault
        small = {sha256(read(member)) for member in tar.getmembers() if member.isreg() and member.size < 1 << 20}
        return small, read(manifest["Config"]), [read(name) for name in manifest["Layers"]]


def unpacked(blob: bytes) -> bytes:
    """A layer's tar; layers may be compressed with gzip (OCI image-spec ``layer.md``)."""
    return gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob


def read_archive(stream: IO[bytes]) -> tuple[set[str], bytes, list[Layer]]:
    """As :func:`files_of`, with the layers opened, and named."""
    small, config, blobs = files_of(stream)
    opened = [unpacked(blob) for blob in blobs]
    diff_ids = [sha256(data) for data in opened]
    layers = [
        Layer(sha256(blob), diff_id, chain_id, len(blob), len(data), _files(data))
        for blob, data, diff_id, chain_id in zip(blobs, opened, diff_ids, chain_ids(diff_ids))
    ]
    return small, config, layers


def _files(layer: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return ["/" + member.name.rstrip("/") for member in tar.getmembers() if not member.isdir()]


def tidy(created_by: str) -> str:
    """An instruction as it was written, from what the history keeps of it."""
    words = re.sub(r"^/bin/sh -c #\(nop\)\s+", "", created_by)
    words = re.sub(r"^/bin/sh -c ", "RUN ", words)
    words = re.sub(r"^RUN (\|\d+ .*?)?/bin/sh -c (.*) # buildkit$", r"RUN \2", words, flags=re.S)
    words = words.removesuffix(" # buildkit")
    words = re.sub(r"(file|dir|multi):[0-9a-f]{64} in ", "… ", words)
    words = re.sub(r"(-)[0-9a-f]{8}\b", "", words)
    return re.sub(r"\s+", " ", words).replace("RUN RUN", "RUN").strip()


def _known(on: Context, chain: list[str]) -> str:
    """The folder in which the engine's own store names these stacks so, "" if none: looked up in its files, read-only.

    The classic store has a folder per chainID. containerd's keeps them as keys in a database file,
    where the plain names can be found.
    """
    root = on.docker.info()["DockerRootDir"]
    names = " ".join(name.removeprefix("sha256:") for name in chain)
    if on.facts.image_store == "containerd":
        script = f"for n in {names}; do cat /store/*/meta.db /store/meta.db 2>/dev/null | grep -aq $n || exit 1; done"
        sources = ["/var/lib/containerd/io.containerd.metadata.v1.bolt",
                   f"{root}/containerd/daemon/io.containerd.metadata.v1.bolt"]  # fmt: skip
    else:
        script = f"for n in {names}; do test -d /store/$n || exit 1; done"
        sources = [f"{root}/image/{on.facts.image_store}/layerdb/sha256"]
    for folder in sources:
        mount = Mount("/store", folder, type="bind", read_only=True)
        try:
            if on.ran(on.image(), ["sh", "-c", script], mounts=[mount]).code == 0:
                return folder
        except LabError:
            continue  # this engine keeps its store elsewhere
    return ""


def compare(on: Context, *images: str) -> Shelf:
    """Open several images, to see what they share."""
    return Shelf(on.facts, [anatomy(on, image) for image in images])
