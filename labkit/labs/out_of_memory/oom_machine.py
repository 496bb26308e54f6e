"""The machine itself runs out of memory: only on an engine that the lab owns."""

import re
from contextlib import suppress
from typing import Any

from requests.exceptions import Timeout

from ...course.context import Context
from ...course.result import Result
from ...engine import require_owned
from ...errors import EngineGone
from ...observe.rows import MachineSample
from ...units import yes_no
from ...waiting import wait_until

#: Seconds after which nothing will be killed any more.
_PATIENCE = 240.0

_VICTIM = re.compile(r"Out of memory: Killed process (\d+) \(([^)]*)\)")


class MachineOom(Result):
    """What happened when a machine had no memory left.

    ``log`` has the kernel's own lines; ``kill_time`` is in seconds since the start, None when
    nothing was killed; ``bystander_lives`` tells of a container that did nothing wrong.
    """

    samples: list[MachineSample]
    victim: str
    kill_time: float | None
    log: list[str]
    greedy_exit_code: int
    bystander_lives: bool
    engine_answers: bool

    def facts(self) -> str:
        return (
            f"the machine ran out: {yes_no(bool(self.victim))} · no limit was set · the greedy container's exit code: "
            f"{self.greedy_exit_code}\nthe bystander lives: {yes_no(self.bystander_lives)} · "
            f"the engine still answers: {yes_no(self.engine_answers)}"
        )


def exhaust(on: Context) -> MachineOom:
    """Let one container without a limit take all memory of its engine's machine.

    A second container sleeps beside it. The helper samples the machine's ``/proc/meminfo``
    twenty times a second; the victim and its time come from the kernel's log.

    Raises:
        NotPossibleHere: this engine is not the lab's own.
        EngineGone: nothing was killed in time.
    """
    require_owned(on.session.engine)
    # tail keeps all it has read until a line ends, and zeros have no line ends.
    grow = "sleep 0.5; exec tail /dev/zero"
    with (
        on.container(on.image(), ["sleep", "600"], network_mode="none") as bystander,
        on.container(on.image(), ["sh", "-c", grow], network_mode="none", start=False) as greedy,
    ):
        clock = on.observer.clock()
        clock = clock.since(clock.machine)
        with on.observer.sample_machine(20) as memory:
            greedy.start()
            code = _wait(on, greedy.id)
            memory.end()
        log = on.observer.kernel_log(clock.machine, r"oom-kill:|Out of memory: Killed", wait=2.0)
        lives = on.state(bystander)["Status"] == "running"
    killed = [(line.time, match) for line in log if (match := _VICTIM.search(line.text))]
    return MachineOom(
        engine=on.facts,
        samples=[row._replace(time=clock.of_machine(row.time)) for row in memory.rows],
        victim=killed[0][1][2] if killed else "",
        kill_time=clock.of_machine(killed[0][0]) if killed else None,
        log=[line.text for line in log],
        greedy_exit_code=code,
        bystander_lives=lives,
        engine_answers=bool(on.docker.ping()),
    )


def _wait(on: Context, container: str) -> int:
    # Asked again and again instead of one long call: a machine without memory may be slow to answer, or
    # answer one of the requests too late.
    def ended() -> bool:
        with suppress(Timeout):
            state.update(on.docker.api.inspect_container(container)["State"])
        return not state.get("Running", True)

    state: dict[str, Any] = {}
    late = f"Nothing was killed within {_PATIENCE:.0f} seconds."
    wait_until(ended, _PATIENCE, lambda: EngineGone(late, next_step="Close the lab and open it again."), every=0.2)
    return int(state["ExitCode"])
