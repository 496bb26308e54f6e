"""What machines leave whose notebook was killed: their folders, and a QEMU that outlived its keeper."""

import os
import shutil
import signal
import time
from pathlib import Path

from ... import files
from ...paths import runtime_dir


def clear() -> list[str]:
    """Remove what dead machines of this user left; returns a line for each.

    A machine whose lock nobody holds is dead: its folder goes. One that runs though its owner and
    keeper are gone is ended first.
    """
    done = []
    for folder in runtime_dir().glob("m*"):
        try:
            fresh = time.time() - folder.stat().st_mtime < 60
        except OSError:
            continue  # its keeper has cleared it just now
        if files.taken(folder / "lock"):
            if _orphan(folder):
                done.append(f"Ended a machine that its notebook had left behind ({folder.name}).")
                shutil.rmtree(folder, ignore_errors=True)
        elif not fresh:  # a fresh one may be about to take its lock
            shutil.rmtree(folder, ignore_errors=True)
            done.append(f"Removed {folder}, left by a machine that is gone.")
    return done


def _orphan(folder: Path) -> bool:
    # End a QEMU that outlived both its owner and its keeper; only one that really is this folder's.
    try:
        owner, pid = (
            int((folder / "owner").read_text(encoding="utf-8")),
            int((folder / "pid").read_text(encoding="utf-8")),
        )
        theirs = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        keeper = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    mark = str(folder).encode()
    if Path(f"/proc/{owner}").exists() or mark not in theirs or mark in keeper:
        return False
    os.kill(pid, signal.SIGKILL)
    return True
