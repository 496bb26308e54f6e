"""A limit on the number of processes, and a fork bomb that it makes harmless."""

import time
from typing import Any

from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError, NotPossibleHere
from ...units import yes_no
from ...waiting import wait_until

#: Seconds after which the container ends by itself, whatever the lab does; its processes end with it.
FUSE = 60
#: Seconds for which a full group is watched.
WATCH = 2.0
#: What bounds the bomb beside the number of its processes: half a processor, and memory without swap.
BOUNDS: dict[str, Any] = {
    "cpu_period": 100_000, "cpu_quota": 50_000, "mem_limit": "128m", "memswap_limit": "128m", "network_mode": "none",
}  # fmt: skip

# It waits for the word, which comes only when the limit has been read back from the kernel. The alarm is the fuse: it
# ends the first process alone, and with it the container, for the kernel then kills all others in it.
BOMB = f"""import os, signal, time
signal.alarm({FUSE})
while not os.path.exists("/go"):
    time.sleep(0.05)
while True:
    try:
        os.fork()
    except BlockingIOError:
        time.sleep(0.02)
"""


def program() -> str:
    """The bomb itself, in Python."""
    return BOMB


class Bomb(Result):
    """A fork bomb inside a limit.

    ``limit`` is what the kernel had before it went off; ``rows`` are (seconds since then, processes in the group, forks
    refused so far), ``files`` the kernel's files while the group was full. ``neighbour`` is the exit code of a program
    that another container started then, ``left`` how many processes were still there when the container was removed.
    """

    limit: int
    rows: list[tuple[float, int, int]]
    files: dict[str, str]
    neighbour: int
    left: int

    def facts(self) -> str:
        most, refused = max(row[1] for row in self.rows), self.rows[-1][2]
        return (
            f"the kernel's limit, read before it went off: {self.limit} processes\n"
            f"never more than that: {yes_no(most <= self.limit)} · forks were refused: {yes_no(refused > 0)}\n"
            f"a neighbour could start a process meanwhile: {yes_no(self.neighbour == 0)} · processes left of it: {self.left}"
        )


def bomb(on: Context, limit: int = 32) -> Bomb:
    """Let a fork bomb go off inside a container that may have few processes (``--pids-limit``).

    Bounded by construction: the limit is read back from the kernel before the bomb starts, and without it nothing does;
    it also has half a processor, 128 MiB without swap and no network; the container is removed at the end of the
    experiment, and ends by itself after a minute.

    Raises:
        BadInput: a limit below 8 or above 64.
        NotPossibleHere: the kernel does not have the limit that was asked for.
    """
    if not 8 <= limit <= 64:
        raise BadInput(f"A bomb with {limit} processes is not this lab's.", next_step="Choose a limit from 8 to 64.")
    with on.container(images.BUSYBOX, ["sleep", "600"], network_mode="none") as neighbour:
        with on.container(images.PYTHON, ["python3", "-c", BOMB], pids_limit=limit, init=True, **BOUNDS) as container:
            before = _files(on, container)["pids.max"]
            if before != str(limit):
                raise NotPossibleHere(
                    f"The kernel has {before} where {limit} was asked for, so the bomb stays unlit.",
                    cause="This engine can't limit the number of processes.",
                )
            [main] = on.observer.processes([on.main_pid(container)])
            space = main["namespaces"]["pid"]
            container.exec_run(["touch", "/go"])
            rows = _watch(on, container)
            files, lives = _files(on, container), neighbour.exec_run(["true"]).exit_code
        # The engine answers when process 1 has ended; the kernel has killed all others by then, or is about to.
        count = [1]

        def gone() -> bool:
            count[:] = [sum(row["namespaces"].get("pid") == space for row in on.observer.processes())]
            return count == [0]

        wait_until(gone, 20)
    return Bomb(on.facts, limit, rows, files, lives, count[0])


def _files(on: Context, container: Container) -> dict[str, str]:
    """The kernel's limit, the processes in the group, and the forks that it has refused, in the kernel's words."""
    names = ["pids.max", "pids.current", "pids.events"]
    files: dict[str, str] = on.observer.cgroup_files(container.id, names, controller="pids")["files"]
    return {"pids.max": "max", **files}


def _count(on: Context, container: Container) -> tuple[int, int]:
    """The processes in the group, and the forks that it has refused.

    Not by ``pids.current``: the kernel counts a fork before it refuses it, and takes it back then (pids_try_charge in
    its kernel/cgroup/pids.c), so who reads that file at such a moment finds one too many.
    """
    names = ["cgroup.procs", "pids.events"]
    files = on.observer.cgroup_files(container.id, names, controller="pids")["files"]
    return len(files["cgroup.procs"].splitlines()), int(files["pids.events"].split()[1])


def _watch(on: Context, container: Container) -> list[tuple[float, int, int]]:
    """Rows from now until the group has been full for a while."""
    began, full, rows = time.monotonic(), 0.0, [(0.0, *_count(on, container))]
    while not full or rows[-1][0] < full + WATCH:
        current, refused = _count(on, container)
        rows.append((time.monotonic() - began, current, refused))
        full = full or (rows[-1][0] if refused else 0.0)
        if rows[-1][0] > FUSE - 10:
            raise LabError("The bomb did not fill its group in time.", next_step="Run the cell again.")
        time.sleep(0.01)
    return rows
