"""Which folder's notebooks a command means, and the working copy that an installed labkit makes for a learner.

A checkout of the course is used as it is. A labkit that was installed from a wheel carries the notebooks in itself;
``labkit lab`` copies them to where the learner is, and a later one brings them up to date. It keeps a record of the
notebooks it gave (their SHA-256), so that it knows which of them are still as given. Only those are ever replaced.
"""

import hashlib
import json
import os
from pathlib import Path

from .errors import NotPossibleHere
from .files import write_whole
from .paths import COURSE, INSTALLED

#: What a working copy's record is called: JSON, file name to SHA-256 for what was given and what lies beside.
RECORD = ".labkit.json"
#: The folder that is made where a learner's folder already holds other things.
SUBFOLDER = "container-labs"

_ELSEWHERE = "Go to a folder of your own (mkdir ~/labs; cd ~/labs), and type it again."


def home() -> Path:
    """The folder whose ``notebooks/`` a command means: the checkout, else the working copy here, else labkit itself.

    Raises:
        NotPossibleHere: the current folder is gone.
    """
    if not INSTALLED:
        return COURSE
    here = _here()
    return next((place for place in (*_around(here), here / SUBFOLDER) if _is_course(place)), COURSE)


def notebook_file(lab: str) -> Path:
    """The notebook of a lab in :func:`home`; it need not exist."""
    return home() / "notebooks" / f"{lab}.ipynb"


def prepare() -> tuple[Path, list[str]]:
    """The folder to serve, and sentences on what was done there.

    A checkout is left alone, a working copy is brought up to date, and an empty folder becomes one. Where there are
    other things, the working copy is a folder of its own among them.

    Raises:
        NotPossibleHere: the folder is gone or may not be written to, or its ``container-labs`` holds other things.
    """
    if not INSTALLED:
        return COURSE, []
    here = _here()
    try:
        folder = _place(here)
    except OSError as fault:
        raise _refused(here, fault) from fault
    said = [] if _is_checkout(folder) else update(folder)
    if folder.parent == here:
        said.insert(0, f"This folder holds other things, so the course has its own: {folder}.")
    return folder, said


def update(folder: Path) -> list[str]:
    """Bring a working copy's notebooks up to date, or make one; what the learner changed stays as it is.

    A notebook that is missing is put (back) there. One that is as it was given is replaced where this labkit's differs.
    One that was changed is kept, and this labkit's is put beside it under another name, once.

    Args:
        folder: made if missing.

    Returns:
        Sentences on what was done; empty where all was up to date.

    Raises:
        NotPossibleHere: something can't be read or written.
    """
    added: list[str] = []
    replaced: list[str] = []
    kept: list[str] = []
    try:
        folder.joinpath("notebooks").mkdir(parents=True, exist_ok=True)
        before = _read(folder)
        given, beside = dict(before["given"]), dict(before["beside"])
        for source in sorted(COURSE.joinpath("notebooks").glob("*.ipynb")):
            name, text = source.name, source.read_bytes()
            ours, target = _sum(text), folder / "notebooks" / source.name
            mine = _sum(target.read_bytes()) if os.path.lexists(target) else None
            if mine is None or (mine == given.get(name) and mine != ours):
                write_whole(target, text)
                (added if mine is None else replaced).append(source.stem)
            elif mine != ours:
                if ours not in (given.get(name), beside.get(name)):
                    other = _beside(target, ours, beside.get(name))
                    write_whole(other, text)
                    beside[name] = ours
                    kept.append(f"You have changed {name}, so it stays as it is. The newer one is {other.name}.")
                continue
            given[name] = ours
        if {"given": given, "beside": beside} != before:
            write_whole(folder / RECORD, json.dumps({"given": given, "beside": beside}, indent=1).encode())
    except OSError as fault:
        raise _refused(folder, fault) from fault
    said = [f"Copied to {folder / 'notebooks'}: {', '.join(added)}."] if added else []
    said += [f"Replaced by newer ones, as you had not changed them: {', '.join(replaced)}."] if replaced else []
    return said + kept


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as fault:
        raise NotPossibleHere("The folder that this shell is in is gone.", next_step=_ELSEWHERE) from fault


def _around(here: Path) -> tuple[Path, ...]:
    """Where a learner may stand: in the course's folder, or in its notebooks."""
    return (here, here.parent) if here.name == "notebooks" else (here,)


def _place(here: Path) -> Path:
    """The folder for the course, given where the learner is."""
    found = next((place for place in _around(here) if _is_course(place)), None)
    if found is not None or _is_empty(here):
        return found or here
    below = here / SUBFOLDER
    if os.path.lexists(below) and not (below.is_dir() and (_is_course(below) or _is_empty(below))):
        raise NotPossibleHere(
            f"{here} holds other things, and so does {SUBFOLDER} in it.",
            cause="The course wants a folder of its own.", next_step=_ELSEWHERE,
        )  # fmt: skip
    return below


def _is_checkout(folder: Path) -> bool:
    return os.path.isfile(folder / "labkit" / "__init__.py") and os.path.isfile(folder / "data" / "course.json")


def _is_course(folder: Path) -> bool:
    """A checkout or a working copy; one that lost its record on the way here is known by its notebooks."""
    names = [path.name for path in COURSE.joinpath("notebooks").glob("*.ipynb")]
    return os.path.isfile(folder / RECORD) or any(os.path.isfile(folder / "notebooks" / name) for name in names)


def _is_empty(folder: Path) -> bool:
    """Nothing but hidden files and virtual environments: what is there when a learner has just begun."""
    seen = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return all(os.path.isfile(path / "pyvenv.cfg") for path in seen)


def _beside(target: Path, ours: str, earlier: str | None) -> Path:
    """A name beside a notebook that is free, or that holds what labkit itself put there."""
    number = 1
    while True:
        path = target.with_name(f"{target.stem}.new{'' if number == 1 else f'-{number}'}.ipynb")
        if not os.path.lexists(path) or _sum(path.read_bytes()) in (ours, earlier):
            return path
        number += 1


def _read(folder: Path) -> dict[str, dict[str, str]]:
    """The record. Without one that can be read, every notebook that differs counts as the learner's."""
    try:
        found = json.loads((folder / RECORD).read_bytes())
        return {key: {str(name): str(was) for name, was in found[key].items()} for key in ("given", "beside")}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {"given": {}, "beside": {}}


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refused(folder: Path, fault: OSError) -> NotPossibleHere:
    return NotPossibleHere(
        f"The course can't be copied to {folder}.", cause=f"{fault.strerror or fault}: {fault.filename or folder}.",
        next_step=_ELSEWHERE,
    )  # fmt: skip
