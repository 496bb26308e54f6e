"""Folders of files that are either whole or not there: made aside, sealed with a manifest, renamed."""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import files
from ...errors import LabError

MANIFEST = "manifest.json"

#: Seconds that what another recipe or QEMU made is kept.
KEPT = 2 * 24 * 3600


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def key(*parts: object) -> str:
    """A short name for a set of inputs: the same inputs have the same name."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a folder's lock, the folder made if missing; ``waiting`` is called once when somebody else has it.

    Raises:
        LabError: the folder can't be written, so nothing that is missing there can be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch()
    except OSError as reason:
        if reason.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise files.told(reason, "LABKIT_CACHE") from None
        raise LabError(
            f"{folder} can't be written, and what is needed from there is missing or does not fit this machine.",
            cause="A cache that is shared read-only must hold a whole engine, with a snapshot made by this QEMU, "
            "and its keys must be readable for whoever uses it.",
            next_step="Have its owner run labkit engine build or import, or set LABKIT_CACHE to a folder of your own.",
        ) from None
    with files.locked(folder / "lock", waiting):
        yield


def seal(folder: Path, names: Iterable[str], known: Mapping[str, str] | None = None, /, **facts: object) -> None:
    """Write the manifest: the folder is complete from now on.

    Args:
        names: the files that must stay as they are.
        known: SHA-256 of those that have just been checked.
        facts: anything else worth keeping, as JSON.
    """
    rows = {}
    for name in names:
        found = (folder / name).stat()
        rows[name] = {
            "size": found.st_size,
            "time": int(found.st_mtime),
            "sha256": (known or {}).get(name) or file_digest(folder / name),
        }
    _write(folder, {"files": rows, **facts})


def _write(folder: Path, content: Mapping[str, object]) -> None:
    files.write_whole(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def recent(folder: Path) -> bool:
    """Whether a folder was sealed in the last two days: another checkout of the course may still want it."""
    try:
        return time.time() - (folder / MANIFEST).stat().st_mtime < KEPT
    except OSError:
        return False


def unseal(folder: Path) -> None:
    """Declare a folder incomplete, so that it is made anew."""
    (folder / MANIFEST).unlink(missing_ok=True)


def manifest(folder: Path) -> dict[str, Any] | None:
    """The folder's manifest; None where it is missing or damaged."""
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return content if isinstance(content["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def intact(folder: Path, *, thorough: bool = False) -> bool:
    """Whether the folder is complete and unchanged.

    Sizes and times are looked at; contents only where a time has changed (copied files), or with
    ``thorough``, after something went wrong.
    """
    content = manifest(folder)
    if content is None:
        return False
    changed = False
    for name, known in content["files"].items():
        try:
            found = (folder / name).stat()
        except OSError:
            return False
        if found.st_size != known["size"]:
            return False
        if thorough or int(found.st_mtime) != known["time"]:
            if file_digest(folder / name) != known["sha256"]:
                return False
            known["time"], changed = int(found.st_mtime), True
    if changed and os.access(folder, os.W_OK):
        _write(folder, content)
    return True


@contextmanager
def made_aside(target: Path) -> Iterator[Path]:
    """A fresh folder that takes the target's place when the block ends well, and is removed otherwise.

    Call it with the lock of the folder around it held: what killed processes left there is removed first, of any
    target, half made or already replaced.
    """
    for old in target.parent.glob("*.*"):
        if re.search(r"\.(new|old)\d+$", old.name):
            shutil.rmtree(old, ignore_errors=True)
    aside = target.parent / f"{target.name}.new{os.getpid()}"
    aside.mkdir(parents=True, mode=0o700)
    try:
        yield aside
        if target.exists():
            gone = target.parent / f"{target.name}.old{os.getpid()}"
            target.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def require_space(folder: Path, needed: int) -> None:
    """Raises LabError when the disk under the folder has less than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LabError(
            f"The disk under {folder} has only {free / 1e9:.1f} GB free; "
            f"the embedded engine needs {needed / 1e9:.1f} GB.",
            next_step="Free some space, or set LABKIT_CACHE to a larger disk.",
        )
