"""Taking the engine apart: only on an engine that the lab owns.

Stop dockerd, kill containerd, kill a shim; run runc by hand; be an ordinary user at the socket.
"""

import contextlib
import json
import re
import shlex
import statistics
import time
from typing import Any

from ...course.context import Context
from ...course.result import Result
from ...engine.base import OwnedEngine, require_owned
from ...engine.client import remove_container, small_file
from ...engine.faults import explained
from ...errors import EngineGone, LabError, NoEngine
from ...units import yes_no
from ...waiting import wait_until

#: Seconds for a command that starts a container: an emulated machine on a busy one takes its time.
_PATIENCE = 240.0

#: Writes a number every tenth of a second, to its output and to a file; leaves with code 7 when told.
_COUNTER = "n=0; until [ -e /leave ]; do n=$((n+1)); echo $n; echo $n > /count; usleep 100000; done; exit 7"
#: Says something, waits until it is told, says something else, and leaves with code 7.
_LEAVER = "echo first words; until [ -e /leave ]; do usleep 100000; done; echo last words; exit 7"


class WithoutDaemons(Result):
    """A counting container while dockerd and containerd were gone.

    ``readings`` are (seconds since its start, count, who was running) as read on the machine;
    ``changes`` are (seconds, who was running from then on), noted when a daemon's end or return was
    seen; ``lines`` is its log in the end, ``count`` how far it had counted when it left.

    A second container ends while both daemons are gone: ``early_code`` and ``early_lines`` are what
    the engine has of it afterwards. Its last words are lost, and that is how the engine is made: they
    wait in a named pipe that the shim holds open, and closes when the program has ended
    (containerd, ``cmd/containerd-shim-runc-v2/process/io.go``, copyPipes). Its exit code is no fact of all
    engines: with containerd 1.6 (Engine 20.10) it is the program's; 1.7 and 2.1 (26.1, 28.5), when they come
    back, clear a shim away that has nothing to run any more, and dockerd is left with 255 (tried: n = 4 each).
    """

    readings: list[tuple[float, int, str]]
    changes: list[tuple[float, str]]
    count: int
    lines: list[str]
    exit_code: int
    refused: str
    early_code: int
    early_lines: list[str]

    def _counted(self, who: str) -> bool:
        counts = [count for _, count, running in self.readings if running == who]
        return len(counts) > 1 and counts[-1] > counts[0]

    @property
    def complete(self) -> bool:
        """Whether the log holds every line, once and in order."""
        return self.lines == [str(n) for n in range(1, self.count + 1)]

    def facts(self) -> str:
        return (
            f"dockerd stopped: the counter goes on: {yes_no(self._counted('containerd'))}\n"
            f"containerd killed as well: the counter goes on: {yes_no(self._counted('nobody'))}\n"
            f"both back: output complete: {yes_no(self.complete)} · exit code {self.exit_code}, as the program left it\n"
            "another one left while both were gone:\n"
            f"  what it said before is kept: {yes_no('first words' in self.early_lines)}"
            f" · its last words: {yes_no('last words' in self.early_lines)}"
        )


def without_daemons(on: Context) -> WithoutDaemons:
    """Let a container count while dockerd is stopped and containerd killed; bring both back, then let it leave.

    Beside it, a second one leaves while both are gone.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
        EngineGone: a daemon did not come back; ``lab.own()`` gives a fresh engine.
    """
    engine = require_owned(on.session.engine)
    readings: list[tuple[float, int, str]] = []
    refused = ""
    # Not on.container: while dockerd is gone, its way out could not remove them.
    made = [
        on.docker.containers.create(on.image(), ["sh", "-c", program], network_mode="none")
        for program in (_LEAVER, _COUNTER)
    ]
    for one in made:
        one.start()
    early, container = made
    early_pid, pid = map(on.main_pid, made)
    began = time.monotonic()
    changes = [(0.0, "both")]

    def change(who: str) -> None:
        changes.append((time.monotonic() - began, who))

    def read(who: str, times: int) -> None:
        for _ in range(times):
            text = engine.shell(f"cat /proc/{pid}/root/count 2>/dev/null || true").strip()
            if text.isdigit():
                readings.append((time.monotonic() - began, int(text), who))
            time.sleep(0.25)

    back = contextlib.ExitStack()
    try:
        # A stock dockerd takes its containers along; this setting is what lets them stay.
        back.enter_context(engine.live_restore())
        read("both", 2)
        try:
            on.say("dockerd is stopped")
            engine.stop_dockerd()
            change("containerd")
            try:
                on.docker.api.ping()
            except Exception as fault:  # noqa: BLE001 - whatever the client says is what is to be shown
                refused = f"{type(fault).__name__}"
            read("containerd", 3)
            on.say("dockerd is stopped, containerd is killed")
            engine.kill_containerd()
            change("nobody")
            engine.shell(f"touch /proc/{early_pid}/root/leave")
            read("nobody", 3)
        finally:
            on.say("containerd and dockerd come back")
            engine.start_containerd()
            change("containerd")
            engine.start_dockerd()
            change("both")
        read("both", 2)
        engine.shell(f"touch /proc/{pid}/root/leave")
        code = container.wait(timeout=120)["StatusCode"]
        count = int(small_file(container, "/count"))
        lines = container.logs().decode().split()
        early_code = early.wait(timeout=120)["StatusCode"]
        early_lines = early.logs().decode().splitlines()
        back.close()
    finally:
        # An engine that did not come back is thrown away with all that is on it; its own sentence is what counts.
        with contextlib.suppress(EngineGone, NoEngine), explained(engine.endpoint):
            for one in made:
                remove_container(one)
    return WithoutDaemons(on.facts, readings, changes, count, lines, code, refused, early_code, early_lines)


