"""Files that several processes write, whole or not at all and one at a time; and what a forked process shall not hold."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any, TypeVar

from .errors import LabError
from .paths import runtime_dir, runtime_places

T = TypeVar("T")


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file so that whoever reads it finds the old content or the new, never half of it.

    It is written beside its place and renamed. Two processes, or two threads, may do it at once: the later one wins.

    Args:
        content: text, which is written as UTF-8, or bytes.
        durable: the new content outlives a power cut too (a few milliseconds); for what can't be made again.

    Raises:
        OSError: it can't be written; what was there stays, and nothing is left beside it.
    """
    for old in path.parent.glob(f".{glob.escape(path.name)}.*-*"):  # of a process that was killed in between
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 60:
                old.unlink()
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            with open(aside, "rb") as stream:
                os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: What the operating system says of files and folders, and not of connections.
_OF_FILES = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
             errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.EIO)  # fmt: skip


def full(place: object, variable: str = "LABKIT_CACHE") -> LabError:
    """What is said when the disk under a folder is full; arguments as for :func:`told`."""
    return told(OSError(errno.ENOSPC, ""), variable, place)


def told(fault: OSError, variable: str = "", place: object = None) -> LabError:
    """The sentence for a file or folder that can't be read, made or written.

    Args:
        fault: what the operating system raised.
        variable: the one that would name another place.
        place: where, in case that the fault doesn't say.
    """
    where = fault.filename or place or "the temporary folder"
    if fault.errno in _FULL:
        larger = f", or set {variable} to a larger disk." if variable else "."
        return LabError(f"The disk under {place or where} is full.", next_step=f"Free some space{larger}")
    other = f", or set {variable} to a folder of your own." if variable else "."
    next_step = f"Look at what is there and whose it is (ls -ld){other}"
    return LabError(f"{where}: {fault.strerror or fault}.", next_step=next_step)


@contextmanager
def telling(variable: str = "", place: object = None) -> Iterator[None]:
    """A ``with`` block in which faults of files, not those of connections, become sentences; arguments as for
    :func:`told`.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno not in _OF_FILES:
            raise
        raise told(fault, variable, place) from fault


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
    with contextlib.ExitStack() as opened:
        handle = opened.enter_context(open(path, "a+b"))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as fault:
            if fault.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A network file system that can't lock: then among the processes of this machine, at least.
            name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
            here = Path(tempfile.gettempdir(), f"labkit-lock-{os.getuid()}-{name}")
            handle = opened.enter_context(locked(here, waiting))
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


class Temporary(tempfile.TemporaryDirectory[str]):
    """A temporary folder that also goes when this process is killed: with the next one of its place, or the next lab.

    It is locked as long as its owner lives, so that nobody else takes it for a dead one's.

    Args:
        place: the folder that it is made in; this user's runtime folder by default.

    Raises:
        LabError: no runtime folder can be made.
        OSError: the place can't be written.
    """

    def __init__(self, place: Path | None = None):
        place = place or runtime_dir()
        clear(place)
        with locked(place / "t.lock"):
            super().__init__(prefix="t", dir=place)
            self._held = os.open(self.name, os.O_RDONLY)
            fcntl.flock(self._held, fcntl.LOCK_EX)

    def cleanup(self) -> None:
        """Remove it; may be called twice."""
        super().cleanup()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def clear(*places: Path) -> None:
    """Remove the temporary folders that killed processes left there; by default, in all of this user's runtime folders."""
    for place in places or runtime_places():
        if not list(place.glob("t" + "?" * 8)):
            continue
        with contextlib.suppress(OSError), locked(place / "t.lock"):
            for folder in place.glob("t" + "?" * 8):
                handle = os.open(folder, os.O_RDONLY)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)


_kept: weakref.WeakSet[Any] = weakref.WeakSet()


def kept_from_forks(stream: T) -> T:
    """Keep an open file or socket to this process: one that is forked off it (multiprocessing) does not hold it.

    For what ends somewhere else when the last holder is gone, as a machine or a session does.
    """
    _kept.add(stream)
    return stream


def _let_go() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in _kept:
        with contextlib.suppress(ValueError):  # it is closed
            if stream.fileno() >= 0:
                os.dup2(nowhere, stream.fileno(), inheritable=False)
    os.close(nowhere)


os.register_at_fork(after_in_child=_let_go)
