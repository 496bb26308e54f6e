"""What an experiment works on: one session on one engine, and eyes on its machine."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from docker.errors import NotFound
from docker.models.containers import Container

from .. import images
from ..engine import EngineFacts, Session
from ..engine.client import LabelledClient, remove_container
from ..engine.faults import explained
from ..engine.session import SESSION
from ..observe import Observer
from ..observe.porter import Porter
from ..observe.visitor import Visitor
from ..observe.workshop import Workshop
from ..saying import say


class Ran(NamedTuple):
    """How a container ended: its exit code and what it wrote."""

    code: int
    text: str


@dataclass
class Context:
    """Handed to every experiment as its first argument."""

    session: Session
    observer: Observer
    facts: EngineFacts
    _visitor: Visitor | None = field(default=None, repr=False)

    @property
    def docker(self) -> LabelledClient:
        return self.session.docker

    def say(self, line: str, done: float | None = None) -> None:
        """As :func:`labkit.saying.say`: the one way in which an experiment tells where it is."""
        say(line, done)

    @functools.cached_property
    def workshop(self) -> Workshop:
        """A helper with root's rights in a container of its own; started when first used, ends with the session."""
        return Workshop(self.session, self.facts.architecture)

    @functools.cached_property
    def porter(self) -> Porter:
        """What sees the network of the engine's machine; started when first asked, ends with the session."""
        return Porter(self.session)

    def image(self, name: str = images.BUSYBOX) -> str:
        """A lab image's reference; made and loaded first where the engine lacks it."""
        with explained(self.session.engine.endpoint):
            return images.ensure(self.docker, name)

    def visitor(self, network: str) -> Visitor:
        """What makes HTTP requests inside the lab's networks; it joins this one, too."""
        if self._visitor is None:
            self._visitor = Visitor(self.session)
        self._visitor.join(network)
        return self._visitor

    def state(self, container: Container) -> dict[str, Any]:
        """A container's ``State``, as the engine has it now."""
        return dict(self.docker.api.inspect_container(container.id)["State"])

    def main_pid(self, container: Container) -> int:
        """A container's main process, by its number on the engine's machine; 0 where it does not run."""
        return int(self.state(container)["Pid"])

    def events(self, since: float, until: float, **filters: str) -> list[dict[str, Any]]:
        """What the engine tells of between two times of day on its machine (s since 1970); it keeps the last 256."""
        between = {"since": f"{since:.6f}", "until": f"{until:.6f}"}
        return list(self.docker.api.events(**between, decode=True, filters=filters))

    def free(self, name: str) -> None:
        """Take a container's name back: an interrupted cell of this session may have left one that bears it."""
        with explained(self.session.engine.endpoint), contextlib.suppress(NotFound):
            found = self.docker.containers.get(name)
            if found.labels.get(SESSION) == self.session.id:
                remove_container(found)

    def network(self, name: str, **options: Any) -> str:
        """A new network of this name, in place of one that an interrupted cell may have left; returns the name."""
        self.drop_network(name)
        with explained(self.session.engine.endpoint):
            self.docker.networks.create(name, **options)
        return name

    def drop_network(self, name: str) -> None:
        """Remove this session's network of this name, the visitor's place in it too; none there is fine."""
        if self._visitor is not None:
            self._visitor.leave(name)
        with explained(self.session.engine.endpoint):
            for row in self.docker.api.networks(names=[name], filters={"label": f"{SESSION}={self.session.id}"}):
                if row["Name"] == name:
                    self.docker.api.remove_network(row["Id"])

    def ran(
        self, image: str, command: str | Sequence[str] | None = None, *,
        timeout: float = 120, stderr: bool = True, **options: Any,
    ) -> Ran:  # fmt: skip
        """Run a container to its end; without a network where ``options`` name none."""
        options.setdefault("network_mode", "none")
        with self.container(image, command, **options) as container:
            code = container.wait(timeout=timeout)["StatusCode"]
            return Ran(code, container.logs(stderr=stderr).decode("utf-8", "replace"))

    @contextlib.contextmanager
    def container(
        self, image: str, command: str | Sequence[str] | None, *, start: bool = True, **options: Any
    ) -> Iterator[Container]:
        """A container for the length of a ``with`` block: removed at its end, also on an interrupt."""
        with explained(self.session.engine.endpoint):
            container = self.docker.containers.create(self.image(image), command, **options)
            try:
                if start:
                    container.start()
                yield container
            finally:
                remove_container(container)
