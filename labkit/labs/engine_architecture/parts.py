"""The engine's parts: its processes, its API by every way in, its socket.

:mod:`labkit.labs.engine_architecture.parts_owned` takes them apart, on an engine that the lab owns.
"""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ...course.context import Context
from ...course.result import Result
from ...engine.dockercli import read_words, run, run_cli
from ...engine.rawhttp import request
from ...engine.session import SESSION
from ...errors import BadInput, LabError, NotPossibleHere
from ...observe.rows import ProcessRow
from ...observe.wiretap import Exchange, Wiretap
from ...units import yes_no
from ...waiting import wait_until

DAEMONS = ("dockerd", "containerd")


class Tree(Result):
    """The engine's processes while one container runs, read on the engine's machine.

    ``rows`` are (depth, pid, name, what it is); ``chain`` are the container's main process and its
    ancestors by name, nearest first; ``parents`` says who is whose parent.
    """

    rows: list[tuple[int, int, str, str]]
    chain: list[str]
    daemons: list[str]
    runc_runs: bool
    shim_parent: str

    def facts(self) -> str:
        shim = self.chain[1] if len(self.chain) > 1 else "?"
        return (
            f"dockerd runs: {yes_no('dockerd' in self.daemons)}"
            f" · containerd runs: {yes_no('containerd' in self.daemons)}"
            f" · runc still runs: {yes_no(self.runc_runs)}\n"
            f"the container's main process: {self.chain[0]}, its parent: {shim}\n"
            f"the shim's parent is containerd: {yes_no(self.shim_parent == 'containerd')}"
        )


def processes(on: Context) -> Tree:
    """Start a container that sleeps, and read the engine's process tree with parents.

    Raises:
        labkit.errors.LabError: the engine's machine can't be observed.
    """
    with on.container(on.image(), ["sleep", "600"], network_mode="none") as container:
        main = on.main_pid(container)
        rows = {row["pid"]: row for row in on.observer.processes()}
    if main not in rows:
        raise LabError("The container's process was not found on the engine's machine.",
                       next_step="On a rootless engine, use LABKIT_ENGINE=embedded.")  # fmt: skip
    chain = _ancestors(rows, main)
    names = [_name(rows[pid]) for pid in chain]
    ours = _daemons(rows, rows[chain[1]]) if len(chain) > 1 else []
    wanted = {pid for one in (main, *ours) for pid in _ancestors(rows, one)}
    running = [_name(rows[pid]) for pid in ours]
    # Somebody else's runc may be at work this very moment: only one for this container counts.
    left = any(_name(row) in ("runc", "crun") and container.id in " ".join(row["command"]) for row in rows.values())
    return Tree(
        on.facts, _tree(rows, wanted, main), names, [name for name in DAEMONS if name in running],
        left, names[2] if len(names) > 2 else "nobody",
    )  # fmt: skip


def _ancestors(rows: dict[int, ProcessRow], pid: int) -> list[int]:
    """A process and its ancestors, nearest first."""
    found = [pid]
    while (parent := rows[found[-1]]["ppid"]) in rows:
        found.append(parent)
    return found


def _name(row: ProcessRow) -> str:
    # The kernel keeps 15 letters of a name; the program's path has all of them.
    full = row["exe"].rsplit("/", 1)[-1].removesuffix(" (deleted)")
    return full if full.startswith(row["comm"]) and len(row["comm"]) == 15 else row["comm"]


def _daemons(rows: dict[int, ProcessRow], shim: ProcessRow) -> list[int]:
    """The dockerd and the containerd behind a shim: a machine may have several of each (Docker in Docker, tests).

    The shim's command line names its containerd's socket, a path in the files that both see: engines with roots of
    their own call theirs alike. That containerd is the one with the same folder on its own command line, or one that
    names none (the usual address is built in).
    """
    address = dict(zip(shim["command"], shim["command"][1:])).get("-address", "")
    folder = address.rsplit("/", 1)[0]

    def best(name: str, *tests: Callable[[int], object]) -> int | None:
        named = [pid for _, pid in sorted((row["started"], pid) for pid, row in rows.items() if _name(row) == name)]
        found = [pid for pid in named if rows[pid]["namespaces"].get("mnt") == shim["namespaces"].get("mnt")] or named
        # The oldest, where nothing tells them apart.
        return next((pid for test in (*tests, bool) for pid in found if test(pid)), None)

    def words(pid: int) -> str:
        return " ".join(rows[pid]["command"])

    containerd = best("containerd", lambda pid: folder and folder in words(pid), lambda pid: "--" not in words(pid))
    parent = rows[containerd]["ppid"] if containerd is not None else 0
    dockerd = best("dockerd", lambda pid: pid == parent, lambda pid: address and address in words(pid),
                   lambda pid: "--containerd" not in words(pid))  # fmt: skip
    return [pid for pid in (dockerd, containerd) if pid is not None]


_ROLES = {
    "dockerd": "the daemon: serves the API",
    "containerd": "manages container runtimes",
    "containerd-shim-runc-v2": "this container's shim",
}


def _tree(
    rows: dict[int, ProcessRow], wanted: set[int], main: int, parent: int | None = None, depth: int = 0
) -> list[tuple[int, int, str, str]]:
    """The wanted processes below a parent, or all of them: depth, number, name and role of each."""
    found = []
    for pid in sorted(wanted):
        above = rows[pid]["ppid"]
        if above == parent or (parent is None and above not in wanted):
            name = _name(rows[pid])
            role = "process 1 inside the container" if pid == main else _ROLES.get(name, "")
            found += [(depth, pid, name, role), *_tree(rows, wanted, main, pid, depth + 1)]
    return found


