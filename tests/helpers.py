"""What several test files share: waiting, looking for processes, looking at an engine from outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.engine.client import PlainAPIClient
from labkit.engine.session import SESSION


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds; the test fails when it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(0.05)


@contextlib.contextmanager
def interrupted_while_creating(api, number: int, helper: bool = False) -> Iterator[None]:
    """Ctrl-C in the moment in which the engine has made container ``number``, but nobody has heard its answer.

    Counted are the lab's containers, or only labkit's own helpers.
    """
    create, made = api.create_container_from_config, []

    def unheard(config, name, *values):
        found = create(config, name, *values)
        made.extend([name] if (name or "").startswith("labkit-") == helper else [])
        if len(made) == number:
            raise KeyboardInterrupt
        return found

    api.create_container_from_config = unheard
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        del api.create_container_from_config


def running(pid: int | str) -> bool:
    """Whether a process runs: one that has ended but that nobody has waited for doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_behind(engine, session: str) -> list[str]:
    """All that still carries a session's label or name on an engine, as text."""
    with contextlib.closing(PlainAPIClient(**engine.client_options())) as api:

        def ours(labels: dict | None, *names: str) -> bool:
            return (labels or {}).get(SESSION) == session or any(session in name for name in names)

        rows = [f"container {row['Names']}" for row in api.containers(all=True) if ours(row["Labels"], *row["Names"])]
        rows += [f"network {row['Name']}" for row in api.networks() if ours(row["Labels"], row["Name"])]
        volumes = api.volumes()["Volumes"] or []
        rows += [f"volume {row['Name']}" for row in volumes if ours(row["Labels"], row["Name"])]
        pictures = api.images(all=True)
        return rows + [f"image {r['Id']}" for r in pictures if ours(r["Labels"], *(r["RepoTags"] or []))]
