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
from labkit.lab import Lab
from labkit.labs.images_and_registries import buildkit, classic
from labkit.labs.limits_and_security import given
from labkit.observe.wiretap import Wiretap

from ..beside import Beside, all_beside, needed
from ..conftest import open_context
from .asked import Ears, Fact, missing, through

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

#: One row for each kind of command, of those that take seconds; the others are slow.
GUARD = ("lab00-28", "lab02-48", "lab04-solution-replicas", "lab05-54", "lab07-36", "lab07-42", "lab08-43", "lab09-47",
         "lab10-45", "lab10-48", "lab03-solution-no-tag")  # fmt: skip

#: What must be there before a command is typed, where none of the cell's own commands makes it: words in a command, the
#: commands that make what they name. In the notebook, cells above have done it.
NEEDS = (
    (r"\$REGISTRY", "docker network create registry-net-$SESSION"),
    (r"\$REGISTRY", "docker run -d --name registry-$SESSION --network registry-net-$SESSION -p 127.0.0.1::5000 labkit/registry:1"),
    (r"\$REGISTRY", "REGISTRY=$(docker port registry-$SESSION 5000); sleep 2"),
    (r"hello-\$SESSION|/(hello|shop|every|team|attested)", "docker build -q -t hello-$SESSION:1 hello"),
    (r"hello-\$SESSION:2", "docker build -q -t hello-$SESSION:2 hello"),
    (r"delivery-net", "docker network create delivery-net-$SESSION"),
    (r"tea-\$SESSION|/tea:|staging-", "docker build -q -t tea-$SESSION:1 tea"),
    (r"tea-\$SESSION:v2", "docker build -q -t tea-$SESSION:v2 tea"),
    (r"rm -f production", "docker run -d --name production-$SESSION tea-$SESSION:1"),
    (r"\$REGISTRY/tea:|staging-", "docker tag tea-$SESSION:1 $REGISTRY/tea:candidate; docker push -q $REGISTRY/tea:candidate"),
    (r"inspect.* staging-", "docker run -d --name staging-$SESSION $(docker inspect -f '{{index .RepoDigests 0}}' $REGISTRY/tea:candidate)"),
    (r"/shop:1\)|/(hello|attested):1", "for name in shop hello attested; do docker tag hello-$SESSION:1 $REGISTRY/$name:1; docker push -q $REGISTRY/$name:1; done"),
    (r"team/shop:2\)", "docker tag hello-$SESSION:2 $REGISTRY/team/shop:2; docker push -q $REGISTRY/team/shop:2"),
    (r"microservices-net", "docker network create --internal microservices-net-$SESSION"),
    (r"microservices-cart", "docker build -q -t microservices-cart-$SESSION:1 cart"),
    (r"microservices-catalogue", "docker build -q -t microservices-catalogue-$SESSION:1 catalogue"),
    (r"microservices-cart-1", "docker run -d --name microservices-cart-1-$SESSION -e PIECES=cart,store microservices-cart-$SESSION:1"),
    (r" clock-", "docker run -d --name clock-$SESSION labkit/busybox:1 sleep 600"),
    (r"(start|wait).* short-", "docker run -d --name short-$SESSION labkit/busybox:1 sleep 1; docker wait short-$SESSION"),
)  # fmt: skip

#: The folders of what is built for that, as the notebook's own calls have them.
FOLDERS = {
    "hello": "lab.images.source('hello')",
    "tea": "lab.delivery.tea()",
    "cart": "piece_files(('cart', 'store'))",
    "catalogue": "piece_files(('catalogue', 'store'))",
}


def needs_of(commands: tuple[str, ...]) -> list[str]:
    """What to type before these commands; what that needs itself stands above it in the table."""
    text, wanted = "\n".join(commands), []
    there = [_made(one) for line in commands for one in (line, *line.split("; "))]
    for words, line in reversed(NEEDS):
        if re.search(words, text) and _made(line) not in there:
            wanted.insert(0, line)
            text += line
    return wanted


def _made(line: str) -> str:
    """Which thing a command makes: its verb, and the name or tag that it gives."""
    name = re.search(r"(?:--name|-t|create(?: --\w+)*) (\S+)|^[A-Z]+=", line)
    return " ".join(line.split()[:2]) + (name[1] or name[0] if name else line)


#: What only the lab can tell: a word in a command, what to type before it. The call removes its control group.
MADE_HERE: dict[str, Callable[[Stage], str]] = {
    "$DISK": lambda stage: f"DISK={stage.lab.limits.disk().path}",
    "$PARENT": lambda stage: (
        f"PARENT=labkit{stage.id}.slice" if stage.lab.facts.cgroup_driver == "systemd" else f"PARENT=/labkit-{stage.id}"
    ),
    "$SECRET": lambda stage: f"SECRET={given._SECRET}",
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
                self._write(name, eval(source, self.names))
        for name, folder in re.findall(r"docker build .*?-t (\S+) (\w+)", "\n".join(commands)):
            tag = self._called(name)
            assert tag, f"the call builds no {name}, but {list(self.built)}"
            self._write(folder, self.built[tag])
        return needs + [make(self) for word, make in MADE_HERE.items() if any(word in one for one in commands)]

    def _called(self, name: str) -> str:
        """The tag by which a call built what a command builds: the same, or the repository's last."""
        tag = name.replace("$SESSION", self.id)
        same = [known for known in self.built if known.partition(":")[0] == tag.partition(":")[0]]
        return tag if tag in same else same[-1] if same else ""

    def _write(self, folder: str, files: dict[str, Any]) -> None:
        (self.folder / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def _images(self, commands: tuple[str, ...], on: Any) -> list[Fact]:
        names = re.findall(r"docker build .*?-t (\S+)", "\n".join(commands))
        return [image(on, name.replace("$SESSION", on.session.id)) for name in names]

    def call(self, beside: Beside, wanted: list[Fact]) -> list[Fact]:
        """Run a cell, after those above it that it needs, until it has asked all that is wanted; else to its end."""
        send, builds = LabelledAPIClient.send, []
        seen, over = 0, not wanted

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
                builds.append(image(on, tag))
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
            builds.clear()
            patch.setattr(LabelledAPIClient, "send", until_done)
            with contextlib.suppress(Done):
                exec(beside.code, self.names)
                self._ran.add(beside.cell)
        return self.ears.since(begin, self.id) + builds

    def close(self) -> None:
        try:
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
                remove[kind](name)
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
    """A lab's stage, by name; the one before is closed."""
    with Wiretap(engine) as tap, contextlib.ExitStack() as last:
        current: dict[str, Stage] = {}

        def stage(name: str) -> Stage:
            if name not in current:
                current.clear()
                last.pop_all().close()
                current[name] = Stage(name, engine, tap, folders.mktemp("typed"))
                last.callback(current[name].close)
            return current[name]

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
    left = missing(typed, called)
    assert not left, "\n".join(["typed and not called:", *map(json.dumps, left), "called:", *map(json.dumps, called)])


#: Each runs an experiment once more, and its command.
pytestmark = pytest.mark.slow

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
