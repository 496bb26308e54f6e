"""What checks look at: this session's containers as the engine has them, and what happened to them."""

import contextlib
from datetime import datetime
from typing import Any

from docker.errors import NotFound

from ..engine.client import engine_time, small_file
from ..engine.session import ROLE, SESSION, belongs
from .context import Context


def containers(on: Context) -> list[dict[str, Any]]:
    """All containers that the learner made in this session, inspected, newest first.

    What was started in a terminal bears no label: it counts where its name is the session's (``lab.name_for``),
    and on an engine that the lab owns. labkit's own helpers are left out.
    """
    found, session = [], on.session
    for row in on.docker.api.containers(all=True):
        labels = row["Labels"] or {}
        if ROLE in labels or not (belongs(row, session.id) or (session.engine.owned and SESSION not in labels)):
            continue
        with contextlib.suppress(NotFound):  # one with --rm goes by itself
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


def shared_with_machine(on: Context, row: dict[str, Any], own: dict[str, str], machine: dict[str, str]) -> list[str]:
    """What a container has of its engine's machine, by name: namespaces, folders, devices.

    The namespaces are those that a container has for itself unless a flag gives them up, on any engine; that of
    control groups is one of them with their version 2.
    """
    steady = ["mnt", "uts", "ipc", "pid", "net", *(["cgroup"] if on.facts.cgroup_version == 2 else [])]
    found = [name for name in steady if own.get(name) == machine.get(name)]
    found += ["a folder"] if any(mount["Type"] == "bind" for mount in row["Mounts"]) else []
    return found + (["devices"] if row["HostConfig"]["Privileged"] or row["HostConfig"].get("Devices") else [])


def moment(text: str) -> float:
    """A time as the engine writes it, in seconds since 1970; below 0 where it stands for never."""
    return datetime.fromisoformat(text).timestamp()


def events_of(on: Context, container: dict[str, Any]) -> list[tuple[str, str]]:
    """The engine's events of a container's last run: what happened, and the signal where one was sent.

    The engine keeps 256 events of all that happens on it: what is not among these may have happened all the same.
    Where ``("start", "")`` is, all that came after it is too.
    """
    started = moment(container["State"]["StartedAt"])
    rows = on.events(max(0, started - 1), engine_time(on.docker.api), container=container["Id"], type="container")
    return [
        (row["Action"], row["Actor"]["Attributes"].get("signal", ""))
        for row in rows if row["timeNano"] / 1e9 >= started - 0.001
    ]  # fmt: skip


def oom_killed(on: Context, container: dict[str, Any]) -> bool:
    """Whether the OOM killer struck in a container's last run: by the engine's own event, or its flag.

    The flag alone misses a kill on some engine versions.
    """
    return container["State"]["OOMKilled"] or ("oom", "") in events_of(on, container)


def file_in(on: Context, container: str, path: str) -> str | None:
    """The text of a small file in a container, running or not; None where there is none."""
    with contextlib.suppress(NotFound):
        return small_file(on.docker.containers.get(container), path)
    return None
