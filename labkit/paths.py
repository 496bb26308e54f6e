"""Where labkit keeps things: per-user cache and state, and the course's own files."""

import os
import re
from pathlib import Path

from .errors import LabError

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "shipped"  # setup.py puts it into the wheel; a checkout has no such folder

#: Whether labkit was installed from a wheel, rather than used from a checkout or installed editable from one.
INSTALLED = _SHIPPED.is_dir()

#: What holds notebooks/ and data/: the checkout, or the wheel's own copy, where nothing is ever written.
COURSE = _SHIPPED if INSTALLED else _PACKAGE.parent


def home() -> Path:
    """This user's home; for one who has none (no ``HOME``, a number without a name), a folder of the runtime's.

    Raises:
        LabError: not even that can be made.
    """
    try:
        return Path.home()
    except RuntimeError:
        return runtime_dir("home")


def _root(variable: str, base: str, fallback: str) -> Path:
    named = os.environ.get(variable, "")
    if named:
        return Path(named.replace("~", str(home()), 1) if re.match(r"~(/|$)", named) else named).absolute()
    below = Path(os.environ.get(base, ""))
    # XDG Base Directory Specification: a relative path is invalid and to be ignored.
    return (below if below.is_absolute() else home() / fallback) / "labkit"


def settle() -> None:
    """Have whatever is started from here, in whichever folder, find the same cache and state as this process."""
    for variable, path in (("LABKIT_CACHE", cache_path), ("LABKIT_STATE", state_path)):
        if os.environ.get(variable):
            os.environ[variable] = str(path())


def _made(path: Path, variable: str) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise LabError(
            f"{path} is missing and can't be made: {reason.strerror}.",
            next_step=f"Set {variable} to a folder of your own.",
        ) from None
    return path


def cache_path(*parts: str) -> Path:
    """A place under the user's cache (``$LABKIT_CACHE`` or ``$XDG_CACHE_HOME/labkit``); it may be missing.

    Everything there can be deleted and is then made again.
    """
    return _root("LABKIT_CACHE", "XDG_CACHE_HOME", ".cache").joinpath(*parts)


def cache_dir(*parts: str) -> Path:
    """A folder at :func:`cache_path`, made if missing.

    Raises:
        LabError: it is missing and can't be made.
    """
    return _made(cache_path(*parts), "LABKIT_CACHE")


def state_path(*parts: str) -> Path:
    """A place for what must not be lost, such as progress (``$LABKIT_STATE`` or ``$XDG_STATE_HOME/labkit``); it may be
    missing.
    """
    return _root("LABKIT_STATE", "XDG_STATE_HOME", ".local/state").joinpath(*parts)


def state_dir(*parts: str) -> Path:
    """A folder at :func:`state_path`, made if missing.

    Raises:
        LabError: it is missing and can't be made.
    """
    return _made(state_path(*parts), "LABKIT_STATE")


#: Bytes that the path of this user's runtime folder may have: a socket's may have 103 on macOS, 107 on Linux, and
#: 14 of them name one in a folder below it.
_RUNTIME_BYTES = 103 - 14


def runtime_places() -> list[Path]:
    """Where this user's runtime folder may be, best first.

    An ``XDG_RUNTIME_DIR`` of the user's own choice is meant. The system's is named in some of a user's shells and
    not in others, and is emptied when the last one ends; ``TMPDIR`` differs, too.
    """
    chosen, usual = os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}"
    bases = [usual, "/tmp", os.environ.get("TMPDIR", ""), "/var/tmp"]
    own = f"labkit-{os.getuid()}"
    if chosen not in ("", usual):
        bases = [chosen] if _for_sockets(Path(chosen).absolute() / own) else [chosen, *bases]
    return [Path(base).absolute() / own for base in bases if base]


def _for_sockets(folder: Path) -> bool:
    return os.access(folder.parent, os.W_OK | os.X_OK) and len(os.fsencode(folder)) <= _RUNTIME_BYTES


def runtime_dir(*parts: str) -> Path:
    """A folder for what lives as long as a process: sockets, pipes, records; made if missing, closed to others.

    Raises:
        LabError: none can be made, or it is open to others.
    """
    for folder in runtime_places():
        if not _for_sockets(folder):
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if found.st_uid == os.getuid() and not found.st_mode & 0o077:
                folder.joinpath(*parts).mkdir(mode=0o700, parents=True, exist_ok=True)
                return folder.joinpath(*parts)
        except OSError:
            continue  # full, or a file in its place
        raise LabError(
            f"{folder} belongs to somebody else or is open to others.",
            next_step=f"Remove it, or set XDG_RUNTIME_DIR to a folder of your own: ls -ld {folder}",
        )
    raise LabError(
        f"No folder for sockets can be made: {', '.join(str(folder.parent) for folder in runtime_places())} can't be "
        "written, or their paths are too long.",
        next_step="Set XDG_RUNTIME_DIR to a folder of your own with a short path.",
    )


def text_beside(module: str, name: str) -> str:
    """A text file in the folder of a module: ``text_beside(__file__, "runtime.sh")``."""
    return Path(module).with_name(name).read_text(encoding="utf-8")


def data_file(*parts: str) -> Path:
    """A file of the course's ``data/`` folder."""
    return COURSE.joinpath("data", *parts)
