"""A real registry on the lab's engine, driven by the engine and over its HTTP API.

The registry is Debian's package of the one that the Docker project wrote. It runs as a
container with a network of its own and a loopback port chosen by the engine: the engine pushes
to that port (127.0.0.0/8 needs no TLS), and HTTP requests are made from inside its network.
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Self

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.faults import explained
from ...engine.session import SESSION
from ...errors import BadInput, LabError, NotPossibleHere
from ...waiting import wait_until
from .anatomy import require_image
from .registry_api import RegistryAPI, named

#: ``{}`` in base64: nobody in particular pushes.
_NOBODY = "e30="

#: Where there is no such file, the registry makes one (distribution, registry/auth/htpasswd/access.go).
_LOCKED = {"REGISTRY_AUTH": "{htpasswd: {realm: lab, path: /htpasswd}}"}


class Push(Result):
    """One push, as the registry saw it.

    ``uploaded`` and ``already`` are digests of blobs (layers and the configuration) that came in
    or were found there, from the registry's access log; ``digest`` is the manifest's;
    ``sizes`` are bytes by blob, compressed, as the manifest says.
    """

    repository: str
    tag: str
    digest: str
    uploaded: list[str]
    already: list[str]
    seconds: float
    sizes: dict[str, int]

    @property
    def bytes_uploaded(self) -> int:
        """The compressed size of what came in."""
        return sum(self.sizes.get(digest, 0) for digest in self.uploaded)

    @property
    def bytes_already(self) -> int:
        """The compressed size of what was there already."""
        return sum(self.sizes.get(digest, 0) for digest in self.already)

    def facts(self) -> str:
        return (
            f"{self.repository}:{self.tag}: {len(self.uploaded)} blobs uploaded, {len(self.already)} were there already"
        )


class BlobsStored(Result):
    """What a registry stores: bytes by blob digest."""

    sizes: dict[str, int]

    def facts(self) -> str:
        return f"{len(self.sizes)} blobs"


class RunningRegistry(RegistryAPI):
    """A running registry. Close it, or leave it to the lab; use it as a context manager if you like.

    ``address`` is what references begin with, as the engine sees it: ``127.0.0.1:32770``. One that is ``locked`` asks
    for a name and a password; it makes both up when it starts, and writes them into its log.
    """

    def __init__(self, on: Context, port: int | None = None, name: str = "registry", *, locked: bool = False):
        self._on, self._log_from = on, 0
        self.name, self.network = on.session.name(name), on.session.name(f"{name}-net")
        self.address, self.base = "", f"http://{self.name}:5000"
        with explained(on.session.engine.endpoint):
            image = on.image(images.REGISTRY)
            on.free(self.name)
            on.network(self.network)
            try:
                self.container: Container = on.docker.containers.create(
                    image, name=self.name, network=self.network, hostname="registry",
                    ports={"5000/tcp": ("127.0.0.1", port)},
                    environment={"OTEL_TRACES_EXPORTER": "none", "REGISTRY_LOG_ACCESSLOG_DISABLED": "false",
                                 **(_LOCKED if locked else {})},
                )  # fmt: skip
                self.container.start()
                self.address = self._published()
                if not wait_until(lambda: self.get("/v2/").status == (401 if locked else 200), 60, every=0.1):
                    raise LabError("The registry does not answer.", cause=self.container.logs(tail=3).decode())
            except BaseException:
                self.close()
                raise

    def _published(self) -> str:
        """Where it listens now, as the engine sees it; "" where it does not run."""
        self.container.reload()
        ports = self.container.ports.get("5000/tcp") or []
        return f"127.0.0.1:{ports[0]['HostPort']}" if ports else ""

    def lives(self) -> bool:
        """Whether it still listens at its address: one that was restarted may have another port."""
        with contextlib.suppress(NotFound):
            return bool(self.address) and self._published() == self.address
        return False

    def __repr__(self) -> str:
        return f"<registry {self.name}>"

    # Through the engine.

    def push(self, image: str, repository: str, tag: str = "latest") -> Push:
        """Tag an image with the registry's address, let the engine push it, and count what was uploaded.

        Raises:
            LabError: the engine has no such image, or the push failed.
        """
        named(repository, tag)
        labels = (require_image(self._on, image).get("Config") or {}).get("Labels") or {}
        api, name = self._on.docker.api, f"{self.address}/{repository}"
        self._mark()
        began = time.perf_counter()
        with explained(self._on.session.engine.endpoint):
            api.tag(image, name, tag)
            for line in api.push(name, tag=tag, stream=True, decode=True):
                if "error" in line:
                    raise self._refused("push", line["error"])
            if labels.get(SESSION) != self._on.session.id:
                # A base image outlives the session: it must not keep a name of this registry.
                api.remove_image(f"{name}:{tag}", noprune=True)
        seconds = time.perf_counter() - began
        # Asked of the registry: an engine with containerd's store does not tell it.
        digest = self.digest(repository, tag)
        blobs = self.blobs_of(repository, digest)
        uploaded = [found for found in self.uploads() if found in blobs]
        already = [blob for blob in blobs if blob not in uploaded]
        return Push(self._on.facts, repository, tag, digest, uploaded, already, seconds, blobs)

    def push_and_break(self, image: str, repository: str, tag: str = "latest") -> list[str]:
        """Start a push and break it off half-way, as a dropped connection would; returns what arrived, by digest.

        The connection to the engine is closed as soon as the first blob is in. The registry has a small
        share of a processor meanwhile, so that a large blob can't be in by then, however fast the machine is.
        """
        api, name = self._on.docker.api, f"{self.address}/{repository}"
        self._mark()
        with explained(self._on.session.engine.endpoint), self._slowed():
            api.tag(image, name, tag)
            # docker-py's own call does not let go of its connection before the push has ended.
            response = api._post(
                api._url("/images/{0}/push", name),
                params={"tag": tag},
                headers={"X-Registry-Auth": _NOBODY},
                stream=True,
            )
            with contextlib.closing(response):
                api._raise_for_status(response)
                # Its log tells at once; the engine's own words come when it has collected a few.
                wait_until(lambda: self.uploads() or self.mounted(), 60, every=0.02)
        # The engine notices within moments; wait until nothing comes in any more.
        last, calm = self.arrived(repository), 0
        while calm < 3:
            time.sleep(0.1)
            now = self.arrived(repository)
            calm, last = (calm + 1, last) if now == last else (0, now)
        return last

    @contextlib.contextmanager
    def _slowed(self) -> Iterator[None]:
        period, facts = 100_000, self._on.facts
        # Software emulation is slow enough as it is; a rootless engine may have no say over processors.
        share = period // (4 if facts.emulated else 30)
        with contextlib.suppress(APIError):
            self.container.update(cpu_period=period, cpu_quota=share)
        try:
            yield
        finally:
            with contextlib.suppress(APIError):
                self.container.update(cpu_period=period, cpu_quota=period * max(facts.cpus, 1))

    def pull(self, repository: str, reference: str = "latest", *, platform: str | None = None) -> str:
        """Let the engine pull by tag or digest; returns the reference that it has then.

        Raises:
            NotPossibleHere: the registry has no such image, or none for that platform.
        """
        self.digest(repository, reference)  # an unknown one is told in the registry's words
        name = f"{self.address}/{repository}"
        with explained(self._on.session.engine.endpoint):
            try:
                for line in self._on.docker.api.pull(name, tag=reference, platform=platform, stream=True, decode=True):
                    if "error" in line:
                        raise self._refused("pull", line["error"])
            except APIError as fault:  # with containerd's store, the refusal comes before the stream
                if "no match" in (fault.explanation or ""):
                    raise self._refused("pull", fault.explanation) from fault
                raise
        return f"{name}@{reference}" if reference.startswith("sha256:") else f"{name}:{reference}"

    def _refused(self, what: str, words: str) -> LabError:
        endpoint = self._on.session.engine.endpoint
        if "no matching manifest" in words or "no match for platform" in words:
            return NotPossibleHere(
                f"The {what} failed: {words}.",
                cause="The name is there, but not for that platform.",
                next_step="registry.manifest(repository, tag) lists the platforms; choose one of them.",
                engine=endpoint,
            )
        if "connection refused" in words:
            return LabError(
                f"The {what} failed: {words}.",
                cause="The registry's container was stopped or removed.",
                next_step="Start one again: lab.registry.start(). What it stored is gone with it.",
                engine=endpoint,
            )
        return LabError(f"The {what} failed: {words}.", engine=endpoint)

    def blobs_of(self, repository: str, digest: str) -> dict[str, int]:
        """Configuration and layers behind a digest, with their bytes: an index has those of all its manifests."""
        found = self.manifest(repository, digest)
        blobs = {row["digest"]: row["size"] for row in (found["config"], *found["layers"])} if "config" in found else {}
        for row in found.get("manifests", []):
            blobs |= self.blobs_of(repository, row["digest"])
        return blobs

    # The access log.

    def _mark(self) -> None:
        self._log_from = len(self.log())

    def log(self) -> list[str]:
        """The registry's access log: one line a request."""
        lines = self.container.logs().decode("utf-8", "replace").splitlines()
        return [line for line in lines if re.search(r'" \d{3} ', line) and "/v2/" in line]

    def _named_in_log(self, request: str) -> list[str]:
        done = [re.search(rf'"{request}=sha256(?:%3A|:)([0-9a-f]{{64}})\S* HTTP/[\d.]+" 201', line)
                for line in self.log()[self._log_from :]]  # fmt: skip
        return ["sha256:" + found[1] for found in done if found]

    def uploads(self) -> list[str]:
        """Digests of the blobs that came in completely since the last push began, from the log."""
        return self._named_in_log(r"PUT \S+digest")

    def requests(self) -> list[str]:
        """All requests that it was ever sent, in order, from the log: ``GET /v2/shop/manifests/1 200``."""
        rows = [re.search(r'"([A-Z]+ \S+) HTTP/[\d.]+" (\d+)', line) for line in self.log()]
        return [f"{row[1]} {row[2]}" for row in rows if row]

    def mounted(self) -> list[str]:
        """Digests of blobs that the engine had linked from another repository of this registry, from the log."""
        return self._named_in_log(r"POST \S+mount")

    def arrived(self, repository: str) -> list[str]:
        """Digests of the blobs that a repository holds now, complete ones only: read from the registry's disk."""
        folder = f"/var/lib/registry/docker/registry/v2/repositories/{repository}/_layers/sha256"
        names = self.container.exec_run(["ls", folder]).output.decode().split()
        return ["sha256:" + name for name in names if re.fullmatch(r"[0-9a-f]{64}", name)]

    def stored(self) -> BlobsStored:
        """Every blob in its storage, with its size in bytes: read from its own disk."""
        command = ["sh", "-c", "cd /var/lib/registry/docker/registry/v2/blobs/sha256 && wc -c */*/data"]
        output = self.container.exec_run(command).output.decode()
        rows = re.findall(r"^\s*(\d+) ../([0-9a-f]{64})/data", output, re.M)
        return BlobsStored(self._on.facts, {"sha256:" + name: int(size) for size, name in rows})

    def close(self) -> None:
        """Remove the registry, all it stores, and every local reference to it."""
        on = self._on
        with explained(on.session.engine.endpoint):
            for row in on.docker.api.images() if self.address else []:
                for name in [*(row.get("RepoTags") or []), *(row.get("RepoDigests") or [])]:
                    if name.startswith(self.address + "/"):
                        with contextlib.suppress(NotFound):
                            on.docker.api.remove_image(name, force=True)
            on.free(self.name)
            on.drop_network(self.network)
        if _running.get(on.session.id) is self:
            del _running[on.session.id]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_running: dict[str, RunningRegistry] = {}
