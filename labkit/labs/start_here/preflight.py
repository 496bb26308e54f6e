"""Every precondition of the labs, checked by doing it, each with its remedy."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from docker.errors import ImageNotFound

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine import clients, dockercli
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


#: Whether it is so, what was seen, and the remedy.
Seen = tuple[bool, str, str]


def _round_trip(on: Context) -> Seen:
    began = time.perf_counter()
    on.docker.ping()
    return True, f"{(time.perf_counter() - began) * 1000:.1f} ms for a round trip", ""


def _api(on: Context) -> Seen:
    return True, f"{on.facts.api_version}, the engine takes {on.facts.minimum_api_version} and newer", ""


def _images(on: Context) -> Seen:
    missing = []
    for name in images.RECIPES:
        try:
            on.docker.images.get(name)
        except ImageNotFound:
            missing.append(name)
    detail = f"missing: {', '.join(missing)}." if missing else ", ".join(images.RECIPES)
    return not missing, detail, "Make them: labkit doctor --fix"


def _container(on: Context) -> Seen:
    with on.container(images.BUSYBOX, ["true"], network_mode="none") as container:
        status = container.wait()["StatusCode"]
    return status == 0, f"exit status {status}", ""


def _observer(on: Context) -> Seen:
    machine = on.observer.machine()
    return True, f"Linux {machine['kernel']}, {machine['cpus']} CPU", ""


def _memory(on: Context) -> Seen:
    free = on.observer.machine()["available"]
    return free > 200 * MIB, f"{show_size(free)} available.", "Stop what runs beside the labs."


def _disk(on: Context) -> Seen:
    root = on.docker.info().get("DockerRootDir") or "its storage"
    free = on.observer.call("disk")["free"]
    return free > (0.25 if on.facts.owned else 1) * GIB, f"{show_size(free)} under {root}.", "See: docker system df"


def _tracing(on: Context) -> Seen:
    on.observer.trace(["sched/sched_process_exec"]).end()
    return True, "tracefs, in an instance of its own", ""


def _cli(on: Context) -> Seen:
    path = clients.proven(on.session.engine)
    words = ["docker", "version", "--format", "version {{.Client.Version}}, API {{.Client.APIVersion}}"]
    return True, f"{path}, {dockercli.run(on.session, words).stdout.strip()}", ""


_CHECKS: tuple[tuple[str, bool, Callable[[Context], Seen]], ...] = (
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
    """Check every precondition by doing it; first, where ``fix``, make and load the lab's images that are missing."""
    found = []
    if fix:
        for name in images.RECIPES:
            try:
                on.image(name)
            except LabError as fault:
                found.append(Check(f"the image {name} can be made", False, fault.what, fault.next_step))
    for name, needed, check in _CHECKS:
        try:
            found.append(Check(name, *check(on), needed))
        except LabError as fault:
            found.append(Check(name, False, f"{fault.what} {fault.cause}".strip(), fault.next_step, needed))
    return Preflight(on.facts, found)
