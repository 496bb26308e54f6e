"""``lab.terminal()``: a shell on a lab's engine, in which what ``docker`` makes is the lab's and goes with it."""

import html
import json
import os
import shlex
from pathlib import Path
from typing import Any

import requests

from ..engine import Session
from ..engine.clients import settings_folder
from ..engine.dockercli import CREATES, program, with_labels
from ..engine.faults import explained
from ..files import Temporary
from .card import in_notebook

#: Seconds for the Jupyter server, which is on this machine.
PATIENCE = 3.0


class Terminal:
    """What a terminal of one session needs, in a folder of its own: a start file for bash, and a ``docker``.

    Without the folder, which goes when the kernel does, its ``docker`` refuses.
    """

    def __init__(self, session: Session, title: str):
        with explained(session.engine.endpoint):
            session.show_life()  # what is typed there lives as long as the session, which has to say that it does
        self.name = f"lab_{session.id}"
        self._held = Temporary()
        self.folder = Path(self._held.name)
        docker = self.folder / "docker"
        docker.write_text(_docker(program(session.engine), session.docker.lab_labels), encoding="utf-8")
        docker.chmod(0o700)
        self.rc = self.folder / "rc"
        self.rc.write_text(_rc(session, self.folder, title), encoding="utf-8")

    @property
    def line(self) -> str:
        """What to type in any terminal of this machine, to have this one there."""
        return shlex.join(["bash", "--rcfile", str(self.rc)])

    def open(self) -> bool:
        """Start the terminal in the Jupyter server that this kernel belongs to; False where none can be reached.

        One that runs already stays.
        """
        if _server("GET", self.name):
            return True
        command = ["bash", "--rcfile", str(self.rc), "-i"]
        return _server("POST", "", {"name": self.name, "shell_command": command, "cwd": str(Path.cwd())})

    def show(self) -> None:
        """A button that opens the terminal in JupyterLab; elsewhere, the line to paste."""
        sentence = "A terminal on this lab's engine: what docker makes there is the lab's, and goes with it."
        if not (in_notebook() and self.open()):
            print(f"{sentence} To have it, paste this line in a terminal:\n{self.line}")
            return
        from IPython.display import display

        arguments = html.escape(json.dumps({"name": self.name}))
        markup = (
            '<button class="jp-mod-styled jp-mod-accept" data-commandlinker-command="terminal:open" '
            f'data-commandlinker-args="{arguments}">Open the terminal</button> {html.escape(sentence)}'
            f"<br>In any other terminal: <code>{html.escape(self.line)}</code>"
        )
        display({"text/html": markup, "text/plain": f"{sentence}\n{self.line}"}, raw=True)

    def close(self) -> None:
        """End the terminal, with what runs in it, and remove its folder."""
        _server("DELETE", self.name)
        self._held.cleanup()


def _docker(real: str, labels: dict[str, str]) -> str:
    """A shell program: Docker's own command line, which puts the session's labels on what can carry them."""
    lines = ["#!/bin/sh", 'case "$1 $2" in']
    for words in CREATES:
        first = with_labels(["docker", *words], labels)[1:]
        pattern = f'"{" ".join(words)}"' if len(words) > 1 else f'"{words[0]} "*'
        lines.append(f'{pattern}) shift {len(words)}; exec {shlex.join([real, *first])} "$@" ;;')
    return "\n".join([*lines, "esac", f'exec {shlex.quote(real)} "$@"', ""])


def _rc(session: Session, folder: Path, title: str) -> str:
    """The start file: this user's own first, then the engine's address, as ``process_environment`` has it."""
    settings = {
        **session.engine.environment(),
        "DOCKER_CONFIG": str(settings_folder()),
        "COMPOSE_PROJECT_NAME": session.name("compose"),
        "SESSION": session.id,
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    docker = shlex.quote(str(folder / "docker"))
    closed = "echo 'The lab of this terminal is closed. Open it again: lab.terminal() gives a new one.' >&2; return 1"
    lines = [
        "[ -f ~/.bashrc ] && . ~/.bashrc",
        "unalias docker 2>/dev/null; unset -f docker",
        "unset ${!DOCKER_*} ${!BUILDX_*} ${!BUILDKIT_*} ${!COMPOSE_*}",
        *exports,
        f'PATH={shlex.quote(str(folder))}:"$PATH"; hash -r',
        # A terminal outlives a lab whose kernel was killed: another docker of this machine would put no labels there.
        f'docker() {{ if [ -x {docker} ]; then {docker} "$@"; else {closed}; fi; }}; export -f docker',
        f"PS1={shlex.quote(f'({title}) ')}'\\w\\$ '",
        "echo 'docker talks to the engine of this lab. What it makes is removed with the lab.'",
        "echo 'Let names end in -$SESSION: then they meet nobody else'\\''s.'",
    ]
    return "\n".join([*lines, ""])


def _server(method: str, name: str, body: dict[str, Any] | None = None) -> bool:
    """Ask the Jupyter server that started this kernel for its terminals; False where there is none, or it says no.

    Its address and token are in a file that only this user can read (jupyter_server: ``jpserver-PID.json``); a kernel
    knows the process that started it (ipykernel: ``JPY_PARENT_PID``).
    """
    from jupyter_core.paths import jupyter_runtime_dir

    record = Path(jupyter_runtime_dir(), f"jpserver-{os.environ.get('JPY_PARENT_PID')}.json")
    try:
        server = json.loads(record.read_text(encoding="utf-8"))
        with requests.Session() as asks:
            asks.trust_env = False  # no proxy stands between
            answer = asks.request(
                method, f"{server['url']}api/terminals" + (f"/{name}" if name else ""), json=body,
                headers={"Authorization": f"token {server['token']}"}, timeout=PATIENCE,
            )  # fmt: skip
            return answer.ok
    except (OSError, ValueError, KeyError):  # requests' own faults are OSErrors
        return False
