"""Where labkit keeps things: per-user cache and state, and the course's own files."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import LabError

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "shipped"  # setup.py puts it into the wheel; a checkout has no such folder

#: Whether labkit was installed from a wheel, rather than used from a checkout or installed editable from one.
INSTALLED = _SHIPPED.is_dir()

#: What holds notebooks/ and data/: the checkout, or the wheel's own copy, where nothing is ever written.
COURSE = _SHIPPED if INSTALLED else _PACKAGE.parent


def _base(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback)


def cache_dir(*parts: str) -> Path:
    """A folder under the user's cache (``$LABKIT_CACHE`` or ``$XDG_CACHE_HOME/labkit``), made if missing.

    Everything in it can be deleted and is then made again.

    Raises:
        LabError: it is missing and can't be made.
    """
    root = os.environ.get("LABKIT_CACHE")
    path = Path(root) if root else _base("XDG_CACHE_HOME", ".cache") / "labkit"
    path = path.joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise LabError(
            f"{path} is missing and can't be made: {reason.strerror}.",
            next_step="Set LABKIT_CACHE to a folder of your own.",
        ) from None
    return path


def state_dir(*parts: str) -> Path:
    """A folder for what must not be lost, such as progress (``$LABKIT_STATE`` or ``$XDG_STATE_HOME/labkit``)."""
    root = os.environ.get("LABKIT_STATE")
    path = Path(root) if root else _base("XDG_STATE_HOME", ".local/state") / "labkit"
    path = path.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def text_beside(module: str, name: str) -> str:
    """A text file in the folder of a module: ``text_beside(__file__, "runtime.sh")``."""
    return Path(module).with_name(name).read_text(encoding="utf-8")


def data_file(*parts: str) -> Path:
    """A file of the course's ``data/`` folder."""
    return COURSE.joinpath("data", *parts)
