"""Sees the engine's machine: a helper container there, and this end of its line.

The engine's machine is often not the notebook's (Docker Desktop, a VM, a remote host), so
processes, cgroup files, the kernel's log and tracepoints are read by a helper on that engine.
It asks for the capabilities it needs by name, never for ``--privileged``, has no network, and
ends when the kernel's connection does.
"""

from __future__ import annotations

import io
import itertools
import json
import queue
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from .. import images
from ..engine.attached import AttachedStream
from ..engine.client import remove_container
from ..engine.faults import explained
from ..engine.session import ROLE, Session
from ..errors import EngineGone, LabError, NotPossibleHere

AGENT = Path(__file__).with_name("agent")

#: What the helper may do, and why.
CAPABILITIES = {
    "SYS_ADMIN": "mount tracefs",
    "SYS_PTRACE": "read other processes' namespaces and programs",
    "SYSLOG": "read the kernel's log",
    "DAC_READ_SEARCH": "read files of other users in /proc",
}


class Stream:
    """A request that answers bit by bit: iterate over it, then ask for its ``result()``."""

    def __init__(self, observer: Observer, number: int):
        self._observer = observer
        self._number = number
        self._queue: queue.Queue = queue.Queue()
        self._result: Any = None
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        while not self._ended:
            chunk = self.next(timeout=None)
            if chunk is not None:
                yield chunk

    def next(self, timeout: float | None = 1.0) -> Any:
        """The next chunk; None after ``timeout`` seconds or at the end."""
        if self._ended:
            return None
        try:
            message = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if "more" in message:
            return message["more"]
        self._ended = True
        if "error" in message:
            raise NotPossibleHere(f"The observer could not do this: {message['error']}.")
        self._result = message["done"]
        return None

    @property
    def ended(self) -> bool:
        return self._ended

    def stop(self) -> None:
        """Ask the operation to end; what it still has comes through the iteration."""
        self._observer._send({"op": "stop", "target": self._number})

    def result(self, timeout: float = 30.0) -> Any:
        """Drop what is left of the stream and return the final answer.

        Raises:
            NotPossibleHere: the operation failed on the engine's machine.
            EngineGone: no answer within ``timeout`` seconds.
        """
        while not self._ended:
            if self.next(timeout) is None and not self._ended:
                raise EngineGone("The observer did not answer in time.", next_step="Run the cell again.")
        return self._result


