"""A helper container on the engine's machine, and this end of its line.

What a notebook can't do itself, because the engine's machine is often not its own (Docker Desktop, a VM, a remote
host), a program in a container there does. All helpers run one program (``agent/main.py``), with those of its
modules that they need, and have one life: they start when first asked something, start again when they have
ended, tell their last words when something waits for them, and end when the kernel's connection does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import threading
from collections import deque
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import NotFound

from .. import images
from ..engine.attached import AttachedStream
from ..engine.client import remove_container
from ..engine.faults import explained
from ..engine.session import ROLE, Session
from ..errors import EngineGone, LabError, NotPossibleHere
from ..images.archive import layer_from_files
from ..waiting import wait_until

AGENT = Path(__file__).with_name("agent")


class Stream:
    """A request that answers bit by bit: take what comes with ``next()``, then ask for its ``result()``."""

    def __init__(self, life: Life, number: int):
        self._life = life
        self._number = number
        self._queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._result: Any = None
        self.ended = False

    def next(self, timeout: float | None = 1.0) -> Any:
        """The next chunk; None after ``timeout`` seconds or at the end.

        Raises:
            NotPossibleHere: the operation failed on the engine's machine.
            EngineGone: the helper has ended.
        """
        if self.ended:
            return None
        try:
            message = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if "more" in message:
            return message["more"]
        self.ended = True
        if "error" in message:
            raise NotPossibleHere(f"The {self._life.role} could not do this: {message['error']}.")
        if "done" not in message:
            raise self._life.gone()
        self._result = message["done"]
        return None

    def stop(self) -> None:
        """Ask the operation to end; what it still has comes all the same."""
        if not self.ended:
            with contextlib.suppress(EngineGone):  # then it has ended with its helper
                self._life.send({"op": "stop", "target": self._number})

    def result(self, timeout: float = 30.0) -> Any:
        """Drop what is left of the stream and return the final answer.

        Raises:
            NotPossibleHere: the operation failed on the engine's machine.
            EngineGone: no answer within ``timeout`` seconds.
        """
        while not self.ended:
            if self.next(timeout) is None and not self.ended:
                raise EngineGone(f"The {self._life.role} did not answer in time.", cause=self._life.last_words(),
                                 next_step="Run the cell again.")  # fmt: skip
        return self._result


class Life:
    """One life of a helper, from the start of its container to its end: its line, and who waits for what.

    Its program answers request 0, which nobody sends, as soon as it listens: see ``ready``.
    """

    def __init__(self, role: str, api: APIClient, container: str):
        self.role, self._api, self._container = role, api, container
        self.ended = False
        self._words: deque[str] = deque(maxlen=3)
        self._numbers = itertools.count()
        self._waiting: dict[int, Stream] = {}
        self.ready = self._wait()
        self._line = AttachedStream(api, container)
        self.close = self._line.close
        threading.Thread(target=self._listen, daemon=True, name=f"labkit-{role}").start()

    def _wait(self) -> Stream:
        number = next(self._numbers)
        stream = self._waiting[number] = Stream(self, number)
        return stream

    def _listen(self) -> None:
        for kind, line in self._line.lines():
            if kind == 2 or not line.startswith("{"):
                self._words.append(line)
                continue
            message = json.loads(line)
            stream = self._waiting.get(message["id"])
            if "more" not in message:
                self._waiting.pop(message["id"], None)
            if stream is not None:
                stream._queue.put(message)
        self.ended = True
        for stream in list(self._waiting.values()):
            stream._queue.put({})

    def send(self, message: dict[str, Any]) -> None:
        """Write one request.

        Raises:
            EngineGone: the line is broken.
        """
        self._line.send(json.dumps(message))

    def ask(self, operation: str, arguments: dict[str, Any]) -> Stream:
        """Start an operation; its answers come through the stream."""
        stream = self._wait()
        self.send({"id": stream._number, "op": operation, "args": arguments})
        if self.ended:  # perhaps before anybody knew that this one waits
            stream._queue.put({})
        return stream

    def last_words(self) -> str:
        """What the program wrote to its standard error last, as a sentence; empty where that is nothing."""
        return f"Its last words: {' / '.join(self._words)}." if self._words else ""

    def gone(self) -> EngineGone:
        """Why it ended, as far as it and its engine tell."""
        said = f"The {self.role} ended."
        with contextlib.suppress(LabError, NotFound), explained():
            look = self._api.inspect_container
            if wait_until(lambda: not look(self._container)["State"]["Running"], 2):
                said = f"The {self.role} ended with exit code {look(self._container)['State']['ExitCode']}."
        return EngineGone(said, cause=self.last_words(), next_step="Run the cell again.")


class Helper:
    """The helper container of one session. What kind it is, its subclasses say."""

    #: Its role, which is also its container's name (``labkit-observer-…``).
    role: str
    #: The modules of the agent whose operations it has.
    modules: tuple[str, ...]

    def __init__(self, session: Session):
        self._session = session
        self._life: Life | None = None
        self._starting = threading.Lock()
        self.container_id = ""

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        """What its container may do and see."""
        raise NotImplementedError

    def _prepare(self, api: APIClient) -> None:
        """What else is done to the container before it starts; nothing here."""

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known here."""
        return self._life is not None and not self._life.ended

    def start(self) -> Life:
        """Its life; a new one where it has none.

        Raises:
            LabError: its container can't be started; the engine's words, or its own, are in the sentence.
        """
        with self._starting:
            if self._life is None or self._life.ended:
                with explained(self._session.engine.endpoint):
                    self._life = self._born()
            return self._life

    def _born(self) -> Life:
        api = self._session.docker.api
        self._discard()
        made = api.create_container(
            images.ensure(self._session.docker, images.PYTHON),
            ["python3", "-u", "/opt/agent/main.py", *self.modules],
            name=self._session.name(f"labkit-{self.role}"),
            stdin_open=True,
            labels={ROLE: self.role},
            # With userns-remap, only who is not remapped may share the machine's namespaces; elsewhere it changes nothing.
            host_config={**self._host_config(api), "UsernsMode": "host"},
        )
        self.container_id = made["Id"]
        program = {f"opt/agent/{path.name}": path.read_bytes() for path in AGENT.glob("*.py")}
        api.put_archive(
            self.container_id, "/", layer_from_files({**program, "etc/labkit-container-id": self.container_id})
        )
        self._prepare(api)
        life = Life(self.role, api, self.container_id)
        try:
            api.start(self.container_id)
            life.ready.result(60)
        except BaseException:
            life.close()
            raise
        return life

    def stream(self, operation: str, **arguments: Any) -> Stream:
        """Start an operation of the agent that answers bit by bit.

        Raises:
            NotPossibleHere: the helper can't run on this engine.
            EngineGone: the engine has stopped answering.
        """
        try:
            return self.start().ask(operation, arguments)
        except EngineGone:
            if self._life is None:
                raise
            self._life = None  # it ended, as with a daemon that is restarted, and nobody had asked it since
            return self.start().ask(operation, arguments)

    def call(self, operation: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
        """Run an operation of the agent and return its answer."""
        return self.stream(operation, **arguments).result(timeout)

    def close(self) -> None:
        """End the helper; the session removes its container."""
        if self._life is not None:
            self._life.close()

    def _discard(self) -> None:
        """Remove its container: one whose line broke may live on, one that an interrupt left bears the name."""
        containers, name = self._session.docker.containers, self._session.name(f"labkit-{self.role}")
        with contextlib.suppress(NotFound):
            remove_container(containers.get(name))
        self._life, self.container_id = None, ""
