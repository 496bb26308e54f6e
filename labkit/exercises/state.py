"""What checks look at: this session's containers as the engine has them, and what happened to them."""

from __future__ import annotations

import time
from datetime import datetime

from ..engine.faults import explained
from ..engine.session import ROLE, SESSION
from ..experiments.context import Context


def containers(on: Context) -> list[dict]:
    """All containers that the learner made in this session, inspected, newest first.

    labkit's own helpers are left out.
    """
    with explained(on.session.engine.endpoint):
        rows = on.docker.api.containers(all=True, filters={"label": f"{SESSION}={on.session.id}"})
        made = [row["Id"] for row in rows if ROLE not in row["Labels"]]
        return [on.docker.api.inspect_container(identifier) for identifier in made]


def oom_killed(on: Context, container: dict) -> bool:
    """Whether the OOM killer struck in a container: by the engine's own event, or its flag.

    The flag alone misses a kill on some engine versions.
    """
    if container["State"]["OOMKilled"]:
        return True
    created = datetime.fromisoformat(container["Created"][:19] + "+00:00").timestamp()
    with explained(on.session.engine.endpoint):
        rows = on.docker.api.events(
            since=int(created) - 1, until=int(time.time()) + 1, decode=True,
            filters={"container": container["Id"], "event": "oom"},
        )  # fmt: skip
        return any(True for _ in rows)