class Observer:
    """The helper container of one session, started when first asked something."""

    #: The helper's role, which is also its name (``labkit-observer-…``).
    role = "observer"

    def __init__(self, session: Session):
        self._session = session
        self._numbers = itertools.count(1)
        self._streams: dict[int, Stream] = {}
        self._line: AttachedStream | None = None
        self._starting = threading.Lock()
        self._ready = threading.Event()
        self.container_id = ""

    def _start(self) -> None:
        with self._starting:
            if self._line is not None:
                return
            api = self._session.docker.api
            with explained(self._session.engine.endpoint):
                # An earlier helper whose line broke, as it does when the daemon is restarted, may live on.
                self._discard()
                image = images.ensure(self._session.docker, images.PYTHON)
                made = api.create_container(
                    image,
                    ["python3", "-u", "/opt/agent/main.py"],
                    name=self._session.name(f"labkit-{self.role}"),
                    stdin_open=True,
                    labels={ROLE: self.role},
                    host_config=self._host_config(api),
                )
                self.container_id = made["Id"]
                api.put_archive(self.container_id, "/", _agent_archive(self.container_id))
                self._prepare(api)
                self._line = AttachedStream(api, self.container_id)
                api.start(self.container_id)
            threading.Thread(target=self._listen, daemon=True, name="labkit-observer").start()
        if not self._ready.wait(60):
            raise EngineGone("The observer did not start.", engine=self._session.engine.endpoint)

    def _prepare(self, api) -> None:
        """What else is put into the helper before it starts; nothing here."""

    def _host_config(self, api) -> dict:
        config = api.create_host_config(
            network_mode="none",
            pid_mode="host",
            cap_add=list(CAPABILITIES),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            binds=["/sys/fs/cgroup:/host/cgroup"],
            devices=["/dev/kmsg:/dev/kmsg:r"],
            # When the machine runs out, the observer should live to see it. Lowering a score takes
            # CAP_SYS_RESOURCE, which a host engine may itself lack.
            oom_score_adj=-500 if self._session.engine.owned else None,
        )
        # Its own cgroup must be seen by the name that the machine uses; docker-py has no argument
        # for that before API 1.41.
        config["CgroupnsMode"] = "host"
        return config

    def _listen(self) -> None:
        trouble: list[str] = []
        for kind, line in self._line.lines():
            if kind == 2:
                trouble.append(line)
                continue
            message = json.loads(line)
            if message["id"] == 0:
                self._ready.set()
                continue
            stream = self._streams.get(message["id"])
            if stream:
                stream._queue.put(message)
            if "more" not in message:
                self._streams.pop(message["id"], None)
        reason = f"the observer ended ({trouble[-1]})" if trouble else "the observer ended"
        self._line = None
        for stream in list(self._streams.values()):
            stream._queue.put({"error": reason})
        self._ready.set()

    def _send(self, message: dict) -> None:
        if self._line is not None:
            self._line.send(json.dumps(message))

    def stream(self, operation: str, **arguments) -> Stream:
        """Start an operation of the agent that answers bit by bit.

        Raises:
            NotPossibleHere: the helper can't run on this engine.
            EngineGone: the engine has stopped answering.
        """
        if self._line is None:
            self._ready.clear()
            self._start()
        number = next(self._numbers)
        stream = self._streams[number] = Stream(self, number)
        self._send({"id": number, "op": operation, "args": arguments})
        return stream

    def call(self, operation: str, *, timeout: float = 30.0, **arguments) -> Any:
        """Run an operation of the agent and return its answer."""
        return self.stream(operation, **arguments).result(timeout)

    def close(self) -> None:
        """End the helper; the session removes its container."""
        if self._line is not None:
            self._line.close()

    def remove(self) -> None:
        """End the helper and remove its container now, not with the session."""
        self.close()
        with explained(self._session.engine.endpoint):
            self._discard()

    def _discard(self) -> None:
        if not self.container_id:
            return
        try:
            remove_container(self._session.docker.containers.get(self.container_id))
        except NotFound:
            pass  # gone already
        self.container_id = ""

    # The operations by name, so that experiments read well.

    def machine(self) -> dict:
        """Kernel, boot id, processors and memory (bytes) of the engine's machine."""
        return self.call("machine")

    def processes(self, pids: list[int] | None = None) -> list[dict]:
        """Processes on the engine's machine, each with parent, namespaces and program."""
        return self.call("processes", pids=pids)

    def cgroup_files(self, container: str, names: list[str], **where) -> dict:
        """Files of a container's cgroup; see the agent's ``cgroup_files``."""
        return self.call("cgroup_files", container=container, names=names, **where)

    def kernel_log(self, since: float, pattern: str, wait: float = 0.0) -> list[tuple[float, str]]:
        """Kernel log lines since a monotonic time (s) that match; empty where the log can't be read."""
        try:
            rows = self.call("kmsg", since=since, pattern=pattern, wait=wait, timeout=wait + 30)
        except LabError:
            return []
        return [(stamp, line) for stamp, line in rows]


def _agent_archive(container_id: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(AGENT.glob("*.py")):
            tar.add(path, f"opt/agent/{path.name}")
        name = tarfile.TarInfo("etc/labkit-container-id")
        name.size = len(container_id)
        tar.addfile(name, io.BytesIO(container_id.encode()))
    return buffer.getvalue()
