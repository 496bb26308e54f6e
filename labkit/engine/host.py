"""The engine that the learner already has: where to look for it, and what it answers."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineRefused, LabError, NoEngine
from .base import Engine

#: Seconds that a candidate has to answer ``/_ping``.
ANSWER_WITHIN = 5.0


@dataclass(frozen=True)
class Candidate:
    """A place where an engine may answer.

    ``explicit`` means that the user named it: if it fails, that is an error and nothing else is tried.
    """

    endpoint: str
    found_by: str
    explicit: bool = False
    tls: dict[str, str | None] = field(default_factory=dict)


def _usual_sockets() -> Iterator[tuple[str, str]]:
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield "/var/run/docker.sock", "the usual socket"
    yield f"{runtime}/docker.sock", "the rootless engine's socket"
    yield str(home / ".docker/run/docker.sock"), "Docker Desktop's socket"
    yield str(home / ".docker/desktop/docker.sock"), "Docker Desktop's socket"
    yield str(home / ".colima/default/docker.sock"), "Colima's socket"
    yield str(home / ".orbstack/run/docker.sock"), "OrbStack's socket"
    yield str(home / ".rd/docker.sock"), "Rancher Desktop's socket"
    yield f"{runtime}/podman/podman.sock", "Podman's socket"
    yield "/run/podman/podman.sock", "Podman's socket"


def _tls_files(folder: str) -> dict[str, str | None]:
    names = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    return {key: str(Path(folder, name)) for key, name in names.items()}


def _context() -> Candidate | None:
    """The Docker CLI's current context, when it isn't the default one."""
    # docker-py reads contexts itself since 7.2, but does not tell which one it took.
    from docker.context import ContextAPI

    name = os.environ.get("DOCKER_CONTEXT", "")
    if not name:
        try:
            folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
            name = json.loads(Path(folder, "config.json").read_text()).get("currentContext", "")
        except (OSError, ValueError):
            return None
    if not name or name == "default":
        return None
    context = ContextAPI.get_context(name)
    if context is None:
        raise NoEngine(
            f"The Docker CLI's context {name!r} does not exist.",
            next_step="List the contexts with: docker context ls",
        )
    tls: dict[str, str | None] = {}
    if context.TLSConfig is not None:
        cert, key = context.TLSConfig.cert or (None, None)
        tls = {"ca": context.TLSConfig.ca_cert, "cert": cert, "key": key}
    explicit = "DOCKER_CONTEXT" in os.environ
    return Candidate(context.Host, f"the CLI's context {name!r}", explicit, tls)


def candidates(url: str | None = None) -> Iterator[Candidate]:
    """Every place to try, in order: a given URL, ``DOCKER_HOST``, the CLI's context, usual sockets.

    Args:
        url: an endpoint that the user named (``LABKIT_ENGINE``); then nothing else is tried.
    """
    certificates = os.environ.get("DOCKER_CERT_PATH", "")
    verify = os.environ.get("DOCKER_TLS_VERIFY", "")
    tls = _tls_files(certificates or str(Path.home() / ".docker")) if verify else {}
    if url:
        yield Candidate(url, "LABKIT_ENGINE", True, tls)
        return
    host = os.environ.get("DOCKER_HOST")
    if host:
        yield Candidate(host, "DOCKER_HOST", True, tls)
        return
    context = _context()
    if context:
        yield context
        if context.explicit:
            return
    for path, found_by in _usual_sockets():
        if _is_socket(path):
            yield Candidate(f"unix://{path}", found_by)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except PermissionError:
        return True  # there is something that this user may not even look at: let it refuse us
    except OSError:
        return False


class HostEngine(Engine):
    """An engine that labkit did not start and shares with its other users."""

    kind = "host"

    def __init__(self, candidate: Candidate):
        self.endpoint = candidate.endpoint
        self.found_by = candidate.found_by
        self.explicit = candidate.explicit
        self._tls = candidate.tls

    def environment(self) -> dict[str, str]:
        environment = {"DOCKER_HOST": self.endpoint}
        file = self._tls.get("cert") or self._tls.get("ca")  # a context may know the engine's authority only
        if file:
            environment |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(Path(file).parent)}
        return environment

    def client_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"base_url": self.endpoint}
        if self._tls:
            from docker.tls import TLSConfig

            pair = (self._tls["cert"], self._tls["key"])
            try:
                options["tls"] = TLSConfig(
                    client_cert=pair if all(pair) else None, ca_cert=self._tls["ca"], verify=True
                )
            except Exception as fault:  # docker-py raises TLSParameterError for missing files
                raise EngineRefused(
                    f"The certificates for {self.endpoint} can't be used: {fault}",
                    next_step="Check DOCKER_CERT_PATH: it should hold ca.pem, cert.pem and key.pem.",
                    engine=self.endpoint,
                ) from fault
        return options

    def probe(self) -> None:
        """One round trip to the daemon.

        Raises:
            EngineRefused: this user may not talk to it.
            NoEngine: nothing answers there.
        """
        import docker

        from .faults import explain

        try:
            client = docker.APIClient(**self.client_options(), timeout=ANSWER_WITHIN, version="auto")
            try:
                client.ping()
            finally:
                client.close()
        except LabError:
            raise
        except Exception as fault:
            raise explain(fault, self.endpoint) from fault


def find_host(url: str | None = None) -> tuple[HostEngine | None, list[str]]:
    """The first engine that answers, and a sentence for each one tried before it.

    Raises:
        NoEngine, EngineRefused: the user named an engine, and that one doesn't answer.
    """
    tried: list[str] = []
    for candidate in candidates(url):
        engine = HostEngine(candidate)
        try:
            engine.probe()
            return engine, tried
        except LabError as fault:
            if candidate.explicit:
                raise
            tried.append(str(fault))
    return None, tried
