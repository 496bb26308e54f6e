"""What stands below Docker: runc with no containerd, containerd with no dockerd."""

import contextlib
import json
import re
import shlex
from typing import Any

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.faults import explained
from ...errors import LabError
from ...units import yes_no
from ..isolation_models.isolation import bundle
from .lxc import owned_engine


class BelowDocker(Result):
    """A container that Docker knows nothing of.

    ``log`` are the commands with their output, ``namespaces`` those that were its own, ``listed`` the names that the
    engine has of it, ``ping`` what dockerd answered meanwhile.
    """

    tool: str
    log: str
    output: str
    namespaces: list[str]
    listed: list[str]
    ping: str
    config: dict[str, Any]

    def facts(self) -> str:
        return (
            f"{self.tool}: it ran: {yes_no('hello' in self.output)} · namespaces of its own: {', '.join(self.namespaces)}\n"
            f"dockerd answered meanwhile: {yes_no(self.ping == 'OK')} · Docker knows this container: {yes_no(bool(self.listed))}"
        )


_HELLO = "echo hello from process $$; for n in mnt uts ipc pid net; do echo $n $(readlink /proc/self/ns/$n); done"


def _own(inside: str, outside: str) -> list[str]:
    mine, theirs = (re.findall(r"^(\w+) (\S+\[\d+\])", text, re.M) for text in (inside, outside))
    return [name for name, number in mine if (name, number) not in theirs]


def runc_alone(on: Context) -> BelowDocker:
    """Run a container with nothing but runc and a bundle: a folder with a root filesystem and ``config.json``.

    In the workshop, with runc from its Debian package; neither dockerd nor containerd is asked.

    Raises:
        LabError: runc refused; the sentence has its words.
    """
    bundle(on, ["/bin/busybox", "sh", "-c", _HELLO.replace("readlink", "/bin/busybox readlink")])
    outside = on.workshop.shell(_HELLO)
    try:
        output = on.workshop.shell("/usr/bin/runc run --bundle /bundle by-hand")
        config = json.loads(on.workshop.shell("cat /bundle/config.json"))
    finally:
        on.workshop.shell("rm -f /bundle/config.json", check=False)
    listed = listed_as(on, "by-hand")
    log = f"$ ls /bundle\nconfig.json  rootfs\n$ runc run --bundle /bundle by-hand\n{output.splitlines()[0]}"
    return BelowDocker(on.facts, "runc alone", log, output, _own(output, outside), listed, _ping(on), config)


def ctr_without_dockerd(on: Context, other: Context) -> BelowDocker:
    """Stop dockerd on an owned engine, then import an image and run it with containerd's own ``ctr``.

    The image is saved as an archive first; dockerd is started again at the end.

    Raises:
        BadInput: the other engine isn't owned.
        LabError: containerd refused; the sentence says why.
    """
    context, engine = owned_engine(other)
    folder = "/tmp/labkit-ctr"
    # On its machine, because the archive must lie where ctr runs.
    engine.shell(f"mkdir -p {folder}; docker -H unix:///run/docker.sock save {context.image()} -o {folder}/image.tar")
    name = f"docker.io/{images.BUSYBOX}"
    load = f"ctr image import {folder}/image.tar"
    steps = [load, f"ctr run --rm {name} hello /bin/sh -c {shlex.quote(_HELLO)}", "ctr image ls -q"]
    log, output, ping = [], "", ""
    back = contextlib.ExitStack()
    try:
        # So that other containers on it, a learner's own, go on meanwhile.
        back.enter_context(engine.live_restore())
        on.say("dockerd is stopped")
        engine.stop_dockerd()
        ping = _ping(context)
        for step in steps:
            on.say(step.split(" /bin/sh")[0])
            text = engine.shell(step, timeout=90)
            output = text if "hello" in text else output
            # What the import says of its progress is another text in each version of containerd.
            first = "" if step == load else text.strip().partition("\n")[0]
            log.append(f"$ {step.split(' /bin/sh')[0]}\n{first}".rstrip())
        outside = engine.shell(_HELLO)
    finally:
        engine.shell(f"ctr image rm {name}; rm -rf {folder}", check=False)
        on.say("dockerd comes back")
        with back:
            engine.start_dockerd()
    own, listed = _own(output, outside), listed_as(context, "hello")
    return BelowDocker(on.facts, "containerd with ctr", "\n".join(log), output, own, listed, ping, {})


def listed_as(on: Context, word: str) -> list[str]:
    """The engine's containers with this word in their name, as it answers ``docker ps -a --filter name=…``."""
    return [name for row in on.docker.api.containers(all=True, filters={"name": word}) for name in row["Names"]]


def _ping(on: Context) -> str:
    """What dockerd answers to ``GET /_ping``, or why it does not."""
    try:
        with explained():
            on.docker.ping()
        return "OK"
    except LabError as fault:
        return str(fault)
