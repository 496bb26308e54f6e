#!/usr/bin/env python3
"""Install the course from this folder and open it, as an ordinary user, no network: room/install [--no-lab] [FOLDER].

It stands alone: labkit is what it installs. What it asks of Python is little, so that an old one gets its sentence, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from typing import Any, NoReturn


def stop(sentence: str) -> NoReturn:
    """End with a sentence."""
    sys.exit("install: " + sentence)


def fits(room: str, facts: dict[str, Any]) -> None:
    """End unless this machine is one that the bundle is for; start its Python where it is another than this one."""
    here = [platform.system(), platform.machine()]
    if here != [facts["system"], facts["processor"]]:
        stop(
            f"this bundle is for {facts['system']} on {facts['processor']}; this machine is {' on '.join(here)}. "
            "Make it on a machine like this one."
        )
    # Wheels are for 3.11 or for 3.12; and some that pip chose for 3.11.9 refuse 3.11.2.
    first, second, third = map(int, facts["python"].split("."))
    if sys.version_info[:2] != (first, second) or sys.version_info[2] < third:
        other = shutil.which(f"python{first}.{second}")
        if not other or os.environ.get("LABKIT_INSTALLING"):
            stop(
                f"this bundle is for Python {first}.{second}, {facts['python']} or later; here is "
                f"{platform.python_version()}. Make it with a Python like this one's."
            )
        os.environ["LABKIT_INSTALLING"] = "1"
        os.execv(other, [other, os.path.join(room, "install"), *sys.argv[1:]])


def whole(room: str, files: dict[str, Any]) -> None:
    """End unless each file is there as it was made."""
    for name, (size, digest) in sorted(files.items()):
        path = os.path.join(room, name)
        found = hashlib.sha256()
        if os.path.isfile(path) and os.path.getsize(path) == size:
            with open(path, "rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    found.update(block)
        if found.hexdigest() != digest:
            stop(f"{name} is missing or damaged: the bundle was not copied as a whole. Copy and unpack it again.")


def main() -> None:
    """Look, then install; each step can be done again."""
    room = os.path.dirname(os.path.abspath(__file__))
    words = [word for word in sys.argv[1:] if word != "--no-lab"]
    home = os.path.abspath(words[0] if words else os.path.expanduser("~/container-labs"))
    try:
        with open(os.path.join(room, "room.json"), encoding="utf-8") as stream:
            facts = json.load(stream)
        fits(room, facts)
        whole(room, facts["files"])
        os.makedirs(home, exist_ok=True)
        free, needed = shutil.disk_usage(home).free, 4 * sum(size for size, _ in facts["files"].values())
        if free < needed:
            stop(
                f"{home} has {free / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed. "
                "Name another folder: room/install FOLDER"
            )
        venv, wheels = os.path.join(home, ".venv"), os.path.join(room, "wheels")
        pip = next(name for name in os.listdir(wheels) if name.startswith("pip-"))
        python = os.path.join(venv, "bin", "python")
        print("Installing into " + home, flush=True)
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", "--without-pip", venv])
        options = ["--quiet", "--no-index", "--no-cache-dir", "--find-links", wheels, "labkit"]
        subprocess.check_call([python, os.path.join(wheels, pip, "pip"), "install"] + options)
        labkit = os.path.join(venv, "bin", "labkit")
        subprocess.check_call(
            [labkit, "engine", "import", os.path.join(room, "engine.labkit")], stdout=sys.stderr, cwd=home
        )
    except subprocess.CalledProcessError as fault:
        stop("a step failed (why stands above): " + " ".join(fault.cmd))
    except KeyboardInterrupt:
        stop("interrupted; start it again, it begins anew.")
    except (OSError, ValueError, KeyError) as fault:
        stop(f"{fault}. Is the disk full, or was the bundle not copied as a whole?")
    print(f"Installed. Another time: cd {home} && .venv/bin/labkit lab", flush=True)
    if len(words) == len(sys.argv) - 1:
        os.chdir(home)
        os.execv(labkit, [labkit, "lab"])


if __name__ == "__main__":
    main()
