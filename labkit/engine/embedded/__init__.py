"""The embedded engine: a real Docker Engine for a user with no privilege and no daemon.

``start()`` is all that most callers need. The first call on a machine builds (a minute or two),
every later one resumes (about a second).
"""

from __future__ import annotations

from pathlib import Path

from . import accel, host, machine, qemu, snapshot
from . import build as _building
from .build import Images, Progress
from .engine import EmbeddedEngine

__all__ = ["EmbeddedEngine", "build", "start"]


def _shape(folder: Path, found: host.Qemu, memory, cpus, progress) -> qemu.Shape:
    accelerator = accel.choose(found, folder / "kernel", folder / "initrd", progress=progress)
    limit = host.memory_limit()
    if memory is None and cpus is None:
        have = snapshot.existing(folder, found, accelerator, limit)
        if have:
            return have
    return qemu.Shape(memory or host.fitting_memory(limit), cpus or min(2, host.cpu_limit()), accelerator)


def build(
    *,
    images: Images = None,
    progress: Progress | None = None,
    force: bool = False,
    memory: int | None = None,
    cpus: int | None = None,
) -> Path:
    folder = _building.build(images=images, progress=progress, force=force)
    found = host.find_qemu()
    snapshot.ensure(folder, found, _shape(folder, found, memory, cpus, progress), progress=progress)
    return folder


def start(
    *,
    images: Images = None,
    progress: Progress | None = None,
    memory: int | None = None,
    cpus: int | None = None,
    port: int | None = None,
) -> EmbeddedEngine:
    machine.clear_leftovers()
    found = host.find_qemu()
    folder = _building.build(images=images, progress=progress)
    shape = _shape(folder, found, memory, cpus, progress)
    saved = snapshot.ensure(folder, found, shape, progress=progress)
    running = snapshot.resume(folder, found, shape, saved, port=port)
    return EmbeddedEngine(running, shape, folder)
