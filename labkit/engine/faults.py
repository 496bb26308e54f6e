"""From what docker-py and requests raise to sentences with a next step."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import BadInput, EngineGone, EngineRefused, LabError, NoEngine, NotPossibleHere

#: The notes' sentence on the docker group, with what it means added.
GROUP_SENTENCE = (
    'Add yourself to the docker group: sudo usermod -aG docker "$USER", then log in again. '
    "Know what that means: whoever is in that group is root on the engine's machine."
)

_OFFLINE = (
    r"dial (tcp|udp)|^lookup \S+|^connection refused$|no such host|server misbehaving|no route to host|network is unreachable|[Nn]ame resolution|"
    r"(Get|Head) \\?.?https?://.*(timeout|Timeout|deadline exceeded|request canceled|EOF|reset by peer)"
)
_SAME_MACHINE = "127.0.0.1 and localhost mean the engine's own machine."

# What a registry's refusal sounds like, and what we say: (pattern, error type, cause, next step). The words are those
# of Docker Engine with both its image stores, and of Podman.
_REGISTRIES: tuple[tuple[str, type[LabError], str, str], ...] = (
    (r"invalid reference format|must be lowercase", BadInput, "That is no image's name.",
     "Write it in small letters, like ubuntu:24.04 or registry.example:5000/team/app:1"),
    (r"toomanyrequests|[Tt]oo [Mm]any [Rr]equests|pull rate limit", NotPossibleHere,
     "The registry counts pulls by address, and this network's allowance is used up (whoever shares it, counts).",
     "Wait an hour, or log in: lab.docker.login('USER', 'PASSWORD'). The lab's own images need no registry."),
    (r"x509: certificate has expired or is not yet valid", NotPossibleHere,
     "The registry's certificate is not valid at the time that the engine's machine has.",
     "Look at that machine's clock (date); if it is right, the registry's owner has to renew the certificate."),
    (r"x509:|certificate signed by unknown authority|failed to verify certificate", NotPossibleHere,
     "The engine does not know who signed the registry's certificate: a company's own authority, or a proxy that "
     "looks into TLS.",
     "Put that authority into /etc/docker/certs.d/REGISTRY/ca.crt on the engine's machine (Docker Desktop takes it "
     "from the system's)."),
    (r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake", NotPossibleHere,
     "The registry speaks plain HTTP, which an engine takes where its settings say so only (and Docker from 127.0.0.0/8).",
     "Give the registry a certificate, or name it in the engine's settings (insecure-registries in daemon.json)."),
    (r"proxyconnect|[Pp]roxy [Aa]uthentication [Rr]equired", NotPossibleHere,
     "The engine goes to registries through a proxy, and that one refuses or is not there.",
     "Look at the proxy in the engine's settings: docker info says which it is."),
    (r"no matching manifest|no match for platform|does not match the (specified|detected host) platform|"
     r"cannot be used on this platform|no image found in (manifest list|image index) for architecture", NotPossibleHere,
     "The image is for another processor architecture or system.",
     "Use an image for this engine's architecture: docker manifest inspect NAME lists those that there are."),
    (r"[Nn]o such image|pull access denied(?!.*no basic auth)|manifest unknown|name unknown|manifest for .* not found|"
     r"repository .* not found|failed to resolve reference .*: not found|image not known", NotPossibleHere,
     "The image is not on this engine, and no registry had it.",
     "Check its name and tag, and whether one has to log in for it. The lab's images are made with: labkit doctor --fix"),
    (r"unauthorized|no basic auth credentials|authentication required|authorization failed|access to the resource is "
     r"denied|insufficient_scope|(^|: )denied(:|$)|40[13] (Unauthorized|Forbidden)|incorrect username or password", NotPossibleHere,
     "The registry wants to know who asks, or does not let that one in.",
     "Log in: lab.docker.login('USER', 'PASSWORD', registry='REGISTRY'); what your own docker login keeps is used too."),
    (_OFFLINE, NotPossibleHere, "The image is not on this engine, and its registry can't be reached.",
     f"Check the name, or the engine's network. {_SAME_MACHINE} The lab's own images need no registry."),
)  # fmt: skip

#: The same for an engine that labkit started.
_NO_WAY_OUT = (
    "The lab's own engine has no way to any network outside, on purpose.",
    "Use the lab's images (labkit/busybox:1, labkit/python:1), or load an image from a file: "
    "lab.docker.images.load(open('image.tar', 'rb')). An engine of your own, named in LABKIT_ENGINE, pulls.",
)

# Anything else that an engine refuses, in the same way.
_ANSWERS: tuple[tuple[str, type[LabError], str, str], ...] = (
    (r"no space left on device|disk quota exceeded", LabError, "The disk that holds the engine's images is full.",
     "Free some space with: docker system df, then labkit clean --all"),
    (r"port is already allocated|address already in use", NotPossibleHere, "Another program holds that port.",
     "Choose another port, or let the engine choose: ports={'80/tcp': None}"),
    (r"client version .* is too (old|new)|minimum supported API version", NotPossibleHere,
     "Client and engine speak no common API version.", "Update the docker package: pip install -U docker"),
    (r"exec format error", NotPossibleHere,
     "The image is for another processor architecture.", "Use an image for this engine's architecture."),
    (r"[Mm]inimum memory limit", BadInput, "The engine refuses memory limits below its minimum.",
     "Ask for 8m or more."),
    (r"(container )?name .* is already in use", BadInput, "An object with this name exists already.",
     "Use lab.name_for('…'), which adds this session's id."),
    (r"cannot allocate memory|out of memory", NotPossibleHere, "The engine's machine has too little memory free.",
     "Stop what runs beside it, or choose smaller values."),
)  # fmt: skip


def registry_refusal(said: str, endpoint: str = "") -> LabError | None:
    """What an engine's or a command's words mean, if a registry, or the way to it, said no."""
    return _answer(_REGISTRIES, said.rpartition("Error response from daemon: ")[2].strip(), endpoint)


def _answer(
    table: tuple[tuple[str, type[LabError], str, str], ...], said: str, endpoint: str, where: str = ""
) -> LabError | None:
    for pattern, kind, cause, next_step in table:
        if re.search(pattern, said):
            if pattern == _OFFLINE and _own_port(endpoint, where) is not None:
                cause, next_step = _NO_WAY_OUT
            return kind(f"The engine refused: {said}.", cause=cause, next_step=next_step, engine=endpoint)
    return None


# What engines that labkit started itself say when they are gone, by their port on this machine.
_own: dict[int, Callable[[], LabError | None]] = {}


def tell_of(port: int, say: Callable[[], LabError | None]) -> None:
    """From now on, faults of the engine behind a loopback port are told by ``say``, unless it returns None.

    A sentence for somebody's Docker service is of no use for an engine that labkit started itself.
    """
    _own[port] = say


def _own_port(endpoint: str, text: str) -> int | None:
    """The port of an engine that labkit started itself, if it is the one concerned."""
    for words in (text, endpoint):
        for found in re.findall(r"127\.0\.0\.1(?::|', port=)(\d+)", words):
            if int(found) in _own:
                return int(found)
    return None


def explain(fault: BaseException, endpoint: str = "") -> LabError:
    """The sentence for a fault.

    Args:
        fault: what docker-py, requests or the operating system raised.
        endpoint: the engine concerned.

    Returns:
        A :class:`LabError` of the fitting kind; never raises.
    """
    if isinstance(fault, LabError):
        return fault
    import docker.errors
    import requests.exceptions

    text = str(fault)
    if isinstance(fault, (docker.errors.APIError, docker.errors.BuildError, docker.errors.ImageLoadError)):
        said = (getattr(fault, "explanation", None) or text).strip().rstrip(".")
        answer = _answer(_ANSWERS + _REGISTRIES, said, endpoint, text)
        if answer is not None:
            return answer
        status = getattr(fault, "status_code", None)
        failed = (
            "could not build the image" if isinstance(fault, docker.errors.BuildError) else "could not load the image"
        )
        words = f"answered {status}" if status else failed
        return LabError(f"The engine {words}: {said}.", engine=endpoint)
    told = _of_environment(fault, text)
    if told is not None:
        return told
    if _has(fault, PermissionError) or "PermissionError" in text or "Permission denied" in text:
        return EngineRefused(
            "Permission denied: this user may not open the engine's socket.",
            next_step=GROUP_SENTENCE,
            engine=endpoint,
        )
    if "certificate required" in text or "bad certificate" in text or "CERTIFICATE_VERIFY_FAILED" in text:
        return EngineRefused(
            "The engine and this client do not trust each other's certificates.",
            cause="The engine asks for mutual TLS.",
            next_step="Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH to the engine's client certificates.",
            engine=endpoint,
        )
    if "paramiko" in text:
        return NotPossibleHere(
            "An engine behind SSH needs a Python package that is missing here.",
            next_step="Install it: pip install paramiko",
            engine=endpoint,
        )
    if _has(fault, socket.gaierror) or re.search(r"Failed to resolve|NameResolutionError|getaddrinfo failed", text):
        return NoEngine(
            "The name of the engine's machine has no address here.",
            cause="It is misspelt, or known in another network only (VPN).",
            next_step="Check the name and the network.",
            engine=endpoint,
        )
    if "npipe" in text:
        return NotPossibleHere(
            "A pipe of Windows can't be reached from here.",
            next_step="In Docker Desktop's settings, switch the WSL integration of this distribution on.",
            engine=endpoint,
        )
    if "Invalid bind address" in text or "Invalid port" in text or "bind address needs a port" in text.lower():
        return BadInput(
            "No Docker client can use this address.",
            next_step="Write it like unix:///var/run/docker.sock, tcp://HOST:PORT or ssh://USER@HOST",
            engine=endpoint,
        )
    gone = (
        requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, ConnectionError,
        http.client.HTTPException,
    )  # fmt: skip
    port = _own_port(endpoint, text)
    told = _own[port]() if port is not None else None
    if told is not None:
        return told
    if _has(fault, FileNotFoundError, ConnectionRefusedError) or "Connection refused" in text or "No such file" in text:
        return NoEngine(
            "Nothing answers there.",
            cause="The daemon isn't running, or it listens elsewhere.",
            next_step="Start it (sudo systemctl start docker, or open Docker Desktop), then run: labkit doctor",
            engine=endpoint,
        )
    # Before the next: requests counts a connection that timed out among the broken ones, too.
    if _has(fault, requests.exceptions.Timeout, TimeoutError):
        return EngineGone(
            "The engine did not answer in time.",
            cause="It is overloaded, paused or unreachable.",
            next_step="Run labkit doctor to see how long a round trip takes.",
            engine=endpoint,
        )
    if _has(fault, *gone):
        return EngineGone(
            "The engine stopped answering.",
            cause="The daemon was stopped or restarted, or its machine is gone.",
            next_step="Run labkit doctor, then run the lab's first cell again.",
            engine=endpoint,
        )
    return LabError(f"{type(fault).__name__}: {text}", engine=endpoint)


def _of_environment(fault: BaseException, text: str) -> LabError | None:
    """What a variable of this process stands in the way with, by its name."""
    import requests.exceptions

    log = os.environ.get("SSLKEYLOGFILE", "")
    place = log if os.path.exists(log) else os.path.dirname(log) or "."
    if log and not os.access(place, os.W_OK) and re.search(r"(Error\(|Errno )(2|13)\b", text):
        return LabError(
            f"TLS can't begin: the file that SSLKEYLOGFILE names can't be written: {log}.",
            next_step="Unset SSLKEYLOGFILE, and restart the notebook's kernel.",
        )
    if _has(fault, requests.exceptions.ProxyError) or "ProxyError" in text:
        names = [name for name in os.environ if re.fullmatch(r"(?i)(https?|all)_proxy", name)]
        return NoEngine(
            "The proxy on the way to the engine refuses, or is not there.",
            cause=f"It is named by {' and '.join(sorted(names))}." if names else "",
            next_step="Put the engine's machine into NO_PROXY, or unset the variable.",
        )
    return None


def _has(fault: BaseException | None, *kinds: type[BaseException]) -> bool:
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        if isinstance(fault, kinds):
            return True
        seen.add(id(fault))
        wrapped = next((arg for arg in fault.args if isinstance(arg, BaseException)), None)
        reason = getattr(wrapped, "reason", None)
        fault = fault.__cause__ or fault.__context__ or (reason if isinstance(reason, BaseException) else wrapped)
    return False


@contextmanager
def explained(endpoint: str = "") -> Iterator[None]:
    """Turn what docker-py, requests and sockets raise inside into a :class:`LabError`.

    Interrupts pass through, and so does an ``OSError`` that is not a connection's, such as one of a file.
    """
    import docker.errors
    import requests.exceptions

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as fault:
        raise explain(fault, endpoint) from fault
    except OSError as fault:
        if not _of_connection(fault):
            raise
        raise explain(fault, endpoint) from fault


#: What a socket's own calls say beside Python's named errors: its file is missing or closed to this user, its
#: network is away, it was closed here meanwhile.
_CONNECTION = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN,
               errno.ENETDOWN, errno.ENOTCONN, errno.EBADF}  # fmt: skip


def _of_connection(fault: OSError) -> bool:
    if isinstance(fault, (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)):
        return True
    return fault.filename is None and fault.errno in _CONNECTION  # of a file, Python says which
