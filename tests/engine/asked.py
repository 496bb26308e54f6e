"""What clients ask of an engine, as the wiretap hears it, in a form in which ``docker`` and docker-py are comparable."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from labkit.engine import Engine
from labkit.engine.session import ROLE
from labkit.observe.wiretap import Exchange, Wiretap

#: A request that does something, or something to it: what it does, and what else of it is compared.
Fact = dict[str, Any]

#: What of a container's settings comes from its command; each client fills in others on its own.
DECISIVE = (
    "Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuQuota", "CpuPeriod", "CpuShares", "CpusetCpus",
    "PidsLimit", "OomScoreAdj", "CgroupParent", "BlkioDeviceWriteBps", "BlkioDeviceReadBps", "Devices", "CapAdd", "CapDrop",
    "Privileged", "ReadonlyRootfs", "Init", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "Runtime", "Ulimits", "ExtraHosts",
)  # fmt: skip

#: Requests that act on something that is there.
_ACT = re.compile(
    r"(?:POST|GET) (container|network|image)s/(?:(.+)/)?(start|stop|restart|pause|unpause|kill|update|exec|connect|"
    r"disconnect|push|tag|load|get)|DELETE (container|network|volume|image)s/(.+)"
)


def through(tap: Wiretap, engine: Engine) -> Engine:
    """The same engine, reached through a wiretap; who lets go of it ends nothing."""
    tapped = copy.copy(engine)
    tapped.endpoint = tap.endpoint
    tapped.environment = lambda: {"DOCKER_HOST": tap.endpoint}
    tapped.client_options = lambda: {"base_url": tap.endpoint}
    tapped.close = lambda: None
    return tapped


class Ears:
    """Reads what passes a wiretap: which containers are labkit's own helpers, what was asked, what was made."""

    def __init__(self, tap: Wiretap):
        self._tap = tap
        self._helpers: set[str] = set()
        self._named: dict[str, str] = {}
        self._read = 0

    @property
    def now(self) -> int:
        """How many requests have been made so far."""
        return len(self._tap.exchanges)

    def since(self, begin: int, *sessions: str) -> list[Fact]:
        """What has been asked and answered from there on; each of these sessions is called $SESSION in it."""
        self._know()
        facts = (self._fact(one) for one in self._tap.exchanges[begin:] if one.status)
        return [json.loads(_plain(json.dumps(fact), sessions)) for fact in facts if fact]

    def made(self, begin: int = 0) -> list[tuple[str, str]]:
        """What was created from there on, as (kind, name or id); an image by each name that it was given."""
        found = []
        for one in self._tap.exchanges[begin:]:
            line, query = _line(one)
            answer = one.answer() if re.fullmatch(r"POST \w+s/create", line) and one.status == 201 else None
            if isinstance(answer, dict):
                kind = line.split()[1].split("s/")[0]
                found.append((kind, answer.get("Id") or answer["Name"]))
            elif line.endswith("/tag") and one.status == 201:
                found.append(("image", _name(query["repo"], query.get("tag", ""))))
        return found

    def _know(self) -> None:
        """Learn which ids and names are whose; a request that has no answer yet is looked at again."""
        for one in self._tap.exchanges[self._read :]:
            line, query = _line(one)
            if line in ("POST containers/create", "POST networks/create"):
                if one.ended is None:
                    return
                body, answer = one.asked(), one.answer()
                if one.status == 201 and line.startswith("POST networks"):
                    self._named[answer["Id"]] = body["Name"]
                elif one.status == 201 and (body.get("Labels") or {}).get(ROLE, "yard") != "yard":
                    self._helpers |= {answer["Id"], query.get("name", "")}
            self._read += 1

    def _fact(self, one: Exchange) -> Fact | None:
        line, query = _line(one)
        fact = self._what(line, query, one)
        if fact and one.status >= 400:
            fact["refused"] = True
        return fact

    def _what(self, line: str, query: dict[str, str], one: Exchange) -> Fact | None:
        if line == "POST containers/create":
            body = one.asked()
            helper = (body.get("Labels") or {}).get(ROLE, "yard") != "yard"
            return None if helper else {"do": "create container", **container(body)}
        if line in ("POST networks/create", "POST volumes/create"):
            body, kind = one.asked(), line.split("s/")[0].removeprefix("POST ")
            fact = {"do": f"create {kind}", "name": body.get("Name"), "internal": bool(body.get("Internal"))}
            return fact if body.get("Driver") in (None, "", "bridge", "local") else {**fact, "driver": body["Driver"]}
        if line == "POST images/create":
            name = _name(query.get("fromImage", ""), query.get("tag", ""))
            return {"do": "pull", "image": name, "platform": query.get("platform", "").partition("/v8")[0]}
        found = _ACT.fullmatch(line)
        if found is None:
            return None
        kind, on, verb = found[1] or found[4], found[2] or found[5] or "", found[3]
        if on in self._helpers:
            return None
        fact = {"do": f"{verb or 'remove'} {kind}"}
        if verb == "kill":
            fact["signal"] = re.sub("^(SIG)?(9|KILL)?$", "KILL", query.get("signal", ""))
        elif verb == "exec":
            fact["argv"] = one.asked()["Cmd"]
        elif verb == "update":
            fact |= settings(one.asked())
        elif kind == "network":
            body = one.asked() if verb else {}
            if body.get("Container") in self._helpers:
                return None
            aliases = (body.get("EndpointConfig") or {}).get("Aliases") or []
            fact |= {"name": self._named.get(on, on), **({"aliases": sorted(aliases)} if aliases else {})}
        elif kind == "image":
            tag = query.get("tag", "")
            fact["image"] = _name(on or query.get("names", ""), tag if verb == "push" else "")
            fact |= {"name": _name(query["repo"], tag)} if verb == "tag" else {}
        return fact


