"""The machine itself runs out of memory: only on an engine that the lab owns."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from ...course.context import Context
from ...course.result import Result
from ...engine import require_owned
from ...errors import EngineGone
from ...units import yes_no

_VICTIM = re.compile(r"Out of memory: Killed process (\d+) \(([^)]*)\)")


@dataclass(frozen=True)
class MachineSample:
    """Seconds since the start, and bytes that the whole machine has available, free, and free in swap."""

    time: float
    available: int
    free: int
    swap_free: int


@dataclass(frozen=True)
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


def exhaust(on: Context, *, timeout: float = 240.0) -> MachineOom:
    """Let one container without a limit take all memory of its engine's machine.

    A second container sleeps beside it. The helper samples the machine's ``/proc/meminfo``
    twenty times a second; the victim and its time come from the kernel's log.

    Args:
        on: the context of an owned engine, such as ``lab.own()`` has.
        timeout: seconds after which it is given up.

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
        began = on.observer.call("clocks")["monotonic"]
        stream = on.observer.stream("memory_sample", hz=20)
        greedy.start()
        code = _wait(on, greedy.id, timeout)
        stream.stop()
        rows = [row for chunk in stream for row in chunk["rows"]]
        log = on.observer.kernel_log(began, r"oom-kill:|Out of memory: Killed", wait=2.0)
        bystander.reload()
        lives = bystander.status == "running"
    killed = [(stamp, match) for stamp, line in log if (match := _VICTIM.search(line))]
    return MachineOom(
        engine=on.facts,
        samples=[MachineSample(row[0] - began, *row[1:]) for row in rows],
        victim=killed[0][1][2] if killed else "",
        kill_time=killed[0][0] - began if killed else None,
        log=[line for _, line in log],
        greedy_exit_code=code,
        bystander_lives=lives,
        engine_answers=bool(on.docker.ping()),
    )


def _wait(on: Context, container: str, timeout: float) -> int:
    # Asked again and again instead of one long call: a machine without memory may be slow to answer.
    patience = time.monotonic() + timeout
    while time.monotonic() < patience:
        state = on.docker.api.inspect_container(container)["State"]
        if not state["Running"]:
            return state["ExitCode"]
        time.sleep(0.2)
    raise EngineGone(f"Nothing was killed within {timeout:.0f} seconds.", next_step="Close the lab and open it again.")
