"""``labkit bundle``: the course in one file, for a room without a network: Python packages, notebooks, an engine."""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from .. import __version__
from ..engine import embedded
from ..errors import BadInput, LabError, NotPossibleHere
from ..files import telling
from ..paths import COURSE, INSTALLED, text_beside
from ..units import show_size
from .common import add_json, say, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to write, such as room.tar")
    parser.add_argument(
        "--exported", type=Path, metavar="ENGINE", help="take this exported engine instead of one made now"
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    target: Path = options.file
    if target.is_dir() or not target.absolute().parent.is_dir():
        what = f"{target} is a folder" if target.is_dir() else f"There is no folder {target.parent}"
        raise BadInput(f"{what}.", next_step="Name a file in a folder that exists, such as room.tar")
    if options.exported:
        embedded.check(options.exported)  # not in the room, where nobody has another
    if INSTALLED:
        raise NotPossibleHere("A bundle is made from a checkout of the course.", next_step="git clone, then make setup")
    with (
        telling("", target.parent),
        tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".bundle-") as made,
    ):
        room = Path(made, "room")
        _wheels(room / "wheels")
        _engine(room / "engine.labkit", options.exported)
        facts = _seal(room)
        say(f"Writing {target}")
        aside = Path(made, "room.tar")
        with tarfile.open(aside, "w") as tar:
            tar.add(room, "room", filter=_nobodys)
        aside.replace(target)
    facts = {"path": str(target.resolve()), "bytes": target.stat().st_size, **facts}
    typed = f"tar -xf {target.name} && room/install"
    tell(options, facts, f"Bundled: {facts['path']}, {show_size(facts['bytes'])}. On the other machine: {typed}")
    return 0


def _wheels(folder: Path) -> None:
    """labkit, what it needs, and pip, for this Python and processor (a venv needs no ensurepip, then).

    Raises:
        LabError: pip says why.
    """
    say("Collecting Python packages")
    # The build would leave build/ and an egg-info in a checkout that others work in.
    with tempfile.TemporaryDirectory() as copy:
        names = ("labkit", "notebooks", "data", "pyproject.toml", "setup.py", "README.md")
        for name in names:
            source, goal = COURSE / name, Path(copy, name)
            if source.is_dir():
                shutil.copytree(source, goal, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, goal)
        line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), copy, "pip"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it gave no reason").splitlines()[-1]
        raise LabError(f"pip can't collect the Python packages: {said}", next_step="Is there a network? labkit doctor")


def _engine(target: Path, exported: Path | None) -> None:
    from .. import images
    from ..engine import clients
    from ..engine.embedded import host, programs

    if exported:
        shutil.copyfile(exported, target)
        return
    # So that the docker command line and QEMU travel along, also where this machine has its own.
    clients.typing()
    try:
        programs.ensure(host.qemu_kit())
    except LabError as reason:
        say(f"The other machine needs a QEMU of its own: {reason}")
    embedded.export(target, images=images.archives)


def _seal(room: Path) -> dict[str, Any]:
    """Add the program that installs, and the table that it compares with."""
    (room / "install").write_text(text_beside(__file__, "bundle_install.py"), encoding="utf-8")
    (room / "install").chmod(0o755)
    files = sorted(path for path in room.rglob("*") if path.is_file() and path.name != "install")
    facts = {
        "labkit": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": platform.system(),
        "processor": platform.machine(),
        "libc": platform.libc_ver()[1],
    }
    sums = {path.relative_to(room).as_posix(): [path.stat().st_size, _sum(path)] for path in files}
    (room / "room.json").write_text(json.dumps({**facts, "files": sums}, indent=1), encoding="utf-8")
    return facts


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    # Whoever unpacks it owns it.
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or os.path.basename(entry.name) == "install" else 0o644
    return entry
