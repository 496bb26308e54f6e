"""A JupyterHub as it is, on loopback: several users of this machine, each with a server and an engine of their own."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import requests

from labkit.paths import COURSE
from labkit.waiting import wait_until

from ..users import processes

#: What the test's hub has beside deploy/jupyterhub_config.py: who may log in, and where everything is.
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "{password}"
c.Authenticator.allowed_users = {names!r}
c.JupyterHub.spawner_class = "localprocess"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/secret"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
load_subconfig("{deployed}")
c.Spawner.start_timeout = c.Spawner.http_timeout = 600
"""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody has just now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def proxy(folder: Path) -> str:
    """npm's configurable-http-proxy: the one that is installed, else one in a folder."""
    if found := shutil.which("configurable-http-proxy"):
        return found
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "configurable-http-proxy@5"],
        check=True, timeout=600,
    )  # fmt: skip
    return str(folder / "node_modules/.bin/configurable-http-proxy")


class Hub:
    """One ``jupyterhub`` process; ``address`` is where it is, ``password`` everybody's.

    Args:
        folder: its own.
        bin: the ``bin`` of everybody's virtual environment.
        cache: the engine that was imported for everybody.
        names: the users who learn; the first word of ``instructor`` sees the board.
    """

    def __init__(self, folder: Path, bin: Path, cache: Path, names: list[str], instructor: str):
        self.password = secrets.token_hex(8)
        port, hub_port, proxy_port, class_port = free_ports(4)
        self.address = f"http://127.0.0.1:{port}"
        self._log = (folder / "hub.log").open("w+")
        (folder / "config.py").write_text(
            CONFIG.format(
                port=port, hub_port=hub_port, proxy_port=proxy_port, proxy=proxy(folder),
                password=self.password, names={*names, instructor}, folder=folder,
                deployed=COURSE / "deploy/jupyterhub_config.py",
            )
        )  # fmt: skip
        variables = {
            "PATH": f"{bin}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8",
            "LABKIT_PROGRAM": str(bin / "labkit"), "LABKIT_SHARED_CACHE": str(cache),
            "LABKIT_INSTRUCTORS": instructor, "LABKIT_CLASS_USER": names[0],
            "LABKIT_CLASS_URL": f"http://127.0.0.1:{class_port}",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [bin / "jupyterhub", "--config", folder / "config.py"], cwd=folder, env=variables,
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        wait_until(self._answers, 180, lambda: AssertionError(self.said()))

    def _answers(self) -> bool:
        # Its proxy answers on when it is gone.
        assert self.process.poll() is None, self.said()
        try:
            return requests.get(f"{self.address}/hub/api", timeout=5).ok
        except requests.RequestException:
            return False

    def said(self) -> str:
        """The hub's log so far, its users' servers' included."""
        return Path(self._log.name).read_text(errors="replace")

    def close(self) -> None:
        """End the hub, its proxy, and its users' servers."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(120)
        finally:
            self._log.close()


def log_in(page, hub: Hub, name: str, to: str) -> None:
    """Log in as a user of the hub, and go to one of its pages."""
    page.goto(f"{hub.address}/hub/login?next={to}")
    page.fill("#username_input", name)
    page.fill("#password_input", hub.password)
    page.click("#login_submit")


class Usage:
    """What a user's processes take of the machine, since this was made."""

    def __init__(self, uid: int):
        self.uid, self.began = uid, time.monotonic()

    def row(self) -> dict[str, float]:
        """MiB (proportional set size) of engine, kernel and server; their processor seconds; seconds since the beginning."""
        found = {"engine": 0.0, "kernel": 0.0, "server": 0.0, "processor": 0.0}
        for each in processes(self.uid):
            try:
                words, used = " ".join(each.cmdline()), each.cpu_times()
                kind = "engine" if "qemu-system" in words else "kernel" if "ipykernel_launcher" in words else "server"
                found[kind] += each.memory_full_info().pss / 2**20
                found["processor"] += used.user + used.system
            except psutil.NoSuchProcess:
                continue
        return {**found, "seconds": time.monotonic() - self.began}


def engine_port(uid: int) -> int:
    """The loopback port of the one engine that a user runs."""
    lines = [" ".join(each.cmdline()) for each in processes(uid) if each.name().startswith("qemu-system")]
    ports = [found[1] for line in lines if (found := re.search(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-", line))]
    assert len(ports) == 1, lines
    return int(ports[0])
