"""Every precondition of the labs, checked by doing it, each with its remedy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from docker.errors import ImageNotFound

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine import clients
from ...errors import LabError
from ...units import GIB, MIB, show_size


@dataclass(frozen=True)
class Check:
    """One precondition. ``needed`` is False where a lab only loses something without it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


@dataclass(frozen=True)
class Preflight(Result):
    """All checks, in the order they were made."""

    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether everything that is needed is there."""
        return all(check.ok for check in self.checks if check.needed)

    def facts(self) -> str:
        lines = [f"{'✓' if c.ok else '✗' if c.needed else '–'} {c.name}" for c in self.checks]
        missing = [f"  {c.name}: {c.detail} {c.remedy}" for c in self.checks if not c.ok]
        return "\n".join([*lines, *missing, f"ready: {'yes' if self.ok else 'no'}"])


def _round_trip(on: Context) -> Check:
    began = time.perf_counter()
    on.docker.ping()
    return Check("the daemon answers", True, f"{(time.perf_counter() - began) * 1000:.1f} ms for a round trip")


def _api(on: Context) -> Check:
    ours, theirs = on.facts.api_version, on.facts.minimum_api_version
    return Check("client and engine agree on an API version", True, f"{ours}, the engine takes {theirs} and newer")


def _images(on: Context) -> Check:
    missing = []
    for name in images.RECIPES:
        try:
            on.docker.images.get(name)
        except ImageNotFound:
            missing.append(name)
    detail = f"missing: {', '.join(missing)}." if missing else ", ".join(images.RECIPES)
    return Check("the lab's images are in place", not missing, detail, "Make them: labkit doctor --fix")


def _container(on: Context) -> Check:
    with on.container(images.BUSYBOX, ["true"], network_mode="none") as container:
        status = container.wait()["StatusCode"]
    return Check("a container runs", status == 0, f"exit status {status}")


def _observer(on: Context) -> Check:
    machine = on.observer.machine()
    return Check("the engine's machine can be observed", True, f"Linux {machine['kernel']}, {machine['cpus']} CPU")


def _memory(on: Context) -> Check:
    free = on.observer.machine()["available"]
    return Check("enough memory is free", free > 200 * MIB, f"{show_size(free)} available.",
                 "Stop what runs beside the labs.")  # fmt: skip


def _disk(on: Context) -> Check:
    root = on.docker.info().get("DockerRootDir") or "its storage"
    free = on.observer.call("disk")["free"]
    enough = free > (0.25 if on.facts.owned else 1) * GIB
    return Check("enough disk is free", enough, f"{show_size(free)} under {root}.", "See: docker system df")


def _tracing(on: Context) -> Check:
    stream = on.observer.stream("trace", events=["sched/sched_process_exec"], size_kb=64)
    stream.next(10)
    stream.stop()
    stream.result()
    return Check("the kernel's tracepoints can be read", True, "tracefs, in an instance of its own", needed=False)


def _cli(on: Context) -> Check:
    path: str | Path | None
    try:
        path, remedy = clients.ensure(on.say), ""
    except LabError as reason:
        path, remedy = on.session.engine.cli_path(), f"labkit's own can't be had: {reason}"
    return Check("the docker command line is here", path is not None, str(path or "not found."), remedy, needed=False)


_CHECKS: tuple[tuple[str, bool, Callable[[Context], Check]], ...] = (
    ("the daemon answers", True, _round_trip),
    ("client and engine agree on an API version", True, _api),
    ("the lab's images are in place", True, _images),
    ("a container runs", True, _container),
    ("the engine's machine can be observed", True, _observer),
    ("enough memory is free", True, _memory),
    ("enough disk is free", True, _disk),
    ("the kernel's tracepoints can be read", False, _tracing),
    ("the docker command line is here", False, _cli),
)


def preflight(on: Context, *, fix: bool = True) -> Preflight:
    """Check every precondition by doing it: a round trip, a container, a look at the machine.

    Args:
        on: the context.
        fix: first make and load the lab's images where they are missing.
    """
    found = []
    if fix:
        for name in images.RECIPES:
            try:
                on.image(name)
            except LabError as fault:
                found.append(Check(f"the image {name} can be made", False, fault.what, fault.next_step))
    for name, needed, check in _CHECKS:
        try:
            found.append(check(on))
        except LabError as fault:
            found.append(Check(name, False, f"{fault.what} {fault.cause}".strip(), fault.next_step, needed))
    return Preflight(on.facts, found)
