"""How a container's run ends: exit codes, signals to process 1, zombies, restarts."""

import contextlib
import functools
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from ...course.benchmark import rounds
from ...course.context import Context
from ...course.result import Result
from ...engine.dockercli import command_line, program
from ...errors import LabError
from ...observe.rows import ProcessRow
from ...units import yes_no
from ...waiting import wait_until


@dataclass(frozen=True)
class Ending:
    """One way to end: the ``docker run`` that does it, the code, and who gave that code."""

    code: int
    command: str
    meaning: str
    #: What the engine keeps as its State.StartedAt ("" where there is no container) and State.ExitCode.
    started_at: str
    state_code: int | None
    seconds: float

    @property
    def started(self) -> bool:
        """Whether the container ever ran: a time that never was begins with the year 1."""
        return not self.started_at.startswith("0001") and bool(self.started_at)


class Codes(Result):
    """Exit codes, each produced by a real run."""

    endings: list[Ending]

    def facts(self) -> str:
        rows = [f"{one.code:>4}  {one.command:<51} {one.meaning}" for one in self.endings]
        return "\n".join(["code  docker run …", *rows])


# (flags, command, what is done to it meanwhile, meaning)
_ENDINGS = (
    ("", "true", "", "the program ended well"),
    ("", "false", "", "the program's own code: it failed"),
    ("--memory 1k", "true", "", "docker itself: the engine refused"),
    ("", "/etc/passwd", "", "found, but not executable"),
    ("", "nosuch", "", "no such program"),
    ("", "sleep 600", "kill", "128 + 9: SIGKILL"),
    ("--init", "sleep 600", "stop", "128 + 15: SIGTERM"),
)


def exit_codes(on: Context) -> Codes:
    """Produce 0, 1, 125, 126, 127, 137 and 143 with the real client, at the same time.

    Raises:
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    program(on.session.engine)
    on.image()
    with ThreadPoolExecutor(2) as pool:
        return Codes(on.facts, list(pool.map(functools.partial(_ending, on), _ENDINGS)))


def _ending(on: Context, how: tuple[str, str, str, str]) -> Ending:
    flags, command, meanwhile, meaning = how
    name = on.session.name(f"code{_ENDINGS.index(how)}")
    on.free(name)
    words = ["docker", "run", "--name", name, *shlex.split(flags), on.image(), *shlex.split(command)]
    line = command_line(on.session, words)
    engine, silent = on.session.engine, subprocess.DEVNULL
    began = time.monotonic()
    client = subprocess.Popen(
        line, env=engine.process_environment(), stdin=silent, stdout=silent, stderr=silent,
    )  # fmt: skip
    try:
        if meanwhile:
            starting = {"name": f"^/{name}$", "status": "running"}
            late = f"The container {name} did not start within 30 seconds."
            wait_until(lambda: on.docker.api.containers(filters=starting), 30, late, every=0.02)
            getattr(on.docker.containers.get(name), meanwhile)()
        code = client.wait(60)
    except subprocess.TimeoutExpired as late:
        raise LabError("A docker run did not end within a minute.", engine=engine.endpoint) from late
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
        state: dict[str, Any] = {}
        with contextlib.suppress(NotFound):
            state = on.docker.api.inspect_container(name)["State"]
        on.free(name)
    seconds = time.monotonic() - began
    shown = shlex.join([*shlex.split(flags), "labkit/busybox:1", *shlex.split(command)])
    shown += f"   (docker {meanwhile})" if meanwhile else ""
    return Ending(code, shown, meaning, state.get("StartedAt", ""), state.get("ExitCode"), seconds)


#: A program that leaves when it is asked to: it has a handler for SIGTERM.
_POLITE = "trap 'exit 0' TERM; while :; do sleep 0.05; done"

#: Ways to start it: name → (command, options).
STARTS: dict[str, tuple[list[str], dict[str, bool]]] = {
    "shell form: sh is process 1": (["sh", "-c", f'sh -c "{_POLITE}"; true'], {}),
    "exec form, with a handler": (["sh", "-c", _POLITE], {}),
    "exec form, no handler": (["sleep", "600"], {}),
    "no handler, with --init": (["sleep", "600"], {"init": True}),
}


class Stops(Result):
    """``docker stop`` for several ways to start a program.

    ``seconds`` and ``codes`` by way; ``grace`` is how long the engine waits before SIGKILL.
    """

    seconds: dict[str, list[float]]
    codes: dict[str, list[int]]
    grace: float

    def facts(self) -> str:
        rows = []
        for way, values in self.seconds.items():
            killed = all(code == 137 for code in self.codes[way])
            waited = all(value >= self.grace for value in values)
            word = "waited out, then SIGKILL" if killed and waited else "left when asked"
            rows.append(f"{way:<28} {word:<25} exit code {self.codes[way][0]}")
        return "\n".join(rows)


def stop_times(on: Context, n: int | None = None, grace: int | None = None) -> Stops:
    """Time ``docker stop`` for each way to start a program.

    Method: all containers are started first, then all are stopped at the same time, so the default
    grace period is paid once. Timed is one ``POST /stop`` from the call to its answer; the waiting
    containers sleep, so they do not slow each other down by more than a few milliseconds. n = 10 of each kind
    (3 where emulated).

    Args:
        n: containers of each kind.
        grace: ``docker stop -t``, seconds; Docker's own default, 10, when not given.
    """
    n = rounds(on.facts, n)
    seconds: dict[str, list[float]] = {way: [] for way in STARTS}
    codes: dict[str, list[int]] = {way: [] for way in STARTS}

    def stop(container: Container) -> tuple[float, int]:
        began = time.monotonic()
        container.stop(timeout=grace)
        took = time.monotonic() - began
        return took, on.state(container)["ExitCode"]

    with contextlib.ExitStack() as stack:
        ways = [way for way in STARTS for _ in range(n)]
        made = [stack.enter_context(on.container(on.image(), STARTS[way][0], start=False, network_mode="none",
                                                 **STARTS[way][1])) for way in ways]  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Container.start, made))
        time.sleep(0.3 if not on.facts.emulated else 2.0)  # the handlers must be in place
        on.say(f"docker stop for {len(made)} containers at once")
        with ThreadPoolExecutor(len(made)) as pool:
            for way, (took, code) in zip(ways, pool.map(stop, made)):
                seconds[way].append(took)
                codes[way].append(code)
    return Stops(on.facts, seconds, codes, float(10 if grace is None else grace))


class Zombies(Result):
    """Ended children that nobody asked about: how many, without and with an init."""

    children: int
    without_init: list[ProcessRow]
    with_init: list[ProcessRow]

    @staticmethod
    def count(rows: list[ProcessRow]) -> int:
        """Processes in state Z."""
        return sum(row["state"] == "Z" for row in rows)

    def facts(self) -> str:
        return (
            f"orphans made: {self.children}\n"
            f"process 1 is sleep         zombies: {self.count(self.without_init)}\n"
            f"process 1 is an init       zombies: {self.count(self.with_init)}"
        )

    def table(self) -> str:
        """The container's processes without an init, as the machine's kernel has them."""
        rows = sorted(self.without_init, key=lambda row: row["inner_pid"])
        lines = [f"{row['inner_pid']:>4}  {row['state']}  {row['comm']}" for row in rows]
        return "\n".join([" pid  state  program", *lines])


def zombies(on: Context, children: int = 5) -> Zombies:
    """Let orphans die in a container whose process 1 never asks about them, and in one with an init.

    The processes are read on the engine's machine, from its kernel, not from inside.
    """
    return Zombies(on.facts, children, *(_orphaned(on, children, init) for init in (False, True)))


def _orphaned(on: Context, children: int, init: bool) -> list[ProcessRow]:
    """The container's processes once all orphans have ended and are cleared away, or stay as zombies."""
    orphan = f"for i in $(seq {children}); do (sleep 0.1 &); done; exec sleep 600"
    rows: list[ProcessRow] = []
    with on.container(on.image(), ["sh", "-c", orphan], network_mode="none", init=init) as container:
        [main] = on.observer.processes([on.main_pid(container)])

        def settled() -> bool:
            rows[:] = [row for row in on.observer.processes()
                       if row["namespaces"].get("pid") == main["namespaces"]["pid"]]  # fmt: skip
            commands = [row["command"] for row in rows]
            ended = not any(command[:2] == ["sleep", "0.1"] for command in commands)
            return ended and ["sleep", "600"] in commands and Zombies.count(rows) == (0 if init else children)

        wait_until(settled, 15)
    return rows