class ShimGone(Result):
    """What became of a container whose shim was killed."""

    status: str
    exit_code: int
    process_lives: bool

    def facts(self) -> str:
        return (
            f"the container is running: {yes_no(self.status == 'running')}"
            f" · its main process lives: {yes_no(self.process_lives)}"
            f" · its exit code is the program's own: {yes_no(self.exit_code == 0)}"
        )


def _lives(engine: OwnedEngine, pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet doesn't."""
    state = engine.shell(f"sed -n 's/^State:\\t\\(.\\).*/\\1/p' /proc/{pid}/status 2>/dev/null || true").strip()
    return state not in ("", "Z", "X")


def kill_shim(on: Context) -> ShimGone:
    """SIGKILL a container's shim, and see what is left.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
    """
    engine = require_owned(on.session.engine)
    with on.container(on.image(), ["sleep", "600"], network_mode="none") as container:
        pid = on.main_pid(container)
        shim = engine.shell(f"sed -n 's/^PPid:\\t//p' /proc/{pid}/status").strip()
        engine.shell(f"kill -9 {int(shim)}")
        wait_until(lambda: not on.state(container)["Running"], 30, every=0.1)
        state = on.state(container)
        # containerd tidies up after a lost shim in its own time: what it kills is given a few seconds.
        lives = not wait_until(lambda: not _lives(engine, pid), 10, every=0.2)
    return ShimGone(on.facts, state["Status"], state["ExitCode"], lives)


class ByHand(Result):
    """A container started with an OCI runtime and nothing else.

    ``config`` is the running container's config.json, shortened; ``commands`` is what was typed; ``output``
    what the program printed, with each runtime; ``listed`` the names that dockerd has of it; ``seconds`` how
    long each runtime took from its start to its end, in turn.
    """

    config: dict[str, Any]
    commands: list[str]
    output: dict[str, str]
    listed: list[str]
    seconds: dict[str, list[float]]

    @property
    def quicker(self) -> str:
        """The runtime whose median time is the smaller."""
        return min(self.seconds, key=lambda name: statistics.median(self.seconds[name]))

    def facts(self) -> str:
        spaces = ", ".join(sorted(self.config["namespaces"]))
        return (
            f"config.json of a running container\n"
            f"  program      {' '.join(self.config['args'])}\n"
            f"  namespaces   {spaces}\n"
            f"  memory limit {self.config['memory']}\n"
            f"by runc alone: {self.output['runc']}\n"
            f"by crun, from the same bundle: {self.output['crun']}\n"
            f"the quicker of the two: {self.quicker} · dockerd knows of it: {yes_no(bool(self.listed))}"
        )

    def typed(self) -> str:
        """The commands, one a line, as root would type them on the engine's machine."""
        return "\n".join(f"# {line}" for line in self.commands)


#: Both runtimes in turn, each timed (ns) by the machine's own clock.
_IN_TURN = (
    "for i in 1 2 3 4 5; do for r in runc crun; do a=$(date +%s%N); {run}; echo $r $(($(date +%s%N) - a)); done; done"
)


def by_hand(on: Context) -> ByHand:
    """Read the bundle of a running container, then make one like it and run it with ``runc`` alone, and with ``crun``.

    Each is run once for what it prints, then both in turn, five times.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
    """
    engine = require_owned(on.session.engine)
    folder = f"/run/labkit-bundle-{on.session.id}"
    name = on.session.name("by-hand")
    with on.container(on.image(), ["sleep", "600"], network_mode="none", mem_limit="64m") as container:
        [found] = engine.shell(f"find /run -path '*{container.id}/config.json' 2>/dev/null | head -n 1").split()
        full = json.loads(engine.shell(f"cat {found}"))
        pid = on.main_pid(container)
        commands = [
            f"mkdir -p {folder}/rootfs",
            f"cd /proc/{pid}/root && cp -a usr bin {folder}/rootfs/",
            f"cd {folder} && runc spec",
        ]
        for line in commands:
            engine.shell(line)
    spec = json.loads(engine.shell(f"cat {folder}/config.json"))
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["sh", "-c", "echo process $$ of its own container"]
    text = shlex.quote(json.dumps(spec))
    words = f"run {'--no-pivot ' if _ramdisk(engine) else ''}{name}"
    runs = [f"cd {folder} && {runtime} {words}" for runtime in ("runc", "crun")]
    try:
        engine.shell(f"printf %s {text} > {folder}/config.json")
        output = {run.split()[3]: engine.shell(run, timeout=_PATIENCE).strip() for run in runs}
        listed = [one for row in on.docker.api.containers(all=True, filters={"name": name}) for one in row["Names"]]
        timed = engine.shell(f"cd {folder} && {_IN_TURN.format(run=f'$r {words} >/dev/null')}", timeout=_PATIENCE)
    finally:
        engine.shell(f"runc delete -f {name} 2>/dev/null; rm -rf {folder}", check=False)
    seconds: dict[str, list[float]] = {}
    for line in timed.splitlines():
        seconds.setdefault(line.split()[0], []).append(int(line.split()[1]) / 1e9)
    commands += ["vi config.json   (no terminal, another program)", *runs]
    shown = [
        re.sub(rf"-{on.session.id}|/proc/{pid}\b", lambda m: "" if m[0][0] == "-" else "/proc/PID", one)
        for one in commands
    ]
    config = {
        "args": full["process"]["args"],
        "namespaces": [row["type"] for row in full["linux"]["namespaces"]],
        "memory": f"{full['linux']['resources']['memory']['limit'] // 2**20} MiB",
    }
    return ByHand(on.facts, config, shown, output, listed, seconds)


def _ramdisk(engine: OwnedEngine) -> bool:
    """Whether the machine's root is a ramdisk, on which pivot_root is refused."""
    return engine.shell("awk '$2 == \"/\" {print $3}' /proc/mounts | tail -n 1").strip() in ("rootfs", "tmpfs", "ramfs")


class Group(Result):
    """An ordinary user at the socket: outside the docker group, then inside.

    ``refusal`` is the client's error word for word; ``shadow`` is how many lines of ``/etc/shadow``
    or its like the user could read: directly, and through a container.
    """

    refusal: str
    inside: str
    direct: str
    through: str

    def facts(self) -> str:
        return (
            f"outside the group:\n  {self.refusal}\n"
            f"inside the group:  {self.inside}\n"
            f"root's file, read directly:            {self.direct}\n"
            f"root's file, read through a container: {self.through}"
        )


_SECRET = "/root/labkit-secret"


def ordinary_user(on: Context) -> Group:
    """Be user 1000 on the engine's machine: ask dockerd, join the docker group, ask again, and read root's file.

    The file is one that only root may read. Inside the group, the user mounts the machine's root
    into a container and reads it there.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
    """
    engine = require_owned(on.session.engine)
    image = on.image()
    group = engine.shell("stat -c %g /run/docker.sock").strip()
    if group == "0":
        raise LabError("This engine's socket belongs to the group root: there is no docker group to join.")
    outside = "setpriv --reuid 1000 --regid 1000 --clear-groups"
    inside = f"setpriv --reuid 1000 --regid 1000 --groups {group}"
    door = "env DOCKER_HOST=unix:///run/docker.sock HOME=/tmp"
    ask = f"{door} docker version -f '{{{{.Server.Os}}}}' 2>&1"
    name = on.session.name("root-by-group")
    engine.shell(f"umask 077; echo only root may read this > {_SECRET}")
    labels = " ".join(f"--label {key}={value}" for key, value in on.docker.lab_labels.items())
    mount = f"docker run --rm --name {name} {labels} --network none -v /:/machine {image} cat /machine{_SECRET}"
    try:
        refusal = engine.shell(f"{outside} {ask}", check=False, timeout=_PATIENCE).strip()
        answer = engine.shell(f"{inside} {ask}", check=False, timeout=_PATIENCE).strip()
        direct = engine.shell(f"{inside} cat {_SECRET} 2>&1", check=False).strip()
        through = engine.shell(f"{inside} {door} {mount} 2>&1", check=False, timeout=_PATIENCE).strip()
    except LabError as fault:
        raise EngineGone("The engine's machine did not answer.", cause=fault.what,
                         next_step="Run the first cell again; lab.own() gives a fresh one.") from fault  # fmt: skip
    finally:
        engine.shell(f"rm -f {_SECRET}", check=False)
    lines = [line for line in refusal.splitlines() if "denied" in line]
    sentence = re.sub(r"\s*(Got|got) ", "got ", lines[0]) if lines else refusal
    sentence = sentence.split(": Get ")[0]
    return Group(on.facts, sentence, "let in" if answer == "linux" else answer, _short(direct), _short(through))


def _short(text: str) -> str:
    return "Permission denied" if "denied" in text else text
