"""A health check, live: what the engine makes of a server that still runs and no longer works."""

from dataclasses import dataclass

from docker.models.containers import Container

from ...course.context import Context
from ...course.result import Result
from ...course.state import moment
from ...errors import LabError
from ...units import yes_no
from ...waiting import wait_until
from .kiosk import PATIENCE, health_of, health_options, image, pace


@dataclass(frozen=True)
class Probe:
    """One run of the check's command: when it began, in seconds since the container did, how long it took, its status."""

    start: float
    seconds: float
    code: int


class Health(Result):
    """A server that was well, broken and mended.

    ``states`` are (seconds since its start, what the engine called it); ``answer`` is the HTTP status that its name
    gave while it was unhealthy, 0 where it gave none; ``restarts`` and ``running`` are the engine's words then.
    """

    states: list[tuple[float, str]]
    probes: list[Probe]
    retries: int
    policy: str
    restarts: int
    running: bool
    answer: int

    def failed_in_a_row(self) -> int:
        """How many probes had failed, one after the other, when it was called unhealthy."""
        until = next(at for at, state in self.states if state == "unhealthy")
        codes = [probe.code for probe in self.probes if probe.start <= until]
        return next((place for place, code in enumerate(reversed(codes)) if code == 0), len(codes))

    def facts(self) -> str:
        led = f"yes: HTTP {self.answer}" if self.answer else "no"
        return (
            f"{' → '.join(state for _, state in self.states)}\n"
            f"unhealthy after as many failures in a row as --retries says: {yes_no(self.failed_in_a_row() == self.retries)}\n"
            f"while unhealthy: runs: {yes_no(self.running)} · restarts: {self.restarts}, with --restart {self.policy} "
            f"· its name still led to it: {led}"
        )


class _Follower:
    def __init__(self, container: Container):
        self._container, self.states, self.probes = container, [(0.0, "starting")], {}  # type: ignore[var-annotated]

    def look(self) -> str:
        """The state now; what is new is kept. Of its probes the engine remembers the last five."""
        self._container.reload()
        state = self._container.attrs["State"]
        began, health = moment(state["StartedAt"]), health_of(state)
        for row in health["Log"] or []:
            start, end = (moment(row[key]) - began for key in ("Start", "End"))
            self.probes[row["Start"]] = Probe(start, end - start, row["ExitCode"])
        if health["Status"] != self.states[-1][1]:
            last = max(self.probes.values(), key=lambda probe: probe.start)
            self.states.append((last.start + last.seconds, health["Status"]))
        return self.states[-1][1]

    def await_state(self, wanted: str) -> None:
        wait_until(lambda: self.look() == wanted, PATIENCE, f"The server did not become {wanted}.", every=0.1)

    def do(self, *words: str) -> None:
        code, text = self._container.exec_run(words)
        if code:
            raise LabError(f"A command in the server failed: {text.decode('utf-8', 'replace').strip()}")


def health(on: Context, policy: str = "always") -> Health:
    """Start a server with a health check and a restart policy; take its tea away, ask it, and give the tea back.

    Method: the engine's account of the container is read ten times a second; times are those that it wrote down for
    its probes, by its own clock.
    """
    tag, network = image(on), on.network(on.session.name("health-net"))
    name = on.session.name("kiosk")
    on.free(name)
    try:
        made = on.container(
            tag, None, name=name, network=network, healthcheck=health_options(on), restart_policy={"Name": policy}
        )
        with made as container:
            follower = _Follower(container)
            on.say("starting")
            follower.await_state("healthy")
            on.say("its tea is taken away")
            follower.do("touch", "/tmp/out-of-tea")
            follower.await_state("unhealthy")
            answer = on.visitor(network).get(f"http://{name}:8000/").status
            restarts, running = container.attrs["RestartCount"], container.attrs["State"]["Running"]
            on.say("its tea is back")
            follower.do("rm", "/tmp/out-of-tea")
            follower.await_state("healthy")
        probes = sorted(follower.probes.values(), key=lambda probe: probe.start)
        return Health(on.facts, follower.states, probes, pace(on).retries, policy, restarts, running, answer)
    finally:
        on.drop_network(network)
