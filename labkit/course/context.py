"""What an experiment works on: one session on one engine, and eyes on its machine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker.models.containers import Container

from .. import images
from ..engine import EngineFacts, Session
from ..engine.client import LabelledClient, remove_container
from ..engine.faults import explained
from ..observe import Observer
from ..observe.visitor import Visitor
from ..observe.workshop import Workshop
from .busy import Listener, listener, say


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
        """As :func:`labkit.course.busy.say`: the one way in which an experiment tells where it is."""
        say(line, done)

    @property
    def progress(self) -> Listener | None:
        """Who hears what is said now: for what takes a ``progress`` of its own."""
        return listener()

    @functools.cached_property
    def workshop(self) -> Workshop:
        """A helper with root's rights in a container of its own; started when first used, ends with the session."""
        return Workshop(self.session, self.facts.architecture, progress=self.say)

    def image(self, name: str = images.BUSYBOX) -> str:
        """A lab image's reference; made and loaded first where the engine lacks it."""
        return images.ensure(self.docker, name, progress=self.progress)

    def visitor(self, network: str) -> Visitor:
        """What makes HTTP requests inside the lab's networks; it joins this one, too."""
        if self._visitor is None:
            self._visitor = Visitor(self.session)
        self._visitor.join(network)
        return self._visitor

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
