"""``labkit lab``: an engine first, then JupyterLab with a lab in front."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..course import resolve
from ..errors import NotPossibleHere
from ..paths import home, runtime_dir
from ..workingcopy import prepare
from .common import Ended, add_engine, opened, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", nargs="?", default="00", help="number or name of the lab to open; default: 00")
    parser.add_argument("--port", type=int, default=8888, help="JupyterLab's port; the next free one if it is taken")
    parser.add_argument("--ip", default="127.0.0.1", help="address to listen on; default: this machine only")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    parser.add_argument("--projector", action="store_true", help="larger type and figures, for the back row")
    parser.add_argument("--hub", action="store_true", help="as a JupyterHub's single-user server, which the hub starts")
    add_engine(parser)


#: JupyterLab's theme settings with --projector: a third larger than its own 13, 14 and 13 pixels.
PROJECTED = {"ui-font-size1": "16px", "content-font-size1": "19px", "code-font-size": "18px"}


def project(folder: str) -> dict[str, str]:
    """What makes JupyterLab and new figures larger for this once: its settings are a copy of the user's, in ``folder``.

    (JupyterLab takes a theme's larger type from nobody's settings but the user's own.)
    """
    from jupyterlab.commands import get_user_settings_dir

    place, own = Path(folder, "projector"), Path(get_user_settings_dir())
    if own.is_dir():
        shutil.copytree(own, place)
    themes = place / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    themes.parent.mkdir(parents=True, exist_ok=True)
    try:
        before = json.loads(themes.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or with comments
        before = {}
    themes.write_text(json.dumps({**before, "overrides": PROJECTED}), encoding="utf-8")
    return {"JUPYTERLAB_SETTINGS_DIR": str(place), "LABKIT_FIGURES": "1.35"}


def hub_command(lab: str) -> tuple[list[str], Path]:
    """The command line of a JupyterHub's single-user server on the course, and the folder to serve.

    The hub says the rest in the environment. The engine starts with the first cell. Where the user's home can't be
    written, what they do lasts as long as this server.

    Raises:
        NotPossibleHere: no hub has started this program.
    """
    if not os.environ.get("JUPYTERHUB_API_TOKEN"):
        raise NotPossibleHere("labkit lab --hub is started by a JupyterHub.", next_step="Without a hub: labkit lab")
    try:
        os.chdir(home())
        folder, said = prepare()
    except (OSError, NotPossibleHere) as reason:
        os.environ["HOME"] = str(runtime_dir("home"))
        os.chdir(home())
        folder, said = prepare()
        said.insert(0, f"The home can't be used ({reason}): this user's work lasts as long as the server.")
    for sentence in said:
        say(sentence)
    line = [sys.executable, "-m", "jupyterhub.singleuser", f"--ServerApp.root_dir={folder}"]
    if not os.environ.get("JUPYTERHUB_DEFAULT_URL"):
        line.append(f"--ServerApp.default_url=/lab/tree/notebooks/{lab}.ipynb")
    return line, folder


def command(folder: Path, lab: str, *, port: int, ip: str, browser: bool) -> list[str]:
    """The JupyterLab command line: a token as always, and one of the folder's notebooks in front."""
    line = [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/notebooks/{lab}.ipynb",
        f"--ServerApp.port={port}",
        f"--ServerApp.ip={ip}",
    ]  # fmt: skip
    if not browser:
        line.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        line.append("--allow-root")  # Jupyter asks root to say so; a container's user often is root
    return line


def environment(workspaces: str, engine: str | None = None) -> dict[str, str]:
    """This process's environment with the course's Jupyter settings (no news pop-up) put in front.

    ``workspaces`` is a fresh folder: JupyterLab would else put the tabs of last time in front.
    """
    added = {"JUPYTERLAB_WORKSPACES_DIR": workspaces}
    settings = str(Path(__file__).resolve().parent.parent / "jupyter")
    earlier = os.environ.get("JUPYTER_CONFIG_PATH")
    added["JUPYTER_CONFIG_PATH"] = settings + (os.pathsep + earlier if earlier else "")
    if engine:
        added["LABKIT_ENGINE"] = engine
    return {**os.environ, **added}


def main(options: argparse.Namespace) -> int:
    entry = resolve(options.lab)
    if options.hub:
        return serve(*hub_command(entry.lab), options.engine, options.projector)
    folder, said = prepare()
    for sentence in said:
        say(sentence)
    if not (folder / "notebooks" / f"{entry.lab}.ipynb").exists():
        raise NotPossibleHere(f"The notebook of lab {entry.lab} is not in {folder}.", next_step="git pull")
    with opened(entry.lab, options.engine) as lab:
        for name in ("labkit/busybox:1", "labkit/python:1"):
            lab.context.image(name)
        say(f"Live: {lab.facts.name} {lab.facts.version} ({lab.facts.kind}, {lab.facts.endpoint})")
    browser = not options.no_browser
    line = command(folder, entry.lab, port=options.port, ip=options.ip, browser=browser)
    return serve(line, folder, options.engine, options.projector)


def serve(line: list[str], folder: Path, engine: str | None, projector: bool = False) -> int:
    """Run JupyterLab until it has ended and tidied up; returns its exit status.

    Ctrl-C at a terminal reaches it, too: it asks back, and whoever answers no goes on. TERM, HUP, and an interrupt where
    there is no terminal to ask at, are passed on as TERM.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-jupyter-") as workspaces:
        if projector:
            os.environ.update(project(workspaces))
        jupyter = subprocess.Popen(line, env=environment(workspaces, engine), cwd=folder)
        while True:
            try:
                status = jupyter.wait()
                return status if status >= 0 else 128 - status
            except KeyboardInterrupt as sign:
                if isinstance(sign, Ended) or not sys.stdin.isatty():
                    jupyter.terminate()