def _name(name: str, tag: str = "") -> str:
    """An image's name in full, but for Docker's own registry: the command line says what docker-py leaves to the engine."""
    name = re.sub(r"^docker\.io/(library/)?", "", name)
    if tag or not re.search(r"[:@][^/]*$", name):
        name += f"@{tag}" if tag.startswith("sha256:") else f":{tag or 'latest'}"
    return name


def _line(one: Exchange) -> tuple[str, dict[str, str]]:
    """A request's method and path, without the API's version; and what was asked behind the question mark."""
    path, _, query = one.path.partition("?")
    place = re.sub(r"^/(v[\d.]+/)?", "", unquote(path))
    return f"{one.method} {place}", {key: values[0] for key, values in parse_qs(query).items()}


def settings(host: dict[str, Any]) -> Fact:
    """The decisive ones of a container's settings, where they are not the default; a quota as a number of processors."""
    found = {key: host[key] for key in DECISIVE if host.get(key)}
    found |= {
        key: sorted(name.removeprefix("CAP_") for name in found[key]) for key in ("CapAdd", "CapDrop") if key in found
    }
    if found.get("CpuQuota", 0) > 0:
        found["NanoCpus"] = 10**9 * found.pop("CpuQuota") // found.pop("CpuPeriod", 100_000)
    return found


def container(body: dict[str, Any]) -> Fact:
    """What of a container comes from its command: image, program, user, limits, rights, network, mounts, ports."""
    host = body.get("HostConfig") or {}
    policy = host.get("RestartPolicy") or {}
    ends = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    aliases = sorted(alias for end in ends.values() for alias in (end or {}).get("Aliases") or [])
    network = re.sub(":.*", "", host.get("NetworkMode") or "default")
    mounts = [*map(_bind, host.get("Binds") or []), *map(_mount, host.get("Mounts") or []),
              *([path, "tmpfs", how] for path, how in (host.get("Tmpfs") or {}).items())]  # fmt: skip
    # docker-py names the targets of binds there, too.
    mounts += [[path, "volume", ""] for path in body.get("Volumes") or {} if path not in [one[0] for one in mounts]]
    fact = {
        "image": body["Image"],
        "argv": [*(body.get("Entrypoint") or []), *_words(body.get("Cmd"))],
        "user": body.get("User") or "",
        "hostname": body.get("Hostname") or "",
        "environment": sorted(body.get("Env") or []),
        "listens": bool(body.get("OpenStdin")),
        "network": "bridge" if network == "default" else network,
        "aliases": aliases,
        "ports": {port: [[one.get("HostIp") or "", one.get("HostPort") or ""] for one in places or []]
                  for port, places in (host.get("PortBindings") or {}).items()},
        "mounts": sorted(mounts),
        "restart": [policy.get("Name"), policy.get("MaximumRetryCount") or 0],
        "security": sorted(map(_profile, host.get("SecurityOpt") or [])),
        "health": (body.get("Healthcheck") or {}).get("Test"),
    }  # fmt: skip
    unset = (None, "", [], {}, False, [None, 0], ["", 0], ["no", 0])
    return {**{key: value for key, value in fact.items() if value not in unset}, **settings(host)}


def _words(command: Any) -> list[str]:
    return command.split() if isinstance(command, str) else command or []


def _bind(bind: str) -> list[str]:
    source, target, *mode = bind.split(":")
    return [target, source, "".join(mode).replace("rw", "")]


def _mount(mount: dict[str, Any]) -> list[str]:
    return [mount["Target"], mount.get("Source") or mount["Type"], "ro" if mount.get("ReadOnly") else ""]


def _profile(option: str) -> str:
    """A seccomp profile is given as text, which each client writes in its own way."""
    name, _, text = option.partition("=")
    return f"{name}={json.dumps(json.loads(text), sort_keys=True)}" if text.startswith("{") else option


def _plain(text: str, sessions: Sequence[str]) -> str:
    """Without what differs from one session to the next: its name, addresses, identifiers, a process's number; a call's own tag
    is a commit's."""
    text = re.sub(r"127\.0\.0\.1:\d+", "$REGISTRY", re.sub("|".join(sessions), "$SESSION", text))
    text = re.sub(r"\b(?!127\.|0\.0\.)\d+\.\d+\.\d+\.\d+\b", "ADDRESS", text)
    text = re.sub(r"(\$SESSION:)[0-9a-f]{12}\b", r"\g<1>1", text)
    text = re.sub(r"\becho \d+ > /pid\b", "echo PID > /pid", text)
    return re.sub(r"\b[0-9a-f]{64}\b", "ID", text)


def missing(typed: Iterable[Fact], called: Sequence[Fact]) -> list[Fact]:
    """What was typed and has not been called; the call may do more."""
    return [one for one in typed if not any(_alike(one, other) for other in called)]


def _alike(typed: Fact, called: Fact) -> bool:
    """Whether both are one. A call's program that is too long for a line may be another one than the command's, and what
    it measures may take further mounts; a host name and variables that the command leaves out are the call's own, and so
    is the runtime: where a processor is emulated, a lab's calls take the quicker one."""
    free = {"argv"} if len(" ".join(called.get("argv", ()))) > 60 else set()
    free |= {"hostname", "Runtime"} - set(typed)
    for key in ("environment", *(["mounts"] if "argv" in free else [])):
        if all(one in called.get(key, ()) for one in typed.get(key, ())):
            free.add(key)
    return {**called, **dict.fromkeys(free)} == {**typed, **dict.fromkeys(free)}
