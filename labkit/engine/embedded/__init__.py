"""The embedded engine: a real Docker Engine for a user with no privilege and no daemon.

:func:`start` is all that most callers need. The first call on a machine builds (a minute or two),
every later one resumes (about a second).
"""

import os
from pathlib import Path

from ...errors import EngineGone
from ...saying import say
from . import accel, builder, host, leftovers, packages, qemu, sharing, snapshot, store
from .builder import Images
from .carry import bring, check, export, import_and_prepare
from .engine import EmbeddedEngine
from .lifecycle import IDLE_LIMIT, Precondition, down, preconditions, running, status, up
from .packages import variant

__all__ = [
    "IDLE_LIMIT",
    "EmbeddedEngine",
    "Precondition",
    "bring",
    "build",
    "check",
    "down",
    "export",
    "import_and_prepare",
    "preconditions",
    "prepare",
    "running",
    "start",
    "status",
    "up",
    "variant",
]


def _shape(folder: Path, found: host.Qemu, arch: str, memory: int | None, cpus: int | None) -> qemu.Shape:
    accelerator = accel.choose(found, folder / "kernel", folder / "initrd", arch=arch)
    limit = host.memory_limit()
    if memory is None and cpus is None:
        have = snapshot.existing(folder, found, accelerator, limit)
        if have:
            return have
        # A cache that a class shares read-only: what was saved there beats what can't be saved.
        if not os.access(folder, os.W_OK):
            have = snapshot.existing(folder, found, "tcg", limit)
            if have:
                return have
    if memory is not None and memory < host.LEAST_MEMORY:
        host.refuse_memory(memory)
    return qemu.Shape(memory or host.fitting_memory(limit), cpus or min(2, host.cpu_limit()), accelerator, arch)


def prepare(
    *,
    images: Images = None,
    force: bool = False,
    variant: packages.Variant | None = None,
    memory: int | None = None,
    cpus: int | None = None,
) -> tuple[Path, qemu.Shape, Path]:
    """Whatever is needed before an engine can be resumed: build and snapshot, made where missing.

    Returns the build's folder, the machine's shape and the snapshot's folder. Arguments and errors
    as for :func:`build`.
    """
    arch = variant.arch if variant else ""
    found = host.find_qemu(arch)
    folder = builder.build(images=images, force=force, variant=variant)
    shape = _shape(folder, found, arch, memory, cpus)
    try:
        return folder, shape, snapshot.ensure(folder, found, shape)
    except EngineGone:
        if store.intact(folder, thorough=True):
            raise
        images = _discard(folder, images)
    folder = builder.build(images=images, variant=variant)
    return folder, shape, snapshot.ensure(folder, found, shape)


def _discard(folder: Path, images: Images) -> Images:
    """Have a damaged build made anew at the next chance; returns the images that it shall hold."""
    say("The engine's files are damaged: making them anew")
    images = images or builder.archives(folder)
    store.unseal(folder)
    return images


def build(
    *,
    images: Images = None,
    force: bool = False,
    variant: packages.Variant | None = None,
    memory: int | None = None,
    cpus: int | None = None,
) -> Path:
    """Build the machine and save its snapshot, unless both are there; returns the build's folder.

    Args:
        images: image archives (``docker save`` format) that its engine shall hold from the start, or a
            function that makes them, called only when there is no build. None: any
            build will do.
        force: make everything anew, with the newest packages.
        variant: which suite, image store and processor; by default what the environment asks for, else the current ones.
        memory: the machine's memory in bytes; chosen to fit this container's limit by default.
        cpus: its processors; at most 2, and no more than may be used here, by default.

    Raises:
        NotPossibleHere: no QEMU, no package client, too little memory.
        LabError: no space, packages out of reach, a machine that does not boot.
    """
    return prepare(images=images, force=force, variant=variant, memory=memory, cpus=cpus)[0]


def start(
    *,
    images: Images = None,
    variant: packages.Variant | None = None,
    memory: int | None = None,
    cpus: int | None = None,
    port: int | None = None,
) -> EmbeddedEngine:
    """An engine of this process's own, answering; it stops with ``close()`` or with this process.

    Builds and saves a snapshot first where that hasn't been done. A build that turns out to be damaged
    is made anew, once.

    Args:
        port: loopback port for it; a free one by default. Other arguments as for :func:`build`.

    Raises:
        NotPossibleHere: no QEMU, no package client, too little memory.
        LabError: no space, packages out of reach, the port is taken.
        EngineGone: its machine ended or did not answer, although its files are intact.
    """
    leftovers.clear()
    found = host.find_qemu(variant.arch if variant else "")
    folder, shape, saved = prepare(images=images, variant=variant, memory=memory, cpus=cpus)
    try:
        with sharing.turn(folder):
            running_machine = snapshot.resume(folder, found, shape, saved, port=port)
    except EngineGone:
        # Sizes and times were right; now look at the contents before anybody is blamed.
        whole = store.intact(folder, thorough=True)
        if whole and store.intact(saved, thorough=True):
            raise
        store.unseal(saved)
        if not whole:
            images = _discard(folder, images)
        else:
            say("The engine's snapshot is damaged: making it anew")
        folder, shape, saved = prepare(images=images, variant=variant, memory=memory, cpus=cpus)
        running_machine = snapshot.resume(folder, found, shape, saved, port=port)
    return EmbeddedEngine(running_machine, shape, folder)
