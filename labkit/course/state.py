"""What checks look at: this session's containers as the engine has them, and what happened to them."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

from docker.errors import NotFound

from ..engine.client import engine_time
from ..engine.faults import explained
from ..engine.session import ROLE, SESSION
from .context import Context


def containers(on: Context) -> list[dict[str, Any]]:
    """All containers that the learner made in this session, inspected, newest first.

    labkit's own helpers are left out.
    """
    with explained(on.session.engine.endpoint):
        rows = on.docker.api.containers(all=True, filters={"label": f"{SESSION}={on.session.id}"})
        found = []
        for row in rows:
            with contextlib.suppress(NotFound):  # one with --rm goes by itself
                if ROLE not in row["Labels"]:
                    found.append(on.docker.api.inspect_container(row["Id"]))
        return found


def running(on: Context) -> list[dict[str, Any]]:
    """Those of :func:`containers` that run."""
    return [row for row in containers(on) if row["State"]["Status"] == "running"]


def namespaces_of(on: Context, rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Namespaces of each container's main process, as the engine's machine has them."""
    found = {row["pid"]: row["namespaces"] for row in on.observer.processes([row["State"]["Pid"] for row in rows])}
    return {row["Id"]: found.get(row["State"]["Pid"], {}) for row in rows}


def machine_namespaces(on: Context) -> dict[str, str]:
    """The namespaces that a plain process of the engine's machine is in."""
    done = on.observer.call("plain", script="for n in /proc/self/ns/*; do echo ${n##*/} $(readlink $n); done")
    return dict(line.split() for line in done["output"].splitlines() if len(line.split()) == 2)


def events_of(on: Context, container: dict[str, Any]) -> list[dict[str, Any]]:
    """What the engine tells of a container's life, since it was made."""
    created = datetime.fromisoformat(container["Created"][:19] + "+00:00").timestamp()
    with explained(on.session.engine.endpoint):
        return list(on.docker.api.events(
            since=int(created) - 1, until=f"{engine_time(on.docker.api):.6f}", decode=True,
            filters={"container": container["Id"], "type": "container"},
        ))  # fmt: skip


def oom_killed(on: Context, container: dict[str, Any]) -> bool:
    """Whether the OOM killer struck in a container: by the engine's own event, or its flag.

    The flag alone misses a kill on some engine versions.
    """
    return container["State"]["OOMKilled"] or any(row["Action"] == "oom" for row in events_of(on, container))
