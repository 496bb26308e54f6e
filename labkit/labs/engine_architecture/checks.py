"""Lab 06: predictions, exercises and quiz."""

from __future__ import annotations

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from ...units import MIB

CONTENT = LabContent("06-engine-architecture")

CONTENT.prediction(
    "parent",
    "A container runs `sleep`. Whose child is that process on the engine's machine?",
    ("dockerd's", "containerd's", "a shim's", "runc's"),
    2,
    "One shim for each container. runc made the process and was gone before you could look.",
)
CONTENT.prediction(
    "requests",
    "`docker run --rm IMAGE true`: what does the `docker` command itself do?",
    (
        "It makes namespaces and starts the program",
        "It sends a handful of HTTP requests and waits",
        "It starts runc, which does the rest",
    ),
    1,
    "Create, attach, wait, start: all of it HTTP. The client runs nothing itself.",
)
CONTENT.prediction(
    "time",
    "A `docker run` of `true` takes some hundred milliseconds. How much of that is the program itself?",
    ("Nearly all of it", "About half", "A few thousandths"),
    2,
    "The program is there for about a millisecond. The rest is preparing its surroundings, and clearing them away.",
)
CONTENT.prediction(
    "dockerd",
    "dockerd's setting live-restore is on, and dockerd is stopped while a container runs. What becomes of the container?",
    ("It stops too", "It goes on, but what it prints meanwhile is lost", "It goes on, and nothing is lost"),
    2,
    "The shim is its parent and holds its output. dockerd finds it again when it comes back. "
    "(Lost is only what a container says that ends before then. Without the setting it would have stopped too.)",
)
CONTENT.prediction(
    "group",
    "An ordinary user is in the docker group, and nothing else. Can that user read a file that only root may read?",
    ("No", "Yes, through a container"),
    1,
    "Whoever may talk to dockerd may mount the machine's root directory into a container and be root there.",
)

CONTENT.ask(
    "delegates",
    "Which part creates namespaces and applies cgroups?",
    ("dockerd", "containerd", "runc"),
    2,
    "runc does it by asking the kernel, then starts the program and exits.",
)
CONTENT.ask(
    "api",
    "The notes call the Docker API one of three ways to reach dockerd. What is it really?",
    ("A third kind of socket", "What is spoken over the Unix socket and over TCP alike", "A program beside dockerd"),
    1,
    "The API runs over the sockets. Clients and tools all speak it.",
)
CONTENT.ask(
    "shim",
    "What is the shim for?",
    (
        "It downloads images",
        "It is the container's parent, so the daemons can go and come back",
        "It checks certificates",
    ),
    1,
    "It holds the container's input and output and keeps its exit status until somebody asks.",
)
CONTENT.ask(
    "old",
    "What was different before Docker 1.11?",
    (
        "There were no images",
        "The daemon did everything itself and was the parent of every container",
        "containerd ran without dockerd",
    ),
    1,
    "If the daemon ended, its containers ended with it. containerd and runc came with 1.11, in April 2016.",
)
CONTENT.ask(
    "socket",
    "What protects /var/run/docker.sock?",
    ("A password", "File permissions: owner root, group docker", "TLS"),
    1,
    "Nothing but the file's mode. So membership in the docker group equals root.",
)


@CONTENT.exercise(
    "raw",
    "A container by HTTP",
    "Three requests do it: `POST /containers/create?name=…`, `POST /containers/ID/start`, `GET /containers/ID/json`.",
    "`HostConfig` takes `Memory` in bytes: 64 MiB is `64 * 2**20`.",
    'Give it a `"Cmd"` that lasts, and `"Labels": lab.docker.lab_labels`, so that the lab finds it and clears it away.',
)
def raw(on: Context) -> Outcome:
    wanted = "/" + on.session.name("raw")
    found = [row for row in containers(on) if row["Name"] == wanted]
    if not found:
        return not_yet("no container of this session has that name.", 0)
    [row] = found
    if row["HostConfig"]["Memory"] != 64 * MIB:
        return not_yet("it is there, but its memory limit is not 64 MiB.", 1)
    if not row["State"]["Running"]:
        return not_yet("it is there, with its limit, but it doesn't run.", 2)
    return passed("it runs, and its limit is 64 MiB.")


@CONTENT.exercise(
    "number",
    "Two numbers, one process",
    '`container.attrs["State"]["Pid"]` is its number on the engine\'s machine; reload first.',
    'Write it with `container.exec_run(["sh", "-c", f"echo {pid} > /pid"])`.',
    "A restart gives the process a new number: write the file after the last start.",
)
def number(on: Context) -> Outcome:
    running = [row for row in containers(on) if row["State"]["Running"]]
    if not running:
        return not_yet("no container of this session is running.", 0)
    seen = False
    for row in running:
        text = _read(on, row["Id"], "/pid")
        seen = seen or bool(text)
        if text == str(row["State"]["Pid"]):
            return passed("inside it is process 1, outside it has another number: you wrote it down.")
    if seen:
        return not_yet("there is a file /pid, but another number in it.", 2)
    return not_yet("no running container of this session has a file /pid.", 1)


def _read(on: Context, container: str, path: str) -> str:
    """A small file from a container; empty where there's none."""
    import io
    import tarfile

    from docker.errors import NotFound

    with explained(on.session.engine.endpoint):
        try:
            stream, _ = on.docker.api.get_archive(container, path)
            data = io.BytesIO(b"".join(stream))
        except NotFound:
            return ""
    with tarfile.open(fileobj=data) as tar:
        handle = tar.extractfile(tar.getmembers()[0])
        return handle.read(4096).decode("utf-8", "replace").strip() if handle else ""


@CONTENT.exercise(
    "shims",
    "One shim each",
    "Start them in the background with `detach=True`, each with something that takes its time.",
    "Three containers make three shims. Three programs in one container have one.",
    '`for n in range(3): lab.docker.containers.run("labkit/busybox:1", ["sleep", "600"], detach=True)`',
)
def shims(on: Context) -> Outcome:
    running = [row for row in containers(on) if row["State"]["Running"]]
    if not running:
        return not_yet("no container of this session is running.", 0)
    main = on.observer.processes([row["State"]["Pid"] for row in running])
    parents = {row["ppid"] for row in main}
    named = [row for row in on.observer.processes(sorted(parents)) if "shim" in row["comm"]]
    if len(named) < 3:
        return not_yet(f"the containers of this session have {len(named)} shims; three are wanted.", 1)
    return passed("three containers or more, and a shim for each.")
