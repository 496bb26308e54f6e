"""A first container, the same thing three ways: SDK, command line, raw HTTP."""

import shlex
import statistics
import time
from collections.abc import Callable
from typing import Any

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.client import remove_container
from ...engine.dockercli import run_cli
from ...engine.rawhttp import Exchange, request

#: What all three run.
COMMAND = ["echo", "Hello from a container"]


def by_sdk(on: Context) -> str:
    """Run it with docker-py; returns what it printed."""
    said: bytes = on.docker.containers.run(on.image(), COMMAND, remove=True, network_mode="none")
    return said.decode().strip()


def by_cli(on: Context) -> str:
    """Run it with the real ``docker`` command line; returns what it printed."""
    on.image()
    command = shlex.join(["docker", "run", "--rm", "--network", "none", images.BUSYBOX, *COMMAND])
    return run_cli(on.session, command)


def by_http(on: Context) -> tuple[str, list[Exchange]]:
    """Run it with nothing but HTTP; returns what it printed, and each request with its answer."""
    engine = on.session.engine
    steps: list[Exchange] = []

    def step(method: str, path: str, body: dict[str, Any] | None = None) -> Exchange:
        steps.append(request(engine, method, path, body))
        return steps[-1]

    config = {
        "Image": on.image(),
        "Cmd": COMMAND,
        "Labels": on.docker.lab_labels,
        "HostConfig": {"NetworkMode": "none"},
    }
    on.session.show_life()
    made = step("POST", "/containers/create", config).json()["Id"]
    try:
        step("POST", f"/containers/{made}/start")
        step("POST", f"/containers/{made}/wait")
        log = step("GET", f"/containers/{made}/logs?stdout=1").body
    finally:
        step("DELETE", f"/containers/{made}?force=1")
    # Each piece of output has 8 bytes before it: stream and length (Engine API, ContainerAttach).
    return log[8:].decode().strip(), steps


class ThreeWays(Result):
    """The same container by three clients; ``seconds`` has each run's duration by client."""

    printed: dict[str, str]
    seconds: dict[str, list[float]]
    requests: list[str]

    def medians(self) -> dict[str, float]:
        """Median seconds by client."""
        return {name: statistics.median(values) for name, values in self.seconds.items()}

    def facts(self) -> str:
        same = len(set(self.printed.values())) == 1
        return f"clients: {', '.join(self.printed)} · same output from all: {'yes' if same else 'no'}"


def three_ways(on: Context, n: int | None = None) -> ThreeWays:
    """Run the same container ``n`` times by each client, in turn, and time each run.

    Method: timed is the whole run as the notebook sees it, from the call to the container's
    removal, warm (one round of each before, not counted), with no network; n = 10 (3 where emulated). The command line
    also pays for starting its own process.
    """
    n = n or (3 if on.facts.emulated else 10)
    ways: dict[str, Callable[[], str]] = {
        "SDK": lambda: by_sdk(on),
        "CLI": lambda: by_cli(on),
        "raw HTTP": lambda: by_http(on)[0],
    }
    if on.session.engine.cli_path() is None:
        del ways["CLI"]
    printed = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    _, steps = by_http(on)
    # Only what is the same on every run: the container's id is not.
    shown = [f"{step.method} {step.path.split('?')[0]} → {step.status}" for step in steps]
    made = steps[0].json()["Id"]
    return ThreeWays(on.facts, printed, seconds, [line.replace(made, "<id>") for line in shown])


def timed_run(on: Context) -> float:
    """Seconds of one warm run through labkit's own client (for the benchmark against the CLI)."""
    began = time.perf_counter()
    container = on.docker.containers.create(on.image(), COMMAND, network_mode="none")
    try:
        container.start()
        container.wait()
        container.logs()
    finally:
        remove_container(container)
    return time.perf_counter() - began
