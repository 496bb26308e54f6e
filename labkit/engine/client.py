"""Docker clients without this user's settings, and the one whose every creation carries the lab's labels."""

import io
import json
import re
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.auth import AuthConfig
from docker.credentials import StoreError
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.utils.config import load_general_config
from docker.utils.socket import STDOUT, consume_socket_output, demux_adaptor
from requests.utils import get_environ_proxies

#: Sorts before every other label of the lab.
BUILD = "labkit.build"


def build_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels for an image build: the session's id once more, under a name that sorts first.

    The classic builder makes an image per label, in the order of their names, and may leave those in
    between behind. With this one first, each of them says whose it is.
    """
    return {**labels, BUILD: labels["labkit.session"]} if "labkit.session" in labels else dict(labels)


def _named_volumes(host: Mapping[str, Any]) -> list[str]:
    if host.get("VolumeDriver"):
        return []
    binds = [bind.split(":")[0] for bind in host.get("Binds") or ()]
    mounts = [
        mount.get("Source") or ""
        for mount in host.get("Mounts") or ()
        if mount["Type"] == "volume" and not (mount.get("VolumeOptions") or {}).get("DriverConfig")
    ]
    return [name for name in [*binds, *mounts] if re.fullmatch(r"[a-zA-Z0-9][\w.-]+", name)]


#: Hosts that are this machine: nothing stands between, and what runs there is the lab's own.
LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|\[?::1\]?")


class Logins(AuthConfig):  # type: ignore[misc]  # docker-py has no types
    """Registry credentials: what ``login`` was told in this session, and for the one registry that a pull or a
    push names, what this user's own Docker client has for it. A build gets the former only.
    """

    #: Else docker-py reads this user's configuration in its place.
    is_empty = False

    def resolve_authconfig(self, registry: str | None = None) -> Any:
        told = super().resolve_authconfig(registry)
        if told is not None or LOOPBACK.fullmatch((registry or "").rpartition(":")[0] or registry or ""):
            return told
        try:
            settings = load_general_config()
            return AuthConfig.load_config(None, settings).resolve_authconfig(registry) if settings else None
        except (DockerException, StoreError, AttributeError, OSError, TypeError, ValueError):
            return None  # a credential helper that is gone, a damaged file: the registry is asked without a name


def _unless_refused(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if "error" in row:
            raise APIError("The engine could not pull the image", explanation=str(row["error"]))
        yield row


def _frames(reader: io.BufferedReader, tty: bool) -> Iterator[tuple[int, bytes]]:
    """What a process writes, as (stream, bytes); a terminal's is one stream (Engine API, ContainerAttach)."""
    while head := reader.read1(1 << 16) if tty else reader.read(8):
        if tty:
            yield STDOUT, head
        elif len(head) == 8:
            kind, size = struct.unpack(">BxxxL", head)
            yield kind, reader.read(size)


class PlainAPIClient(docker.APIClient):  # type: ignore[misc]
    """docker-py's low-level client, as an engine is to be asked: not as this user's configuration would have it.

    ``config.json`` names proxies that every container would get, credential helpers that are missing, headers.
    ``requests`` lets ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` replace the engine's own authority, takes a
    password out of ``.netrc``, and sends even loopback addresses to a proxy. Only the way to an engine on
    another machine may lead through the proxy that the environment names.
    """

    # docker-py and requests set these when they are made, and look at them at once. Not empty: then it reads the file.
    _general_configs = property(lambda self: {"auths": {}}, lambda self, value: None)
    trust_env = property(lambda self: False, lambda self, value: None)

    def __init__(self, *args: Any, version: str = "auto", **kwargs: Any):
        # The API version is negotiated, never pinned: engines differ in the oldest they take.
        super().__init__(*args, version=version, **kwargs)
        self._auth_configs = Logins({})

    def pull(self, *args: Any, stream: bool = False, decode: bool = False, **kwargs: Any) -> Any:
        """As docker-py's; what a registry refuses in the middle of the stream is raised, too."""
        if not stream:
            return super().pull(*args, **kwargs)
        rows = super().pull(*args, stream=True, decode=True, **kwargs)
        return (row if decode else json.dumps(row).encode() for row in _unless_refused(rows))

    def _read_from_socket(self, response: Any, stream: bool, tty: bool = True, demux: bool = False) -> Any:
        """As docker-py's, which reads beside the reader of the answer's head: what comes together with the head stays in
        that one's buffer. So it lost the output of one ``exec`` in ten on a busy machine."""
        reader = getattr(response.raw._fp, "fp", None)
        if not isinstance(reader, io.BufferedReader):  # over ssh
            return super()._read_from_socket(response, stream, tty, demux)
        self._raise_for_status(response)
        self._disable_socket_timeout(reader.raw)
        found = (demux_adaptor(*frame) if demux else frame[1] for frame in _frames(reader, tty))
        if stream:
            return found
        try:
            return consume_socket_output(found, demux=demux)
        finally:
            response.close()

    def merge_environment_settings(self, url: str, proxies: Mapping[str, str] | None, *others: Any) -> Any:
        where = urlsplit(url)
        if where.scheme in ("http", "https") and not LOOPBACK.fullmatch(where.hostname or ""):
            proxies = {**get_environ_proxies(url), **(proxies or {})}
        return super().merge_environment_settings(url, proxies or {}, *others)


