"""One build that many users of a machine start from, and that they may only read.

It has no keys, and its snapshot is of a machine that never had one: each user's labkit makes keys of its own, so that
nobody reaches another's engine, and gives them to the machine when it goes on.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from ...files import locked
from ...paths import runtime_dir
from ...saying import say
from . import host, keys, store

#: Files of a build whose locks are turns to start, and how many seconds anybody waits for one.
_TURNS, PATIENCE = ("kernel", "initrd", "base.qcow2", "docker"), 240.0


def shared(build: Path) -> bool:
    """Whether a build is for many users."""
    return not (build / "keys").is_dir()


def keys_of(build: Path) -> keys.Keys:
    """The keys for a build's machines: those it has, or this user's own, made when they are first asked for."""
    if not shared(build):
        return keys.Keys(build / "keys")
    own = runtime_dir("keys") / build.name
    with locked(own.with_suffix(".lock")):
        if not own.is_dir():
            with store.made_aside(own) as aside:
                keys.make(aside)
        return keys.Keys(own)


@contextmanager
def turn(build: Path) -> Iterator[None]:
    """Wait for a turn to start a machine of a shared build: as many at once as there are processors, at most four.

    Each start is seconds of work; twenty at once would all be late. A turn is a lock on one of the build's files, which
    is all that its users have in common. Somebody may hold it and not let go: nobody waits for more than ``PATIENCE``.
    """
    if not shared(build):
        yield
        return
    until = time.monotonic() + PATIENCE
    with ExitStack() as opened:
        files = [opened.enter_context(open(build / name, "rb")) for name in _TURNS[: host.cpu_limit()]]
        told = False
        while time.monotonic() < until and not any(map(_lock, files)):
            if not told:
                say(f"Waiting for a turn: {len(files)} others' engines are starting")
                told = True
            time.sleep(0.2)
        yield


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # taken, or a file system without locks: then the patience ends it
        return False
    return True
