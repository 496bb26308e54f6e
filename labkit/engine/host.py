"""The engine that the learner already has: where to look for it, and what it answers."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineRefused, LabError, NoEngine
from ..paths import home
from .base import Engine

#: Seconds that a candidate has to answer ``/_ping``.
ANSWER_WITHIN = 5.0


@dataclass(frozen=True)
class Candidate:
    """A place where an engine may answer.

    ``explicit`` means that the user named it: if it fails, that is an error and nothing else is tried.
    ``named_by`` is the variable or the file that names it, ``fault`` why what it says can't be an engine's place.
    """

    endpoint: str
    found_by: str
    explicit: bool = False
    tls: dict[str, str | None] = field(default_factory=dict)
    verify: bool = True
    named_by: str = ""
    fault: LabError | None = None

    def told(self, fault: LabError) -> LabError:
        """The fault, with where the place came from and how to come away from it."""
        if not self.named_by:
            return fault
        alone = ", so no other was tried" if self.explicit else ""
        others = f"take it away from {self.named_by}: labkit then finds another engine."
        return type(fault)(
            fault.what,
            cause=f"{fault.cause} It is named by {self.named_by}{alone}.".strip(),
            next_step=f"{fault.next_step.rstrip('.')}; or {others}" if fault.next_step else others.capitalize(),
            engine=fault.engine,
        )


def _usual_sockets() -> Iterator[tuple[str, str]]:
    own = home()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield "/var/run/docker.sock", "the usual socket"
    yield f"{runtime}/docker.sock", "the rootless engine's socket"
    yield str(own / ".docker/run/docker.sock"), "Docker Desktop's socket"
    yield str(own / ".docker/desktop/docker.sock"), "Docker Desktop's socket"
    yield str(own / ".colima/default/docker.sock"), "Colima's socket"
    yield str(own / ".orbstack/run/docker.sock"), "OrbStack's socket"
    yield str(own / ".rd/docker.sock"), "Rancher Desktop's socket"
    yield f"{runtime}/podman/podman.sock", "Podman's socket"
    yield "/run/podman/podman.sock", "Podman's socket"


def _tls_files(folder: str) -> dict[str, str | None]:
    names = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    return {key: str(Path(folder, name)) for key, name in names.items()}


def _context() -> Candidate | None:
    """The Docker CLI's current context, when it isn't the default one.

    Its files are the CLI's own: ``contexts/meta`` and ``contexts/tls``, in folders named by the SHA-256 of its name
    (github.com/docker/cli, cli/context/store).
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or home() / ".docker")
    name, named_by = os.environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    explicit = bool(name)
    if not name:
        named_by = f"currentContext in {folder / 'config.json'}"
        try:
            name = str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext") or "")
        except (OSError, ValueError, AttributeError):
            return None
    if name in ("", "default"):
        return None
    found_by = f"the CLI's context {name!r}"
    place = hashlib.sha256(name.encode()).hexdigest()
    meta, keys = folder / "contexts/meta" / place / "meta.json", folder / "contexts/tls" / place / "docker"
    try:
        found = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        endpoint, verify = str(found["Host"]), not found.get("SkipTLSVerify")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
        words = "does not exist" if isinstance(reason, FileNotFoundError) else f"is damaged: {meta}"
        fault = NoEngine(
            f"The Docker CLI's context {name!r} {words}.",
            next_step="List the contexts with: docker context ls, and choose one with: docker context use NAME.",
        )
        return Candidate("", found_by, explicit, named_by=named_by, fault=fault)
    files = {key: path if path and Path(path).exists() else None for key, path in _tls_files(str(keys)).items()}
    tls = files if any(files.values()) or not verify else {}
    return Candidate(endpoint, found_by, explicit, tls, verify, named_by)


def candidates(url: str | None = None) -> Iterator[Candidate]:
    """Every place to try, in order: a given URL, ``DOCKER_HOST``, the CLI's context, usual sockets.

    Args:
        url: an endpoint that the user named (``LABKIT_ENGINE``); then nothing else is tried.
    """
    certificates = os.environ.get("DOCKER_CERT_PATH", "")
    verify = os.environ.get("DOCKER_TLS_VERIFY", "")
    tls = _tls_files(certificates or str(home() / ".docker")) if verify else {}
    host = os.environ.get("DOCKER_HOST")
    if url or host:
        named_by = "LABKIT_ENGINE" if url else "DOCKER_HOST"
        yield Candidate(url or host or "", named_by, True, tls, named_by=named_by)
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
        self._tls, self._verify = candidate.tls, candidate.verify

    def environment(self) -> dict[str, str]:
        environment = {"DOCKER_HOST": self.endpoint}
        file = self._tls.get("cert") or self._tls.get("ca")  # a context may know the engine's authority only
        if file:
            environment["DOCKER_CERT_PATH"] = str(Path(file).parent)
        if file or not self._verify:
            environment["DOCKER_TLS_VERIFY" if self._verify else "DOCKER_TLS"] = "1"
        return environment

    def client_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"base_url": self.endpoint}
        if self._tls:
            from docker.tls import TLSConfig

            pair = (self._tls["cert"], self._tls["key"])
            try:
                options["tls"] = TLSConfig(
                    client_cert=pair if all(pair) else None, ca_cert=self._tls["ca"], verify=self._verify
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
        from .client import PlainAPIClient
        from .faults import explain

        try:
            client = PlainAPIClient(**self.client_options(), timeout=ANSWER_WITHIN)
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
    passed: list[str] = []
    for candidate in candidates(url):
        engine = HostEngine(candidate)
        try:
            if candidate.fault:
                raise candidate.fault
            engine.probe()
        except LabError as fault:
            if candidate.explicit:
                raise candidate.told(fault) from fault
            tried.append(str(candidate.told(fault)))
            passed.append(candidate.found_by)
            continue
        if passed:
            engine.found_by += f" (no answer from {', '.join(dict.fromkeys(passed))})"
        return engine, tried
    return None, tried
