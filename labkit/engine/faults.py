"""From what docker-py and requests raise to sentences with a next step."""

import errno
import functools
import os
import re
import socket
import ssl
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import errors
from ..errors import LabError, NoEngine
from ..paths import text_beside


@functools.cache
def _table() -> dict[str, Any]:
    """All sentences: ``faults.toml`` beside this file says what its rows mean."""
    return tomllib.loads(text_beside(__file__, "faults.toml"))


def registry_refusal(said: str, endpoint: str = "") -> LabError | None:
    """What an engine's or a command's words mean, if a registry, or the way to it, said no."""
    return _answer(("registries",), said.rpartition("Error response from daemon: ")[2].strip(), endpoint)


def _answer(tables: Sequence[str], said: str, endpoint: str, where: str = "") -> LabError | None:
    for row in (row for table in tables for row in _table()[table]):
        if re.search(row["pattern"], said):
            own = "offline" in row and _own_port(endpoint, where) is not None
            return _error({**row, **_table()["no_way_out"]} if own else row, endpoint, f"The engine refused: {said}.")
    return None


def _error(row: Mapping[str, str], endpoint: str, what: str = "") -> LabError:
    kind: type[LabError] = getattr(errors, row["kind"])
    return kind(row.get("what", what), cause=row.get("cause", ""), next_step=row["next_step"], engine=endpoint)


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

    text = str(fault)
    if isinstance(fault, (docker.errors.APIError, docker.errors.BuildError, docker.errors.ImageLoadError)):
        said = (getattr(fault, "explanation", None) or text).strip().rstrip(".")
        answer = _answer(("answers", "registries"), said, endpoint, text)
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
    port = _own_port(endpoint, text)
    return (
        _way("ways", fault, text, endpoint)
        or (_own[port]() if port is not None else None)
        or _way("endings", fault, text, endpoint)
        or LabError(f"{type(fault).__name__}: {text}", engine=endpoint)
    )


def _way(table: str, fault: BaseException, text: str, endpoint: str) -> LabError | None:
    for row in _table()[table]:
        if _has(fault, *row.get("kinds", ())) or ("pattern" in row and re.search(row["pattern"], text)):
            return _error(row, endpoint)
    return None


def _of_environment(fault: BaseException, text: str) -> LabError | None:
    """What a variable of this process stands in the way with, by its name."""
    log = os.environ.get("SSLKEYLOGFILE", "")
    place = log if os.path.exists(log) else os.path.dirname(log) or "."
    if log and not os.access(place, os.W_OK) and re.search(r"(Error\(|Errno )(2|13)\b", text):
        return LabError(
            f"TLS can't begin: the file that SSLKEYLOGFILE names can't be written: {log}.",
            next_step="Unset SSLKEYLOGFILE, and restart the notebook's kernel.",
        )
    if _has(fault, "requests.exceptions.ProxyError") or "ProxyError" in text:
        names = [name for name in os.environ if re.fullmatch(r"(?i)(https?|all)_proxy", name)]
        return NoEngine(
            "The proxy on the way to the engine refuses, or is not there.",
            cause=f"It is named by {' and '.join(sorted(names))}." if names else "",
            next_step="Put the engine's machine into NO_PROXY, or unset the variable.",
        )
    return None


def _has(fault: BaseException | None, *kinds: str) -> bool:
    """Whether it, or one that led to it, is of one of these kinds, each with its module's name before its own."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        if any(f"{kind.__module__}.{kind.__qualname__}" in kinds for kind in type(fault).__mro__):
            return True
        seen.add(id(fault))
        wrapped = next((arg for arg in fault.args if isinstance(arg, BaseException)), None)
        reason = getattr(wrapped, "reason", None)
        fault = fault.__cause__ or fault.__context__ or (reason if isinstance(reason, BaseException) else wrapped)
    return False


@functools.cache
def told() -> tuple[type[Exception], ...]:
    """What is told in sentences: labkit's own errors, docker-py's, those of requests, in mid-stream urllib3's below."""
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

    return (LabError, docker.errors.DockerException, docker.errors.StreamParseError,
            requests.exceptions.RequestException, urllib3.exceptions.HTTPError)  # fmt: skip


@contextmanager
def explained(endpoint: str = "") -> Iterator[None]:
    """Turn what docker-py, requests and sockets raise inside into a :class:`LabError`.

    Interrupts pass through, and so does an ``OSError`` that is not a connection's, such as one of a file.
    """
    try:
        yield
    except LabError:
        raise
    except told() as fault:
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
