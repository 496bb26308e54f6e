"""Files that several processes write: whole or not at all, and one at a time."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file so that whoever reads it finds the old content or the new, never half of it.

    It is written beside its place and renamed. Two processes, or two threads, may do it at once: the later one wins.

    Args:
        content: text, which is written as UTF-8, or bytes.
        durable: the new content outlives a power cut too (a few milliseconds); for what can't be made again.

    Raises:
        OSError: it can't be written; what was there stays, and nothing is left beside it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            with open(aside, "rb") as stream:
                os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[BufferedRandom]:
    """Hold a lock for the length of a ``with`` block; it is gone with this process, however that ends.

    Args:
        path: the lock's file, made if missing; its folder must be there. It is never removed.
        waiting: called once when somebody else holds it.

    Yields:
        The open file. A child that inherits its descriptor holds the lock as long as it lives.

    Raises:
        OSError: the file can't be written.
    """
    with open(path, "a+b") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle


def taken(path: Path) -> bool:
    """Whether anybody holds the lock of a file; False where there's no such file."""
    try:
        with open(path, "r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
