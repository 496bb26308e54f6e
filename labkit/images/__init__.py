"""Lab images without a registry: made on the spot, or pulled by digest when the learner prefers."""

import contextlib
import os
import re
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, ImageNotFound
from docker.models.images import Image

from .. import debian
from ..errors import BadInput
from ..saying import say
from .recipes import BUSYBOX, PYTHON, RECIPE, RECIPES, REGISTRY, make, variable

__all__ = ["BUSYBOX", "DEBIAN_ARCH", "PYTHON", "RECIPES", "REGISTRY", "archives", "ensure", "make"]

#: What /info calls an architecture, and Debian's name for it.
DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "riscv64": "riscv64"}


def archives(arch: str | None = None) -> list[Path]:
    """The archives of all lab images (for an engine that is built with them).

    Args:
        arch: Debian's name of the architecture; this machine's by default.
    """
    arch = arch or debian.architecture()
    return [make(name, arch, progress=say) for name in RECIPES]


def ensure(client: DockerClient, name: str) -> str:
    """Make sure that the engine has a lab image; returns its reference.

    An image already there is used as it is, unless an older labkit made it. ``$LABKIT_BUSYBOX`` and ``$LABKIT_PYTHON`` name
    another source, by digest: it is pulled and gets the lab's name.

    Raises:
        BadInput: the given source is not by digest.
        NotPossibleHere: not on the engine, and nothing here to make it from.
        labkit.errors.LabError: packages out of reach.
        docker.errors.APIError, requests.RequestException: disk full, the registry's refusal, the engine is gone.
    """
    source = os.environ.get(variable(name), "")
    try:
        have = client.images.get(name)
        wanted = source in (have.attrs.get("RepoDigests") or []) if source else not _outdated(have)
        if wanted:
            return name
    except ImageNotFound:
        have = None
    if source:
        return _pull(client, name, source)
    arch = client.info()["Architecture"]
    archive = make(name, DEBIAN_ARCH.get(arch, arch), progress=say)
    with open(archive, "rb") as stream:
        client.images.load(stream)
    if have:
        # Its name has gone to the new one. A container of another lab may still need it: then it stays.
        with contextlib.suppress(APIError):
            client.images.remove(have.id)
    return name


def _outdated(image: Image) -> bool:
    # Made by labkit, by an older recipe.
    labels = image.labels or {}
    return "labkit.base" in labels and int(labels.get("labkit.recipe", 0)) < RECIPE


def _pull(client: DockerClient, name: str, source: str) -> str:
    if not re.search(r"@sha256:[0-9a-f]{64}$", source):
        raise BadInput(
            f"{variable(name)}={source!r} has no digest.",
            cause="A tag can be moved to another image; a digest can't.",
            next_step=f"Write it as NAME@sha256:… (docker inspect -f '{{{{.RepoDigests}}}}' {source} shows it).",
        )
    repository, _, digest = source.partition("@")
    image = client.images.pull(repository, tag=digest)
    tag_repository, _, tag = name.partition(":")
    image.tag(tag_repository, tag)
    return name