class Tapped(Result):
    """The requests that one client command sent; ``output`` is what it printed."""

    command: str
    status: int
    output: str
    exchanges: list[Exchange]

    @property
    def requests(self) -> list[str]:
        """Method and path of each, without version, query and identifiers: the same on every run."""
        return [f"{one.method} {plain(one.path)}" for one in self.exchanges]

    def facts(self) -> str:
        rows = []
        for number, (one, line) in enumerate(zip(self.exchanges, self.requests), 1):
            extra = "  (becomes a two-way stream)" if one.hijacked else ""
            rows.append(f"{number}. {line:<32} → {one.status}{extra}")
        return "\n".join([f"$ {self.command}", *rows])

    def body(self, number: int) -> str:
        """What request ``number`` sent and got, as JSON; identifiers and all. What is empty is left out.

        Raises:
            BadInput: there's no such request.
        """
        if not 1 <= number <= len(self.exchanges):
            raise BadInput(f"There is no request {number}.", next_step=f"Choose 1 to {len(self.exchanges)}.")
        one = self.exchanges[number - 1]
        parts = [f"{one.method} {one.path}"]
        for what, content in (("sent", one.asked()), ("answer", one.answer())):
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(_filled(content), indent=1)
                parts.append(f"{what}: {text}")
        return "\n".join(parts)


def _filled(content: Any) -> Any:
    """JSON content without members that are null, false, 0 or empty: a client sends dozens of those."""
    if isinstance(content, dict):
        return {key: filled for key, value in content.items() if (filled := _filled(value))}
    return [_filled(value) for value in content] if isinstance(content, list) else content


def plain(path: str) -> str:
    """A request's path without what changes from run to run: API version, query, identifiers, names."""
    path = re.sub(r"^/v\d+\.\d+(?=/)", "", path.split("?")[0])
    path = re.sub(r"/[0-9a-f]{64}(?=/|$)", "/ID", path)
    path = re.sub(r"-[0-9a-f]{8}(?=/|$)", "-SESSION", path)
    return path


def wiretap(on: Context, command: str = "docker run --rm labkit/busybox:1 true") -> Tapped:
    """Run a real ``docker …`` command through a recording proxy, and list every request it sent.

    Raises:
        BadInput: not a ``docker`` command, or it didn't end in time.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    words = read_words(command)
    engine = on.session.engine
    on.image()
    with Wiretap(engine) as tap:
        # The classic builder sends plain HTTP; BuildKit would open a stream of its own protocol.
        environment = {**tap.environment(engine), "DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}
        done = run(on.session, words, environment=environment, timeout=120)
        # The client is gone: wait until the proxy has seen its connections close.
        wait_until(lambda: all(one.ended is not None for one in tap.exchanges), 2, every=0.01)
        return Tapped(on.facts, command, done.returncode, done.stdout.rstrip("\n"), list(tap.exchanges))


class Ways(Result):
    """The same question by several ways: way → the container ids that came back.

    ``refusal`` is what a client without a certificate hears, where the engine asks for one.
    """

    answers: dict[str, list[str]]
    asked: str
    refusal: str

    def facts(self) -> str:
        first = next(iter(self.answers.values()))
        rows = []
        for way, answer in self.answers.items():
            rows.append(f"{way:<24} same answer: {yes_no(answer == first and bool(answer))}")
        return "\n".join(rows)


def ways(on: Context) -> Ways:
    """Ask the engine which containers of this session run: by hand, by the client, by the SDK.

    By hand means HTTP written on the engine's own socket: a Unix socket, or TCP with mutual TLS.
    """
    engine = on.session.engine
    label = f"{SESSION}={on.session.id}"
    filters = json.dumps({"label": [label]}, separators=(",", ":"))
    path = f"/containers/json?filters={filters}"
    secured = bool(engine.environment().get("DOCKER_CERT_PATH"))
    with on.container(on.image(), ["sleep", "600"], network_mode="none"):
        answers = {"by hand (HTTP)": sorted(row["Id"] for row in request(engine, "GET", path).json())}
        if engine.cli_path() is not None:
            said = run_cli(on.session, f"docker ps -q --no-trunc --filter label={label}")
            answers["command line (docker)"] = sorted(said.split())
        answers["SDK (docker-py)"] = sorted(one.id for one in on.docker.containers.list(filters={"label": label}))
    refusal = ""
    if secured:
        try:
            request(engine, "GET", "/version", certificate=False)
        except LabError as fault:
            refusal = str(fault.__cause__ or fault)
    return Ways(on.facts, answers, f"GET {path}", refusal)


class Door(Result):
    """The engine's Unix socket as a file on its machine."""

    path: str
    kind: str
    mode: str
    owner: str
    group: str

    def facts(self) -> str:
        others = "nothing" if self.mode.endswith("---") else self.mode[-3:]
        return (
            f"a {self.kind}, mode {self.mode}\n"
            f"owner: {self.owner} · group: {self.group} · what all others may do: {others}"
        )


def socket(on: Context) -> Door:
    """What kind of file the engine's Unix socket is, whose, and who may use it; seen on the engine's machine.

    Raises:
        NotPossibleHere: no socket at the usual places there.
    """
    url = urlsplit(on.session.engine.endpoint)
    candidates = [url.path] if url.scheme == "unix" else []
    for path in [*candidates, "/var/run/docker.sock", "/run/docker.sock"]:
        try:
            found = on.observer.file_facts(path)
        except LabError:
            continue
        if found["kind"] == "socket":
            return Door(on.facts, path, **found)
    raise NotPossibleHere("No Docker socket was found on the engine's machine.",
                          next_step="Rootless engines keep it in $XDG_RUNTIME_DIR/docker.sock.")  # fmt: skip
