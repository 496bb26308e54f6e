"""What an engine is to the rest of labkit, whichever kind it is."""

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

from ..errors import NotPossibleHere


@dataclass(frozen=True)
class EngineFacts:
    """What one engine says of itself (``/version`` and ``/info``).

    ``memory`` is the whole memory of the engine's machine in bytes; ``image_store`` is
    ``"containerd"`` or the graph driver's name; ``owned`` says whether labkit started it.
    """

    kind: str
    endpoint: str
    version: str
    api_version: str
    minimum_api_version: str
    operating_system: str
    kernel: str
    architecture: str
    cpus: int
    memory: int
    cgroup_version: int
    cgroup_driver: str
    image_store: str
    rootless: bool
    compatible_api: str
    owned: bool
    emulated: bool
    #: Whether root in its containers is an ordinary user outside, with ``userns-remap``.
    remapped: bool = False
    #: The OCI runtime with which it starts what a lab's own calls create: crun where it is emulated.
    runtime: str = "runc"
    #: Whether it can limit memory: a rootless one can't where nobody hands control groups on to it.
    limits_memory: bool = True

    @property
    def stock(self) -> dict[str, str]:
        """The option for a container that is started as on any server, also where the lab's own are started by crun."""
        return {"runtime": "runc"} if self.emulated and self.runtime != "runc" else {}

    @property
    def limited(self) -> str:
        """The kind of engine, where labs may differ from those on Docker's own as it comes; else empty."""
        if self.compatible_api:
            return self.compatible_api
        return "Docker in rootless mode" if self.rootless else "Docker with userns-remap" if self.remapped else ""

    @property
    def name(self) -> str:
        """The product that answers: ``Docker Engine`` or, over the compatible API, ``Podman``."""
        return self.compatible_api or "Docker Engine"


class Engine(ABC):
    """A live engine that answers the Docker Engine API.

    Engines are made by :func:`labkit.engine.find`. This class has only what is safe on an
    engine that somebody else also uses. What may stop or starve an engine lives in
    :class:`OwnedEngine`, so code that needs it cannot be handed a host engine.
    """

    #: ``"host"`` or ``"embedded"``.
    kind: str = ""
    owned: bool = False
    #: True where its machine's processor is emulated in software: timings are slow by an order.
    emulated: bool = False
    #: Where it is reached, as ``DOCKER_HOST`` would say it.
    endpoint: str = ""
    #: Who chose it, in words for the engine card ("DOCKER_HOST", "CLI context 'desktop'").
    found_by: str = ""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables with which any Docker client talks to this engine.

        ``DOCKER_HOST`` and, where TLS is used, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``.
        """

    @abstractmethod
    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for ``docker.DockerClient`` (``base_url``, ``tls``)."""

    def cli_path(self) -> str | None:
        """A ``docker`` command-line client on this machine that talks to this engine, or None.

        labkit's own, with buildx and Compose, so that every lab types to the same version; fetched at the first
        call (38 MB). Where it can't be had, or is too new for the engine: see
        :func:`labkit.engine.clients.proven`.
        """
        from . import clients

        try:
            return clients.proven(self)
        except NotPossibleHere:
            return None

    def process_environment(self) -> dict[str, str]:
        """This process's environment with every Docker setting replaced by this engine's and labkit's own."""
        from . import clients

        settings = {"DOCKER_CONFIG": str(clients.settings_folder())}
        return {**clients.without_settings(dict(os.environ)), **settings, **self.environment()}

    def tell_time(self) -> None:  # noqa: B027 - only a machine that labkit started may need it
        """Called before anything is created there: after this computer slept, labkit's own machine is behind."""

    def close(self) -> None:  # noqa: B027 - nothing to do for most engines
        """Let go of the engine. An owned engine stops with its last user."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OwnedEngine(Engine):
    """An engine that labkit started and nobody else uses: a lab may stop, starve and break it.

    Each method blocks until its effect is visible, or raises :class:`labkit.errors.EngineGone`
    when the machine no longer answers. Times out with a sentence rather than hanging.
    """

    owned = True

    @abstractmethod
    def alive(self) -> bool:
        """Whether its machine still runs (dockerd may be stopped all the same)."""

    @abstractmethod
    def pid(self) -> int:
        """The process on this computer that is its machine."""

    @abstractmethod
    def shell(self, command: str, *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a shell command as root on the engine's machine (not in a container).

        Returns its standard output with standard error mixed in.

        Raises:
            labkit.errors.LabError: with ``check``, when the exit status is not 0.
        """

    @abstractmethod
    def live_restore(self) -> AbstractContextManager[None]:
        """A ``with`` block in which dockerd's ``live-restore`` is on: containers outlive dockerd.

        It is off otherwise, as on any server. dockerd reads the setting anew, nothing is restarted.
        """

    @abstractmethod
    def stop_dockerd(self) -> None:
        """Stop dockerd with SIGTERM; its containers end with it, except under :meth:`live_restore`."""

    @abstractmethod
    def kill_dockerd(self) -> None:
        """Kill dockerd with SIGKILL."""

    @abstractmethod
    def start_dockerd(self) -> None:
        """Start dockerd and wait until it answers."""

    @abstractmethod
    def stop_containerd(self) -> None:
        """Stop containerd with SIGTERM."""

    @abstractmethod
    def kill_containerd(self) -> None:
        """Kill containerd with SIGKILL."""

    @abstractmethod
    def start_containerd(self) -> None:
        """Start containerd and wait until it answers."""

    @abstractmethod
    def console(self, lines: int = 200) -> str:
        """The last lines of its machine's kernel console."""


def require_owned(engine: Engine) -> OwnedEngine:
    """The engine, if a lab may break it.

    Raises:
        NotPossibleHere: others may use it too.
    """
    if not isinstance(engine, OwnedEngine):
        raise NotPossibleHere(
            "This engine is not the lab's own, so nothing on it is stopped, starved or broken.",
            next_step="Use an engine of its own: own = lab.own()",
            engine=engine.endpoint,
        )
    return engine
