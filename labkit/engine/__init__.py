"""Where engines come from.

``find`` gives the engine that a lab runs on: the host's when there is one, otherwise the
embedded one that labkit starts. ``owned`` gives one that a lab may break.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import LabError, NoEngine
from .base import Engine, EngineFacts, OwnedEngine, require_owned
from .facts import read_facts
from .host import HostEngine, find_host
from .session import Removed, Session, clean

__all__ = [
    "Engine", "EngineFacts", "HostEngine", "OwnedEngine", "Removed", "Session",
    "clean", "find", "find_host", "owned", "present", "read_facts", "require_owned",
]  # fmt: skip


def find(choice: str | None = None, *, images: Callable[..., Sequence[Path]] | None = None) -> Engine:
    """The engine to run on.

    Args:
        choice: ``"host"``, ``"embedded"`` or an endpoint URL; ``$LABKIT_ENGINE`` when not given,
            and the first that works when that isn't set either.
        images: a function that makes the image archives an embedded engine is built with.

    Raises:
        NoEngine, EngineRefused: the chosen one doesn't answer, or none does.
    """
    choice, url = _chosen(choice)
    if choice == "embedded":
        return owned(images=images)
    engine, tried = find_host(url)
    if engine is not None:
        return engine
    if choice == "host":
        raise NoEngine("No host engine answers.", cause=" ".join(tried), next_step="Run: labkit doctor")
    try:
        return owned(images=images)
    except LabError as fault:
        raise NoEngine(
            "No container engine answers, and labkit could not start its own.",
            cause=" ".join([*tried, str(fault)]),
            next_step="Run: labkit doctor",
        ) from fault


def _chosen(choice: str | None) -> tuple[str, str | None]:
    """The choice, else that of the environment, and the address if it is one."""
    choice = (choice or os.environ.get("LABKIT_ENGINE") or "").strip()
    if choice in ("", "host", "embedded"):
        return choice, None
    if "://" not in choice:
        raise NoEngine(
            f"LABKIT_ENGINE={choice!r} is neither an engine nor an address.",
            next_step="Use host, embedded, or an address such as unix:///var/run/docker.sock",
        )
    return choice, choice


def present(choice: str | None = None) -> list[Engine]:
    """The engines that are there already, the one that ``labkit engine up`` holds among them; none is started.

    Args:
        choice: as for :func:`find`; with ``"host"`` or an address that engine only, with ``"embedded"`` the held one.

    Raises:
        NoEngine, EngineRefused: the chosen one doesn't answer.
    """
    from .embedded import running

    choice, url = _chosen(choice)
    host = None if choice == "embedded" else find_host(url)[0]
    held = running() if choice in ("", "embedded") else None
    if held and host and held.endpoint == host.endpoint:
        held = None  # DOCKER_HOST names it
    return [engine for engine in (host, held) if engine is not None]


def owned(*, images: Callable[..., Sequence[Path]] | None = None) -> OwnedEngine:
    """An engine that labkit starts and a lab may stop, starve and break; arguments as for :func:`find`.

    Raises:
        labkit.errors.LabError: QEMU is missing, or there's too little memory or disk for it.
    """
    from .embedded import start  # here: a host engine needs none of it

    return start(images=images)