_lock = threading.Lock()


def start(on: Context, *, port: int | None = None) -> RunningRegistry:
    """This session's registry: started when there is none yet, otherwise the one that runs.

    Args:
        port: a loopback port of the engine's machine; the engine chooses by default.

    Raises:
        BadInput: not a port.
        NotPossibleHere: another program holds the port.
    """
    if port is not None and not (isinstance(port, int) and 0 < port < 65536):
        raise BadInput(f"{port!r} is not a port.", next_step="Leave it out: the engine chooses a free one.")
    with _lock:
        found = _running.get(on.session.id)
        if found is not None and not found.lives():
            found.close()
            found = None
        if found is None or (port and not found.address.endswith(f":{port}")):
            before, found = found, _start(on, port)
            if before is not None:  # only now: a port that is taken costs nobody a registry
                before.close()
            _running[on.session.id] = found
        return found


def _start(on: Context, port: int | None) -> RunningRegistry:
    try:
        return RunningRegistry(on, port, f"registry-{port}" if port else "registry")
    except NotPossibleHere as fault:
        if "port" not in fault.cause:
            raise
        raise NotPossibleHere(
            f"The registry can't listen on port {port}: it is in use.",
            cause=fault.what,
            next_step="Choose another port, or let the engine choose one: lab.registry.start()",
            engine=on.session.engine.endpoint,
        ) from fault
