"""Each command in the notebooks does what the call below it does: both are run here, on one engine, and compared.

What is compared is the engine's own account: how it has a container (:func:`effect_of`), an image's configuration, and
its events for what was done to them. The call may do more than its command. It is stopped as soon as it has done the same.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import docker.errors
import pytest

from labkit import engine as engines
from labkit.course.terminal import Terminal
from labkit.engine.client import LabelledAPIClient, PlainAPIClient
from labkit.engine.session import ROLE
from labkit.lab import Lab
from labkit.labs.images_and_registries import buildkit, classic

from ..beside import Beside, all_beside, cells, python_of

#: Cells whose call works on an engine that the lab owns, and so their commands, too.
OWN = re.compile(r"\b(own|mine|inside)\b|solves\.(carry|machines)")

#: What must be there before a command is typed, where none of the cell's own commands makes it: words in a command, the
#: commands that make what they name. In the notebook, cells above have done it.
NEEDS = (
    (r"\$REGISTRY", "docker network create registry-net-$SESSION"),
    (r"\$REGISTRY", "docker run -d --name registry-$SESSION --network registry-net-$SESSION -p 127.0.0.1::5000 labkit/registry:1"),
    (r"\$REGISTRY", "REGISTRY=$(docker port registry-$SESSION 5000); sleep 2"),
    (r"hello-\$SESSION|/(hello|shop|every|twin)", "docker build -q -t hello-$SESSION:1 hello"),
    (r"hello-\$SESSION:2", "docker build -q -t hello-$SESSION:2 hello"),
    (r"delivery-net", "docker network create delivery-net-$SESSION"),
    (r"tea-\$SESSION|/tea:|staging-", "docker build -q -t tea-$SESSION:1 tea"),
    (r"tea-\$SESSION:v2", "docker build -q -t tea-$SESSION:v2 tea"),
    (r"rm -f production", "docker run -d --name production-$SESSION tea-$SESSION:1"),
    (r"inspect.* staging-", "docker run -d --name staging-$SESSION tea-$SESSION:1"),
    (r"\$REGISTRY/tea:|staging-", "docker tag tea-$SESSION:1 $REGISTRY/tea:candidate; docker push -q $REGISTRY/tea:candidate"),
    (r"/shop:1\)|/hello:1", "for name in shop hello; do docker tag hello-$SESSION:1 $REGISTRY/$name:1; docker push -q $REGISTRY/$name:1; done"),
    (r"twin:stable\)", "docker tag hello-$SESSION:1 $REGISTRY/twin:stable; docker push -q $REGISTRY/twin:stable"),
    (r"microservices-net", "docker network create --internal microservices-net-$SESSION"),
    (r"microservices-cart", "docker build -q -t microservices-cart-$SESSION:1 cart"),
    (r"microservices-catalogue", "docker build -q -t microservices-catalogue-$SESSION:1 catalogue"),
    (r"microservices-cart-1", "docker run -d --name microservices-cart-1-$SESSION microservices-cart-$SESSION:1"),
    (r"replicas-net", "docker network create --internal replicas-net-$SESSION; docker build -q -t monolith-shop-$SESSION:1 cart"),
    (r"kiosk-\$SESSION|staging\.env", "docker build -q -t kiosk-$SESSION:1 kiosk; for tag in 2 bad; do docker tag kiosk-$SESSION:1 kiosk-$SESSION:$tag; done"),
    (r"kiosk-net|door-", "docker network create kiosk-net-$SESSION"),
    (r"stop .*blue-1-", "docker create --name blue-1-$SESSION --network kiosk-net-$SESSION kiosk-$SESSION:1; docker start blue-1-$SESSION"),
    (r"door-", "docker run -d --name door-$SESSION --network kiosk-net-$SESSION labkit/busybox:1 sleep 600"),
    (r" clock-", "docker run -d --name clock-$SESSION labkit/busybox:1 sleep 600"),
    (r"(start|wait).* short-", "docker run -d --name short-$SESSION labkit/busybox:1 sleep 1; docker wait short-$SESSION"),
)  # fmt: skip

#: The folders of what is built for that, as the notebook's own calls have them.
FOLDERS = {
    "hello": "lab.images.source('hello')",
    "tea": "lab.delivery.tea()",
    "cart": "piece_files(('cart',))",
    "catalogue": "piece_files(('catalogue',))",
    "kiosk": "lab.releases.files()",
}


def needs_of(commands: tuple[str, ...]) -> list[str]:
    """What to type before these commands; what that needs itself stands above it in the table."""
    text, wanted = "\n".join(commands), []
    for words, line in reversed(NEEDS):
        if re.search(words, text) and not any(_made(line) == _made(one) for one in commands):
            wanted.insert(0, line)
            text += line
    return wanted


def _made(line: str) -> str:
    """Which thing a command makes: its verb, and the name or tag that it gives."""
    name = re.search(r"(?:--name|-t|create(?: --\w+)*) (\S+)|^[A-Z]+=", line)
    return " ".join(line.split()[:2]) + (name[1] or name[0] if name else line)


#: Settings that a call needs for its measuring, or that clients fill in on their own.
_PLUMBING = {
    "AutoRemove", "CgroupnsMode", "ConsoleSize", "ContainerIDFile", "Dns", "DnsOptions", "Isolation", "LogConfig",
    "MaskedPaths", "MemorySwappiness", "OomKillDisable", "ReadonlyPaths", "Runtime", "ShmSize", "GroupAdd", "Links",
    "UsernsMode", "Mounts",
}  # fmt: skip


class Done(BaseException):
    """The call has done what its command does: it need not go on."""


def effect_of(inspected: dict[str, Any]) -> dict[str, Any]:
    """What of a container comes from its command: image, program, user, and every setting that is not a default."""
    config, host = inspected["Config"], inspected["HostConfig"]
    found = {key: value for key, value in host.items() if value and key not in _PLUMBING}
    found["NetworkMode"] = re.sub("^default$", "bridge", re.sub(":.*", "", host["NetworkMode"]))
    found["Binds"] = sorted(bind.removesuffix(":rw") for bind in host.get("Binds") or [])
    found["Policy"] = [
        value for key, value in sorted((host.get("RestartPolicy") or {}).items()) if value not in ("", "no", 0)
    ]
    found["PortBindings"] = sorted(host.get("PortBindings") or {})
    found["SecurityOpt"] = sorted(re.sub("(?s)={.*", "=a profile", one) for one in host.get("SecurityOpt") or [])
    found.pop("RestartPolicy", None)
    found["User"], found["OpenStdin"] = config["User"], config["OpenStdin"]
    found["Image"] = re.sub(r"(@.*|:[^/:]*)$", "", config["Image"])
    return {**found, "Cmd": config["Cmd"] or []}


def alike(typed: dict[str, Any], called: dict[str, Any]) -> bool:
    """Whether two effects are one; a call's program that is too long for a line may be another one."""
    long = len(" ".join(called.get("Cmd") or [])) > 60
    return {**typed, "Cmd": 0} == {**called, "Cmd": 0} and (long or typed.get("Cmd") == called.get("Cmd"))