class Restarts(Result):
    """A program that fails at once, under a restart policy.

    ``starts`` and ``ends`` are seconds since the first start, by the engine's own events.
    """

    policy: str
    starts: list[float]
    ends: list[float]
    count: int
    status: str

    @property
    def pauses(self) -> list[float]:
        """Seconds from each end to the next start, that start included."""
        return [start - end for start, end in zip(self.starts[1:], self.ends)]

    @property
    def rule(self) -> list[float]:
        """What the engine means to wait before each attempt: 100 ms, doubled each time, at most a minute."""
        return [min(0.1 * 2**attempt, 60.0) for attempt in range(len(self.pauses))]

    def facts(self) -> str:
        # The engine sets its timer before it tells of the end, on a loaded machine well before: from attempt to
        # attempt, the wait is never shorter than the timer.
        kept = all(late - early >= wanted for early, late, wanted in zip(self.starts, self.starts[1:], self.rule))
        return (
            f"restarted as often as the policy allows: {yes_no(self.policy.endswith(f':{self.count}'))}"
            f" · state in the end: {self.status}\n"
            f"no pause shorter than 100 ms, doubled each time: {yes_no(kept and bool(self.pauses))}"
        )


def restarts(on: Context, times: int | None = None) -> Restarts:
    """Let a container fail under ``--restart on-failure:N`` and time the pauses, by the engine's events.

    Method: a pause is the time from the event ``die`` to the next event ``start``: so the start itself, some
    hundred milliseconds, is in it, and it ends alike on every engine (the events before it changed places with
    Engine 28, where a network is connected in the middle of a start). One container;
    n = ``times``: 5, or 4 on an emulated machine.
    """
    times = times or (4 if on.facts.emulated else 5)
    began = on.observer.call("clocks")["wall"]
    policy = {"Name": "on-failure", "MaximumRetryCount": times}
    with on.container(on.image(), ["false"], restart_policy=policy, network_mode="none") as container:

        def given_up() -> bool:
            container.reload()
            on.say(f"restarted {container.attrs['RestartCount']} of {times} times")
            return bool(container.attrs["RestartCount"] >= times and container.status == "exited")

        wait_until(given_up, 200 + 0.2 * 2**times, "The engine did not give up restarting in time.", every=0.1)
        rows = on.events(began, on.observer.call("clocks")["wall"], container=container.id, type="container")
    starts, ends = ([row["timeNano"] / 1e9 for row in rows if row["Action"] == word] for word in ("start", "die"))
    first = starts[0] if starts else began
    starts, ends = [one - first for one in starts], [one - first for one in ends]
    return Restarts(on.facts, f"on-failure:{times}", starts, ends, container.attrs["RestartCount"], "exited")
