"""What gives the machine away, and what keeps it: only on an engine that the lab owns.

``--privileged``, a mounted socket, and the user namespace that makes root inside a nobody outside.
"""

import contextlib
import json
import shlex
from collections.abc import Iterator

from ... import images
from ...course.context import Context, Ran
from ...course.result import Result
from ...engine import OwnedEngine, require_owned
from ...paths import data_file
from ...units import yes_no
from .flags import FLAGS, PRIVILEGED, Tried, with_flags

#: The first of the machine's user numbers that a remapped engine gives to its containers.
FIRST = 200_000
_SETTINGS = "/etc/docker/daemon.json"
_SECRET = "/root/only-for-root"


class Given(Result):
    """What a container could do with ``--privileged``, and what one that holds the engine's socket read.

    ``tried`` is without and with the flag; ``read`` is what the second container read of a file that only the
    machine's root may, ``secret`` what stands there.
    """

    tried: Tried
    read: str
    secret: str

    def facts(self) -> str:
        return (
            "\n".join(self.tried.facts().splitlines()[1:]) + "\nthe engine's socket mounted, and no other flag\n"
            f"  reads a file that only the machine's root may read: {yes_no(self.read == self.secret)}"
        )


def given_away(on: Context) -> Given:
    """Let a container with ``--privileged`` try everything, and one with the engine's socket read a file of root's.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
    """
    engine = require_owned(on.session.engine)
    tried = with_flags(on, [FLAGS[0], PRIVILEGED])
    secret = f"of session {on.session.id}"
    engine.shell(f"umask 077; echo {secret} > {_SECRET}")
    try:
        on.image(images.BUSYBOX)
        program = data_file("apps", "limits", "through_socket.py").read_text()
        command = ["python3", "-I", "-c", program, images.BUSYBOX, _SECRET, json.dumps(on.docker.lab_labels)]
        read = on.ran(images.PYTHON, command, volumes=["/run/docker.sock:/run/docker.sock"]).text.strip()
    finally:
        engine.shell(f"rm -f {_SECRET}")
    return Given(on.facts, tried, read, secret)


class Remapped(Result):
    """Root in a container, with and without ``userns-remap``.

    ``outside`` has the user number on the machine of a process that is user 0 inside, ``reads`` what ``cat`` said of a
    file of root's that was mounted into it, ``makes`` what ``mknod`` said; first without, then with.
    """

    outside: tuple[int, int]
    reads: tuple[Ran, Ran]
    makes: tuple[Ran, Ran]

    def facts(self) -> str:
        rows = [
            ("user inside", "0", "0"),
            ("the same process, outside", *map(str, self.outside)),
            ("reads a mounted file of root's", *(yes_no(done.code == 0) for done in self.reads)),
            ("makes a device file", *(yes_no(done.code == 0) for done in self.makes)),
        ]
        return "\n".join(f"{name:<32}{plain:<8}{mapped}" for name, plain, mapped in [("", "plain", "remapped"), *rows])


def remapped(on: Context) -> Remapped:
    """Compare root in a container of a plain engine with one where ``userns-remap`` is on.

    dockerd is restarted with the setting, and again without it; what was made in between is removed.

    Raises:
        NotPossibleHere: the engine isn't the lab's own.
        EngineGone: dockerd did not come back; ``lab.own()`` gives a fresh engine.
    """
    engine = require_owned(on.session.engine)
    on.say("root on the engine as it is", 0.0)
    plain = _root(on, engine)
    on.say("dockerd is restarted, with userns-remap", 0.2)
    with _remapping(engine):
        on.say("root on the remapped engine", 0.6)
        mapped = _root(on, engine)
        on.say("dockerd is restarted, as it was", 0.8)
    return Remapped(on.facts, *((one, other) for one, other in zip(plain, mapped)))  # type: ignore[arg-type]


def _root(on: Context, engine: OwnedEngine) -> tuple[int, Ran, Ran]:
    engine.shell(f"umask 077; echo secret > {_SECRET}")
    bind = [f"{_SECRET}:/secret:ro"]
    try:
        with (
            on.container(images.BUSYBOX, ["sleep", "600"], network_mode="none", volumes=bind) as container,
        ):
            pid = on.main_pid(container)
            outside = engine.shell(f"awk '/^Uid:/ {{ print $2 }}' /proc/{pid}/status").strip()
            asked = [container.exec_run(words) for words in (["cat", "/secret"], ["mknod", "/null", "c", "1", "3"])]
        reads, makes = (Ran(done.exit_code, done.output.decode().strip()) for done in asked)
        return int(outside), reads, makes
    finally:
        engine.shell(f"rm -f {_SECRET}")


@contextlib.contextmanager
def _remapping(engine: OwnedEngine) -> Iterator[None]:
    """``userns-remap`` for the length of a ``with`` block. Such an engine keeps images and containers in a place apart."""
    before = engine.shell(f"cat {_SETTINGS}")
    settings = json.dumps({**json.loads(before), "userns-remap": "labmap"}, indent=2)
    # A user without a password or a shell, only for its row of numbers.
    engine.shell(
        f"grep -q ^labmap: /etc/passwd || echo labmap:x:{FIRST}:{FIRST}::/:/bin/false >> /etc/passwd; "
        f"grep -q ^labmap: /etc/group || echo labmap:x:{FIRST}: >> /etc/group; "
        f"echo labmap:{FIRST}:65536 | tee /etc/subuid > /etc/subgid"
    )
    try:
        _restart(engine, settings)
        yield
    finally:
        if engine.alive():
            _restart(engine, before)
            engine.shell(f"rm -rf /var/lib/docker/{FIRST}.{FIRST}", check=False)


def _restart(engine: OwnedEngine, settings: str) -> None:
    engine.stop_dockerd()
    engine.shell(f"printf %s {shlex.quote(settings)} > {_SETTINGS}")
    engine.start_dockerd()