def engine_time(client: docker.APIClient) -> float:
    """The engine's own clock, in seconds since 1970.

    Only that one says what is now: for events "until now" by another clock, an engine that is behind waits until its
    own has come so far, and one that is ahead leaves out the last.
    """
    return datetime.fromisoformat(client.info()["SystemTime"]).timestamp()


def quick_runtime(info: Mapping[str, Any]) -> str:
    """The OCI runtime for an emulated processor, from what ``/info`` says: crun where the engine knows it.

    A container's start and end are eight programs, five of them runc. Emulated, each of those costs a tenth of a
    second and more; crun, which is written in C, a third of that. What a learner types goes to the engine's default.
    """
    return "crun" if "crun" in (info.get("Runtimes") or {}) else info.get("DefaultRuntime") or "runc"


class LabelledAPIClient(PlainAPIClient):
    """docker-py's low-level client; adds labels to containers, networks, volumes and images.

    All of docker-py's high-level calls end in these methods, so a learner who calls
    ``client.containers.run`` gets the labels too. Pulled and loaded images can't be labelled
    by a client: a session tells those by their name (:meth:`labkit.engine.session.Session.name`).
    """

    def __init__(self, *args: Any, labels: Mapping[str, str], before_create: Callable[[], None], **kwargs: Any):
        self._lab_labels = dict(labels)
        self._before_create = before_create
        #: Starts containers for which no runtime is named; empty: the engine's default does.
        self.runtime = ""
        super().__init__(*args, **kwargs)

    def _labelled(self, labels: Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
        self._before_create()
        given = labels if isinstance(labels, Mapping) else dict.fromkeys(labels or (), "")
        return {**given, **self._lab_labels}

    def create_container_from_config(self, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        config["Labels"] = self._labelled(config.get("Labels"))
        # The engine makes the volumes that are named here, without labels; one that exists stays as it is.
        if self.runtime and not (config.get("HostConfig") or {}).get("Runtime"):
            config["HostConfig"] = {**(config.get("HostConfig") or {}), "Runtime": self.runtime}
        for name in _named_volumes(config.get("HostConfig") or {}):
            self.create_volume(name)
        return super().create_container_from_config(config, *args, **kwargs)

    def create_network(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["labels"] = self._labelled(kwargs.get("labels"))
        return super().create_network(*args, **kwargs)

    def create_volume(self, name: Any = None, driver: Any = None, driver_opts: Any = None, labels: Any = None) -> Any:
        return super().create_volume(name, driver, driver_opts, self._labelled(labels))

    def build(self, *args: Any, **kwargs: Any) -> Any:
        # The containers of a build's steps have no labels; docker-py, unlike the command line, would keep them.
        kept = {} if len(args) > 5 else {"rm": True, "forcerm": True}
        labels = build_labels(self._labelled(kwargs.pop("labels", None)))
        return super().build(*args, **{**kept, "labels": labels, **kwargs})

    def commit(self, container: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["changes"] = self._as_changes(kwargs.get("changes"))
        return super().commit(container, *args, **kwargs)

    def import_image(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["changes"] = "\n".join(self._as_changes(kwargs.get("changes")))
        return super().import_image(*args, **kwargs)

    def import_image_from_data(
        self, *args: Any, **kwargs: Any
    ) -> Any:  # the one import that doesn't end in import_image
        kwargs["changes"] = "\n".join(self._as_changes(kwargs.get("changes")))
        return super().import_image_from_data(*args, **kwargs)

    def _as_changes(self, changes: str | Iterable[str] | None) -> list[str]:
        lines = [changes] if isinstance(changes, str) else list(changes or [])
        return [*lines, *(f'LABEL {key}="{value}"' for key, value in self._labelled({}).items())]


class LabelledClient(docker.DockerClient):  # type: ignore[misc]
    """The client a lab hands out as ``lab.docker``: docker-py's own, plus labels.

    Args:
        labels: put on whatever is created.
        before_create: called before each creation (a session makes itself known to the engine there).
        options: ``base_url``, ``tls`` and the like, as for :class:`docker.DockerClient`.
    """

    def __init__(self, *, labels: Mapping[str, str], before_create: Callable[[], None] = lambda: None, **options: Any):
        self.api = LabelledAPIClient(labels=labels, before_create=before_create, **options)

    @property
    def lab_labels(self) -> dict[str, str]:
        """The labels that this client puts on what it creates."""
        return dict(self.api._lab_labels)


def remove_container(container: Container) -> None:
    """Remove a container and its anonymous volumes, whatever its state; gone already is fine."""
    try:
        container.remove(force=True, v=True)
    except DockerException as fault:
        if getattr(fault, "status_code", None) not in (404, 409):
            raise


def small_file(container: Container, path: str) -> str:
    """The text of a small file in a container, also of one that has ended.

    Raises:
        docker.errors.NotFound: no such file, or no such container.
    """
    stream, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        first = tar.getmembers()[0]
        content = tar.extractfile(first) if first.isfile() else None
        return content.read(1 << 16).decode("utf-8", "replace").strip() if content else ""


def address_in(container: Container, network: str) -> str:
    """A container's IP address in a network, now; "" while it does not run."""
    container.reload()
    address: str = container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    return address
