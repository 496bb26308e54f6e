"""Each command in the notebooks asks of the engine what the call below it asks: both are run here, on one engine.

A lab's calls run in one session, as in its notebook; each row's commands in a terminal of a session of its own. Both
talk through a wiretap, and what they asked is compared (:mod:`.asked`). The call may do more than its command: it is
stopped as soon as it has done the same.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker.errors
import pytest

from labkit import images
from labkit.course.terminal import Terminal
from labkit.engine import Engine
from labkit.engine.client import LabelledAPIClient, PlainAPIClient
from labkit.engine.dockercli import program
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.labs.images_and_registries import buildkit, classic
from labkit.labs.limits_and_security import given
from labkit.observe.wiretap import Wiretap

from ..beside import Beside, all_beside, needed
from ..conftest import open_context
from ..helpers import wait_until
from .asked import Ears, Fact, missing, through
from .needs import FOLDERS, needs_of

#: Cells whose call takes an engine that the lab owns: their commands are compared there, and not on a host engine.
APART = {
    "lab02-35": "a container that shares the machine's namespaces",
    "lab04-carry": "a second machine, to which an image is carried",
    "lab04-machines": "virtual machines, which the engine's own machine holds",
    "lab05-35": "LXC is installed on the engine's machine",
    "lab05-41": "containerd is asked on the engine's machine",
    "lab05-42b": "containerd is asked on the engine's machine",
    "lab06-21": "an engine that is reached over TLS",
    "lab06-35": "the daemons are killed",
    "lab06-37": "a shim is killed",
    "lab06-38b": "containerd is asked on the engine's machine",
    "lab06-39": "runc is called on the engine's machine",
    "lab06-41": "a container gets the engine's socket",
    "lab08-53": "the machine's memory is used up",
    "lab09-55": "the daemon is started with userns-remap",
    "lab09-57": "a container gets all rights, and the engine's socket",
}

#: What a call does where the wiretap does not hear it: in a shell of the engine's machine, or on a second machine.
ELSEWHERE = {"lab04-carry": {"load image", "create container"}, "lab05-41": {"get image"}}

#: A container that has the engine's socket starts another one, which nobody else knows of: the call must remove it.
TO_ITS_END = {"lab09-57"}

#: One row of each lab is part of `make test`. All of them run each experiment once more, and its commands: minutes.
GUARD = ("lab00-28", "lab01-solution-caught", "lab02-48", "lab03-solution-lean", "lab04-solution-replicas", "lab05-54",
         "lab06-54", "lab07-42", "lab08-43", "lab09-47", "lab10-48", "lab12-45")  # fmt: skip

#: What only the lab can tell: a word in a command, what to type before it. The call removes its control group.
MADE_HERE: dict[str, Callable[[Stage], str]] = {
    "$DISK": lambda stage: f"DISK={stage.lab.limits.disk().path}",
    "$PARENT": lambda stage: (
        f"PARENT=labkit{stage.id}.slice" if stage.lab.facts.cgroup_driver == "systemd" else f"PARENT=/labkit-{stage.id}"
    ),
    "$SECRET": lambda stage: (
        stage.engine.shell(f"umask 077; echo > {given._SECRET}") or f"SECRET={given._SECRET}"  # it says nothing
    ),
    "staging.env": lambda stage: stage.write(".", stage.lab.releases.place_files()),
    "profile.json": lambda stage: f"echo '{stage.lab.security.profile()}' > profile.json",
}

#: How ``docker`` and a shell begin a line when they won't do as they are told.
REFUSED = re.compile(r"^(?:docker: |unknown |Error|ERROR|bash: |Usage:).*", re.M)


class Done(BaseException):
    """The call has done what its command does: it need not go on."""


class Stage:
    """One lab, open, behind a wiretap: its calls are run here, and its commands typed on the same engine."""

    def __init__(self, name: str, engine: Engine, tap: Wiretap, folder: Any):
        self.engine, self.folder, self.ears = engine, folder, Ears(tap)
        self._tapped, self._begin = through(tap, engine), self.ears.now
        self.lab = Lab(name, self._tapped)
        self.id = self.lab.context.session.id
        for image in images.RECIPES:
            self.lab.context.image(image)
        self.names: dict[str, Any] = {"lab": self.lab, "display": lambda *_: None}
        exec("from labkit.labs.devops_and_delivery.shop import piece_files", self.names)
        #: The files that a call built an image from, by its tag.
        self.built: dict[str, dict[str, bytes]] = {}
        self._builds: list[Fact] = []
        self._ran: set[str] = set()

    def type(self, commands: tuple[str, ...], fails: bool = False) -> list[Fact]:
        """Type commands in a terminal, and tell what they asked; what must be there first is typed before.

        Nothing of it is left on the engine; what no session would have removed is removed here, and told.
        """
        begin = self.ears.now
        try:
            with open_context(self._tapped, self.lab.name) as on, contextlib.ExitStack() as undo:
                terminal = Terminal(on.session, "test")
                undo.callback(terminal.close)
                script = [f". {terminal.rc} >&2", "set -eu", *self._before(commands), "set +e",
                          "echo ready; read -r go", *map(_slowly, commands)]  # fmt: skip
                shell = subprocess.Popen(
                    ["bash", "-c", "\n".join(script)], cwd=self.folder, text=True, start_new_session=True,
                    env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )  # fmt: skip
                undo.callback(_end, shell)
                while (line := shell.stdout.readline()).strip() != "ready":
                    assert line, f"what the command needs can't be made: {shell.stderr.read()}"
                ready = self.ears.now
                _, errors = shell.communicate("go\n", timeout=300)
                refusals = REFUSED.findall(errors)
                assert fails or not refusals, refusals
                self._look(ready)
                return self.ears.since(ready, on.session.id, self.id) + self._images(commands, on)
        finally:
            left = left_over(self.engine, self.ears.made(begin))
            assert not left, f"left behind, and removed by the test: {left}"

    def _look(self, begin: int) -> None:
        """What was started must not have fallen over at once: a service, say, that misses a variable."""
        with contextlib.closing(PlainAPIClient(**self.engine.client_options())) as api:
            for identifier in [name for kind, name in self.ears.made(begin) if kind == "container"]:
                with contextlib.suppress(docker.errors.APIError):  # one with --rm is gone
                    time.sleep(0.5 if api.inspect_container(identifier)["State"]["Running"] else 0)
                    said = api.logs(identifier).decode("utf-8", "replace")
                    assert "Traceback" not in said, said

    def _before(self, commands: tuple[str, ...]) -> list[str]:
        """What to type first; the folders that are built are written here."""
        needs = needs_of(commands)
        for name, source in FOLDERS.items():
            if any(line.endswith((f" {name}", f" {name}; done")) for line in needs):
                self.write(name, eval(source, self.names))
        for name, folder in re.findall(r"docker build .*?-t (\S+) (\w+)", "\n".join(commands)):
            tag = self._called(name)
            assert tag, f"the call builds no {name}, but {list(self.built)}"
            self.write(folder, self.built[tag])
        return needs + [make(self) for word, make in MADE_HERE.items() if any(word in one for one in commands)]

    def _called(self, name: str) -> str:
        """The tag by which a call built what a command builds: the same, or the repository's last."""
        tag = name.replace("$SESSION", self.id)
        same = [known for known in self.built if known.partition(":")[0] == tag.partition(":")[0]]
        return tag if tag in same else same[-1] if same else ""

    def write(self, folder: str, files: dict[str, Any]) -> str:
        """Write files into a folder where commands are typed; there is nothing to type for it."""
        (self.folder / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return ""

    def _images(self, commands: tuple[str, ...], on: Any) -> list[Fact]:
        names = re.findall(r"docker build .*?-t (\S+)", "\n".join(commands))
        return [image(on, name.replace("$SESSION", on.session.id)) for name in names]

    def call(self, beside: Beside, wanted: list[Fact]) -> list[Fact]:
        """Run a cell, after those above it that it needs, until it has asked all that is wanted; else to its end.

        A network or an image that a lab has made already is not made again.
        """
        send = LabelledAPIClient.send
        seen, over = 0, not wanted or beside.cell in TO_ITS_END

        @functools.wraps(send)
        def until_done(api: Any, *args: Any, **options: Any) -> Any:
            nonlocal seen, over
            if not over and seen < self.ears.now and threading.current_thread() is threading.main_thread():
                seen, over = self.ears.now, not missing(wanted, self.ears.since(begin, self.id))
                if over:
                    raise Done
            return send(api, *args, **options)

        def kept(run: Any) -> Any:
            @functools.wraps(run)
            def build(on: Any, tag: str, files: Any, **options: Any) -> Any:
                account = run(on, tag, files, **options)
                self._builds.append(image(on, tag))
                self.built[tag] = dict(files)
                return account

            return build

        with pytest.MonkeyPatch.context() as patch:
            for module in (buildkit, classic):
                patch.setattr(module, "run", kept(module.run))
            for cell, code in needed(beside):
                if cell not in self._ran:
                    exec(re.sub(r"^(\w+\.(plot|evidence)|display)\(.*\)$", "", code, flags=re.M), self.names)
                    self._ran.add(cell)
            begin = self.ears.now
            patch.setattr(LabelledAPIClient, "send", until_done)
            try:
                exec(beside.code, self.names)
                self._ran.add(beside.cell)
            except (Done, LabError):  # who is stopped between a creation and its note can't tidy up: the session does
                if not over:
                    raise
        networks = [one for one in self.ears.since(self._begin, self.id) if one["do"] == "create network"]
        return self.ears.since(begin, self.id) + networks + self._builds

    def close(self) -> None:
        try:
            if self.engine.owned:  # a lab leaves all on an engine that goes with it; this one stays
                self.lab.context.session.close()
            self.lab.close()
        finally:
            left = left_over(self.engine, self.ears.made(self._begin))
        assert not left, f"left behind by calls, and removed by the test: {left}"


def image(on: Any, tag: str) -> Fact:
    """What came of a build."""
    try:
        found = on.docker.api.inspect_image(tag)
    except docker.errors.ImageNotFound:
        return {"do": "build in vain"}
    config = {key: found["Config"].get(key) or [] for key in ("Cmd", "Entrypoint", "WorkingDir", "User", "Env")}
    return {"do": "build", "layers": len(found["RootFS"]["Layers"]), **config}


def _removed(remove: Callable[[str], object], name: str) -> bool:
    try:
        remove(name)
    except docker.errors.NotFound:
        raise
    except docker.errors.APIError:
        return False
    return True


def left_over(engine: Engine, made: list[tuple[str, str]]) -> list[str]:
    """Which of the things made are still there; they are no more when this returns."""
    left = []
    with contextlib.closing(PlainAPIClient(**engine.client_options())) as api:
        force = functools.partial(api.remove_container, force=True, v=True)
        remove = {
            "container": force,
            "network": api.remove_network,
            "volume": api.remove_volume,
            "image": api.remove_image,
        }
        for kind, name in made:
            if kind == "image" and name.startswith("labkit/"):
                continue  # the course's own stay
            with contextlib.suppress(docker.errors.NotFound):
                getattr(api, f"inspect_{kind}")(name)
                # A container that has just been removed may hold its network for another moment.
                wait_until(functools.partial(_removed, remove[kind], name), 20)
                left.append(f"{kind} {name}")
    return left


def _slowly(command: str) -> str:
    """A person is slower than a registry that starts."""
    return f"{command}; sleep 2" if command.startswith("REGISTRY=") else command


def _end(shell: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)  # what it has started, too
    shell.communicate()


@contextlib.contextmanager
def _stages(engine: Engine, folders: Any) -> Iterator[Callable[[str], Stage]]:
    """A lab's stage, by name, opened when it is first asked for."""
    with contextlib.ExitStack() as last:

        @functools.cache
        def stage(name: str) -> Stage:
            made = Stage(name, engine, last.enter_context(Wiretap(engine)), folders.mktemp("typed"))
            last.callback(made.close)
            return made

        yield stage


@pytest.fixture(scope="module")
def stages(engine, tmp_path_factory):
    with _stages(engine, tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def owned_stages(owned, tmp_path_factory):
    with _stages(owned, tmp_path_factory) as found:
        yield found


def compare(stage: Stage, beside: Beside) -> None:
    builds = any("docker build" in line for line in beside.commands)
    called = stage.call(beside, []) if builds else None  # what is built is known when the call has built it
    typed = stage.type(beside.commands, fails="except " in beside.code)
    assert typed, "the command asked for nothing"
    called = called or stage.call(beside, typed)
    left = [one for one in missing(typed, called) if one["do"] not in ELSEWHERE.get(beside.cell, ())]
    assert not left, "\n".join(["typed and not called:", *map(json.dumps, left), "called:", *map(json.dumps, called)])


ALL = {beside.cell: beside for beside in all_beside()}
ROWS = [
    pytest.param(beside, id=cell, marks=() if cell in GUARD else pytest.mark.slow)
    for cell, beside in ALL.items()
    if cell not in APART
]


@pytest.mark.parametrize("beside", ROWS)
def test_a_command_does_what_the_call_does(beside, stages):
    compare(stages(beside.lab), beside)


@pytest.mark.slow
@pytest.mark.parametrize("cell", APART)
def test_a_command_does_what_the_call_does_on_an_engine_of_the_labs_own(cell, owned_stages):
    compare(owned_stages(ALL[cell].lab), ALL[cell])


def test_what_takes_an_engine_of_its_own_is_told_apart():
    taking = {cell for cell, one in ALL.items() if any("lab.own()" in code for _, code in needed(one))}
    assert taking <= set(APART) <= set(ALL) and set(GUARD) <= set(ALL) - set(APART)


def test_each_lab_with_commands_has_a_row_in_every_run_of_the_tests():
    assert {ALL[cell].lab for cell in GUARD} == {beside.lab for beside in ALL.values()}


@pytest.mark.parametrize(
    "cell, wrong, typed",
    [
        ("lab00-22", "docker run labkit/busybox:1 echo hullo", "create container"),
        ("lab05-54", "docker run -d --memory 64m --pids-limit 20 --cpus 0.5 --network none labkit/busybox:1 sleep 600",
         "create container"),
        ("lab05-54", "docker pause $(docker run -d --network none labkit/busybox:1 sleep 60)", "pause container"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_found(cell, wrong, typed, stages):
    with pytest.raises(AssertionError, match=f'typed and not called:(?s:.*){{"do": "{typed}"(?s:.*)called:'):
        compare(stages(ALL[cell].lab), Beside(ALL[cell].lab, cell, (wrong,), ALL[cell].code))


def test_a_command_that_docker_refuses_is_found(stages):
    with pytest.raises(AssertionError, match="unknown flag: --nam"):
        stages("00-start-here").type(("docker run -d --nam x labkit/busybox:1 sleep 60",))


def test_what_a_command_leaves_behind_is_removed_and_told(stages, engine):
    begin = stages("00-start-here").ears.now
    with pytest.raises(AssertionError, match="left behind, and removed by the test"):
        stages("00-start-here").type((f"{program(engine)} run -d labkit/busybox:1 sleep 60",))
    made = stages("00-start-here").ears.made(begin)
    assert len(made) > 1 and not left_over(engine, made), "the keeper and the command's own"
