"""The embedded engine as labkit sees it: an engine that a lab owns and may break."""

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import EngineGone, LabError
from ...waiting import wait_until
from .. import faults
from ..base import OwnedEngine
from .machine import SERVICE, Machine, client_context, ping
from .qemu import Shape

_SETTINGS = "/etc/docker/daemon.json"


class EmbeddedEngine(OwnedEngine):
    """A Docker Engine in a micro virtual machine of this process's own.

    It stops with :meth:`close`, at the latest when this process ends. (One that ``labkit engine up``
    started belongs to no process: closing it only lets go of it.)
    """

    kind = "embedded"

    def __init__(self, machine: Machine, shape: Shape, build: Path):
        self._machine = machine
        #: The folder of its build, and of its own running machine.
        self.build = build
        self.folder = machine.folder
        self.shape = shape
        self.emulated = shape.emulated
        self.endpoint = f"tcp://127.0.0.1:{machine.port}"
        self.found_by = "started by labkit"
        faults.tell_of(machine.port, lambda: None if machine.alive() else machine.gone())

    def __repr__(self) -> str:
        return f"<EmbeddedEngine {self.endpoint}{'' if self.alive() else ' (gone)'}>"

    # -- reaching it

    def environment(self) -> dict[str, str]:
        return {
            "DOCKER_HOST": self.endpoint,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self._machine.keys.folder),
        }

    def client_options(self) -> dict[str, Any]:
        from .client import LoopbackTLS

        return {"base_url": self.endpoint.replace("tcp", "https", 1), "tls": LoopbackTLS(self._machine.keys)}

    def cli_path(self) -> str | None:
        """As every engine's; where labkit's own can't be had and none is installed, the machine's."""
        return super().cli_path() or str(self.build / "docker")

    # -- its machine

    def alive(self) -> bool:
        """Whether its machine still runs (dockerd may be stopped all the same)."""
        return self._machine.alive()

    def pid(self) -> int:
        """The number of its QEMU process on the notebook's machine."""
        return self._machine.pid()

    def tell_time(self) -> None:
        self._machine.tell_time()

    def shell(self, command: str, *, timeout: float = 60.0, check: bool = True) -> str:
        status, output = self._machine.shell(command, timeout)
        if check and status:
            raise LabError(
                f"A command on the engine's machine ended with status {status}: {command[:200]!r}.",
                cause=output.strip()[-500:],
                engine=self.endpoint,
            )
        return output

    def console(self, lines: int = 200) -> str:
        return "\n".join(self._machine.console().splitlines()[-lines:])

    # -- its daemons

    @contextlib.contextmanager
    def live_restore(self) -> Iterator[None]:
        before = self.shell(f"cat {_SETTINGS}")
        self._set({**json.loads(before), "live-restore": True})
        try:
            yield
        finally:
            if self.alive():  # nothing to put back on a machine that is gone
                # dockerd takes notice of what the file says, and not of what it says no longer.
                self._set({**json.loads(before), "live-restore": False})
                self.shell(f"printf %s {shlex.quote(before)} > {_SETTINGS}")

    def _set(self, settings: dict[str, Any]) -> None:
        """Give dockerd these settings: it reads them at once, or when it starts."""
        self.shell(f"printf %s {shlex.quote(json.dumps(settings, indent=2))} > {_SETTINGS}")
        if "dockerd running" in self.shell(f"{SERVICE} status"):
            self.shell("kill -HUP $(cat /run/labkit/dockerd.pid)")
            info = "docker -H unix:///run/docker.sock info --format '{{.LiveRestoreEnabled}}'"
            wanted = str(settings["live-restore"]).lower()
            self._wait("dockerd", lambda: self.shell(info, check=False).strip() == wanted)

    def stop_dockerd(self) -> None:
        self.shell(f"{SERVICE} stop dockerd")

    def kill_dockerd(self) -> None:
        self.shell(f"{SERVICE} kill dockerd")

    def start_dockerd(self) -> None:
        self.shell(f"{SERVICE} start dockerd")
        self._wait("dockerd", self._dockerd_answers)

    def stop_containerd(self) -> None:
        self.shell(f"{SERVICE} stop containerd")

    def kill_containerd(self) -> None:
        self.shell(f"{SERVICE} kill containerd")

    def start_containerd(self) -> None:
        self.shell(f"{SERVICE} start containerd")
        self._wait("containerd", lambda: "Server:" in self.shell("ctr version 2>&1", check=False))
        if "dockerd running" in self.shell(f"{SERVICE} status"):
            # dockerd looks for it again every few seconds only; until then it can start no container.
            self._wait("dockerd", self._dockerd_sees_containerd)

    def _dockerd_answers(self) -> bool:
        return ping(self._machine.port, client_context(self._machine.keys))

    def _dockerd_sees_containerd(self) -> bool:
        # dockerd lists containerd among its components when it could ask it for its version.
        command = "docker -H unix:///run/docker.sock version --format '{{range .Server.Components}}{{.Name}} {{end}}'"
        return "containerd" in self.shell(command, check=False)

    def _wait(self, name: str, answers: Callable[[], bool], limit: float = 120.0) -> None:
        def late() -> EngineGone:
            return EngineGone(
                f"{name} was started, but did not answer within {limit:.0f} s.",
                cause=self.shell(f"tail -n 3 /var/log/{name}.log", check=False).strip(),
                next_step="Take a fresh engine: own = lab.own(), then run the cell again.",
                engine=self.endpoint,
            )

        wait_until(lambda: answers() or not self.alive(), limit, late)
        if not self.alive():
            raise self._machine.gone()

    def close(self) -> None:
        self._machine.close()