class Witness:
    """What happens in one session on its engine, from when it is made until it is closed."""

    def __init__(self, lab: Lab):
        self.session, self.stopped = lab.context.session, False
        self.effects: list[dict[str, Any]] = []
        self.actions: set[tuple[str, ...]] = set()
        self._api = PlainAPIClient(**lab.engine.client_options())
        self._events = self._api.events(decode=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # the stream is closed under its reader
            for event in self._events:
                self._hear(event)

    def _hear(self, event: dict[str, Any]) -> None:
        about = event["Actor"].get("Attributes") or {}
        kind, action, name = event.get("Type", ""), event["Action"], about.get("name", "")
        session = self.session.id
        if (
            about.get(ROLE, "yard") != "yard"
            or not any(session in value for value in about.values())
            and "127.0.0.1:" not in name
        ):
            return
        if kind == "container" and action == "create":
            with contextlib.suppress(docker.errors.NotFound):
                self.effects.append(effect_of(self._api.inspect_container(event["Actor"]["ID"])))
        elif kind == "container" and action.startswith("exec_create"):
            self.actions.add((kind, "exec", action.partition(": ")[2]))
        elif kind == "container" and action in ("start", "pause", "unpause", "stop", "restart", "update", "destroy"):
            self.actions.add((kind, action))
        elif kind == "container" and action == "kill":
            self.actions.add((kind, action, about.get("signal", "").removeprefix("SIG").replace("KILL", "9")))
        elif kind in ("network", "volume") and action == "create":
            self.actions.add((kind, action, name, about.get("driver", "")))
        elif kind == "image" and action in ("push", "pull"):
            self.actions.add((kind, action, re.sub(r"(@.*|:[^/:]*)$", "", name)))

    def built(self, inspected: dict[str, Any]) -> None:
        """An image of the session's, as the engine has it."""
        if any(self.session.id in tag for tag in inspected.get("RepoTags") or []):
            config = inspected["Config"]
            kept = {key: config.get(key) or [] for key in ("Cmd", "Entrypoint", "WorkingDir", "User")}
            effect = {"built": sorted(config.get("Env") or []), "layers": len(inspected["RootFS"]["Layers"]), **kept}
            if effect not in self.effects:
                self.effects.append(effect)

    def missing(self, wanted: Witness) -> list[object]:
        """What the command did and the call has not done so far."""
        left: list[object] = [one for one in wanted.effects if not any(alike(one, other) for other in self.effects)]
        return left + sorted(wanted.actions - self.actions)

    def close(self) -> None:
        time.sleep(0.3)  # the last events are on their way
        self._events.close()
        self._thread.join(10)
        self._api.close()


#: What only the lab can tell: a word in a command, what to type before it.
MADE_HERE: dict[str, Callable[[Stage], str]] = {
    "$DISK": lambda stage: f"DISK={stage.base.limits.disk().path}",
    "$PARENT": lambda stage: f"PARENT={stage.parent()}",
    "staging.env": lambda stage: stage.place(),
    "profile.json": lambda stage: f"echo '{stage.base.security.profile()}' > profile.json",
}


class Stage:
    """One lab, open, with a terminal on its engine, in which the commands are typed."""

    def __init__(self, name: str, folder: Any, own: bool):
        self.base = Lab(name, engines.find())
        self.lab = self.base.own() if own else self.base
        self.terminal = Terminal(self.lab.context.session, "test")
        self.folder, self.names = folder, {"lab": self.base}
        self.built: dict[str, dict[str, str | bytes]] = {}
        exec("from labkit.labs.devops_and_delivery.shop import piece_files", self.names)

    def type(self, commands: tuple[str, ...]) -> Witness:
        """Type commands, and tell what they did; what must be there first is typed before."""
        needs = needs_of(commands)
        for name, source in FOLDERS.items():
            if any(re.search(rf" {name}(;|$)", line) for line in needs):
                self._write(name, eval(source, self.names))
        tags = {}
        for name, folder in re.findall(r"docker build .*?-t (\S+) (\w+)", "\n".join(commands)):
            tags[name] = tag = name.replace("$SESSION", self.lab.context.session.id)
            same = [known for known in self.built if known.partition(":")[0] == tag.partition(":")[0]]
            self._write(folder, self.built[tag if tag in same else same[-1]])
        for variable, make in MADE_HERE.items():
            if any(variable in line for line in commands):
                needs.append(make(self))
        script = [f". {self.terminal.rc} >&2", *needs, "echo ready", "read -r go", *commands]
        with subprocess.Popen(
            ["bash", "-c", "\n".join(script).replace("docker run --rm ", "docker run ")], cwd=self.folder, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as shell:  # fmt: skip
            while (line := shell.stdout.readline()).strip() != "ready":
                assert line, "what the command needs can't be made"
            witness = Witness(self.lab)
            shell.communicate("go\n", timeout=300)
        for tag in tags.values():
            with contextlib.suppress(docker.errors.ImageNotFound):  # one that is to fail
                witness.built(self.lab.docker.api.inspect_image(tag))
        witness.close()
        return witness

    def place(self) -> str:
        """The folder of lab 12's Compose file, with what the file's holes need beside the place's own settings."""
        self._write("places", self.base.releases.place_files())
        return f"cd places; export IMAGE=kiosk-{self.lab.context.session.id}:1 TOKEN=0123abcd"

    def _write(self, folder: str, files: dict[str, str | bytes]) -> None:
        for name, text in files.items():
            (self.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def call(self, beside: Beside, wanted: Witness | None) -> Witness:
        """Run a cell, with those before it that it needs, until it has done what is wanted; else to its end."""
        witness = Witness(self.lab)
        send, inspect = LabelledAPIClient.send, LabelledAPIClient.inspect_image

        @functools.wraps(send)
        def until_done(api: Any, *args: Any, **options: Any) -> Any:
            if wanted and not witness.stopped and not witness.missing(wanted):
                witness.stopped = True
                raise Done
            return send(api, *args, **options)

        def look(api: Any, *args: Any, **options: Any) -> Any:
            found = inspect(api, *args, **options)
            witness.built(found)
            return found

        def keep(run: Any) -> Any:
            def kept(on: Any, tag: str, files: Any, **options: Any) -> Any:
                self.built[tag] = dict(files)
                return run(on, tag, files, **options)

            return kept

        with pytest.MonkeyPatch.context() as patch:
            for module in (buildkit, classic):
                patch.setattr(module, "run", keep(module.run))
            for code in needed(beside):
                exec(code, self.names)
            patch.setattr(LabelledAPIClient, "inspect_image", look)
            patch.setattr(LabelledAPIClient, "send", until_done)
            with contextlib.suppress(Done):
                exec(beside.code, self.names)
        witness.close()
        return witness

    def parent(self) -> str:
        """The control group that lab 08 puts containers into."""
        session, driver = self.lab.context.session.id, self.lab.facts.cgroup_driver
        return f"labkit{session}.slice" if driver == "systemd" else f"/labkit-{session}"

    def clear(self) -> None:
        """Remove what was typed, so that the call finds its names free."""
        api, session = self.lab.docker.api, self.lab.context.session.id
        for row in api.containers(all=True, filters={"label": f"labkit.session={session}"}):
            if ROLE not in row["Labels"]:
                api.remove_container(row["Id"], force=True, v=True)
        for row in api.networks(filters={"label": f"labkit.session={session}"}):
            with contextlib.suppress(docker.errors.APIError):  # labkit's own visitor is in it
                api.remove_network(row["Id"])

    def close(self) -> None:
        self.terminal.close()
        self.base.close()


def needed(beside: Beside) -> list[str]:
    """The code of the cells above one that make the names it uses."""
    found: list[str] = []
    wanted = set(re.findall(r"\b[a-z]\w*\b", beside.code))
    above = [source for _, source in cells(beside.lab)]
    above = above[: [cell for cell, _ in cells(beside.lab)].index(beside.cell)]
    for code in map(python_of, reversed(above[1:])):
        made = set(re.findall(r"^([a-z]\w*) = ", code, re.M)) | set(re.findall(r"^import (\w+)$", code, re.M))
        if made & wanted:
            found.append(code)
            wanted = (wanted - made) | set(re.findall(r"\b[a-z]\w*\b", code))
    return found[::-1]


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A lab's stage, by name; the one before is closed."""
    current: dict[tuple[str, bool], Stage] = {}

    def stage(name: str, own: bool) -> Stage:
        if (name, own) not in current:
            for before in list(current):
                current.pop(before).close()
            current[name, own] = Stage(name, tmp_path_factory.mktemp("typed"), own)
        return current[name, own]

    yield stage
    for last in current.values():
        last.close()


#: Each runs an experiment once more, and its command: half an hour for all.
pytestmark = pytest.mark.slow

ROWS = [
    pytest.param(beside, bool(OWN.search(beside.code)), id=beside.cell)
    for beside in all_beside()
]  # fmt: skip


@pytest.mark.parametrize("beside, own", ROWS)
def test_a_command_does_what_the_call_does(beside, own, stages, engine):
    stage = stages(beside.lab, own)
    builds = any("docker build" in line for line in beside.commands)
    called = stage.call(beside, None) if builds else None  # what is built is known when the call has built it
    stage.clear()
    typed = stage.type(beside.commands)
    stage.clear()
    assert typed.effects or typed.actions or "broken" in beside.code, "the command did nothing that can be seen"
    called = called or stage.call(beside, typed)
    stage.clear()
    assert called.missing(typed) == [], json.dumps(called.effects, indent=1)
