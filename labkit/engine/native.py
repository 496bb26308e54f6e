"""Another Docker Engine (or Podman) beside the machine's own, for root: as fast as the machine, in a root of its own.

Its packages are a Debian suite's, as the embedded engine's are. dockerd runs in mount and network
namespaces of its own, so nothing of it touches the machine's engine, bridge or firewall, and published
ports are reached from within only (:meth:`Native.within`). It shares the machine's kernel, process
numbers and control groups.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import debian
from ..errors import LabError, NotPossibleHere
from ..paths import cache_dir, text_beside
from ..saying import say
from ..waiting import wait_until
from .embedded import packages, store
from .facts import read_facts
from .host import HostEngine, find_host

#: Seconds that dockerd has to answer, and to end with all its containers.
PATIENCE = 60


@dataclass(frozen=True)
class Program:
    """What answers the Docker Engine API.

    Args:
        name: the product's name.
        main: its program.
        packages: Debian's; a trailing ``?`` marks what may be missing in a suite.
        stores: where it keeps images and containers.
        settings: its settings, as (path, text).
        command: how it is started; ``$3`` is the control group for its containers.
        group: the control group that its containers are in, where it does not take one.
        finish: a command that ends its containers, where it does not do so itself.
    """

    name: str
    main: str
    packages: tuple[str, ...]
    stores: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    command: str
    group: str = ""
    finish: tuple[str, ...] = ()


_BASE = ("base-files", "mount", "procps")

DOCKER = Program(
    "Docker Engine",
    "dockerd",
    (*_BASE, "docker.io", "docker-cli?", "tini", "iptables"),
    ("var/lib/docker", "var/lib/containerd"),
    (),
    'dockerd -H unix:///run/docker.sock --cgroup-parent "/$3"',
)

# It would raise the limit on open files, which a machine may not let even root do; and its usual runtime, crun,
# refuses machines that have both cgroup versions mounted. Docker's runc doesn't.
_PODMAN_SETTINGS = text_beside(__file__, "podman.conf")

PODMAN = Program(
    "Podman",
    "podman",
    (*_BASE, "podman", "runc", "netavark", "aardvark-dns?", "nftables", "catatonit"),
    ("var/lib/containers",),
    (
        ("etc/containers/containers.conf", _PODMAN_SETTINGS),
        ("etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}'),
    ),
    "podman system service --time=0 unix:///run/docker.sock",
    "libpod_parent",
    ("podman", "rm", "--all", "--force", "--time=0"),
)

# What is not unpacked; Podman, unlike the machine's programs, needs the libraries after all.
_UNUSED = re.compile(rf"(?!libsemanage|libsepol){packages.UNUSED.pattern}")

# The programs without which nothing goes; whether they are whole is looked at before each start.
_SEALED = ("dockerd", "containerd", "podman", "runc")

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

#: How this module's folders and control groups begin; the number of the process that made them follows.
_OURS = "labkit-native-"

_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "var/lib", "var/tmp")

_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\ndocker:x:999:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    # There is no way out of its network. Empty, or Docker would fall back to public servers.
    "etc/resolv.conf": "nameserver 127.0.0.1\n",
}

# Becomes dockerd in its own root, $1 the unpacked one and $2 this run's folder. What it mounts is seen by
# nobody else. A new sysfs shows its own network's interfaces, and leaves out securityfs: without it dockerd
# loads no AppArmor profile of its own into the machine's kernel. Podman keeps its locks in /dev/shm, by number:
# shared with the machine's own, each would free what the other one holds.
_SCRIPT = text_beside(__file__, "native.sh")


class Native(HostEngine):
    """A running engine; made by :func:`start`. Labs use it as any host engine, at its ``endpoint``."""

    def __init__(self, engine: HostEngine, pid: int):
        self.__dict__.update(vars(engine))
        self.pid = pid

    def within(self) -> list[str]:
        """What a command is prefixed with to run in the engine's network, where its published ports are."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]


def root(suite: str, program: Program = DOCKER) -> Path:
    """The root of a suite's Docker Engine (or Podman), unpacked in the cache; made where it is missing.

    Raises:
        NotPossibleHere: no ``apt-get`` here.
        LabError: packages out of reach, no space.
    """
    home = cache_dir("native")
    recipe = store.key(program.packages, program.stores, _FOLDERS, _TEXTS, debian.architecture())
    target = home / f"{program.main}-{suite}-{recipe}"
    with store.locked(home, lambda: say("Waiting for another engine to be unpacked")):
        if not store.intact(target):
            _clear_old(home, target)
            must = [name for name in program.packages if not name.endswith("?")]
            optional = [name[:-1] for name in program.packages if name.endswith("?")]
            debs = debian.fetch(must, suite=suite, optional=optional, skip=_UNUSED)
            say(f"Unpacking {len(debs)} packages (Debian {suite})")
            with store.made_aside(target) as aside:
                _unpack(debs, aside / "root", program.stores)
                files = [path.relative_to(aside) for path in aside.glob("root/usr/*bin/*") if path.name in _SEALED]
                store.seal(aside, map(str, files), packages=[deb.name for deb in debs])
    return target / "root"


def _clear_old(home: Path, target: Path) -> None:
    # Another labkit's: but one that still runs, or another checkout, may need them for a while.
    for folder in home.glob(f"{target.name.rpartition('-')[0]}-*"):
        if folder != target and not store.recent(folder):
            shutil.rmtree(folder)


def _unpack(debs: list[Path], into: Path, stores: Sequence[str]) -> None:
    debian.unpack(debs, into)
    debian.merge_usr(into)
    for name in (*_FOLDERS, *stores):
        (into / name).mkdir(parents=True, exist_ok=True)
    for name in ("iptables", "ip6tables") if (into / "usr/sbin/xtables-nft-multi").exists() else ():
        (into / "usr/sbin" / name).unlink(missing_ok=True)
        (into / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    for name, text in _TEXTS.items():
        (into / name).write_text(text, encoding="utf-8")
    subprocess.run(["ldconfig", "-r", into], check=True, env={"PATH": _PATH})


@contextlib.contextmanager
def start(variant: packages.Variant, program: Program = DOCKER, *, folder: Path | None = None) -> Iterator[Native]:
    """An engine for the length of a ``with`` block; nothing of it is left afterwards, its images included.

    Args:
        variant: the suite that it comes from, and its image store (Docker Engine's).
        program: Docker Engine or Podman.
        folder: an empty or missing folder for what it writes; a temporary one by default. It is removed.

    Raises:
        NotPossibleHere: not root, or the tools for namespaces are missing.
        LabError: packages out of reach, no space, or dockerd did not start; the sentence has its last words.
    """
    missing = [
        tool for tool in ("unshare", "nsenter", "setpriv", "pivot_root", "ip") if not shutil.which(tool, path=_PATH)
    ]
    if os.name != "posix" or os.geteuid() != 0 or missing:
        raise NotPossibleHere(
            "A second Docker Engine can't be started beside this machine's.",
            cause=f"It needs {' and '.join(missing)}." if missing else "Only root may give it a root of its own.",
            next_step="Use the embedded engine, which needs no rights: LABKIT_ENGINE=embedded",
        )
    _clear_leftovers()
    unpacked = root(variant.suite, program)
    place = Path(folder or tempfile.mkdtemp(prefix=f"{_OURS}{os.getpid()}-")).resolve()
    for name in ("upper", "work", "root", "run", *program.stores):
        (place / name).mkdir(parents=True, exist_ok=True)
    daemon = ("etc/docker/daemon.json", json.dumps(packages.STORES[variant.store]))
    for name, text in (*program.settings, daemon):
        (place / "upper" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "upper" / name).write_text(text, encoding="utf-8")
    group = f"{_OURS}{os.getpid()}-{place.name.removeprefix(f'{_OURS}{os.getpid()}-')}"
    # With the death of this process, or of this thread alone, goes dockerd, and with it its containers.
    command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--net", "--mount", "--propagation", "private"]
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, "sh", "-c", f"{_SCRIPT}exec {program.command}", "sh", unpacked, place, group, " ".join(program.stores)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env={"PATH": _PATH},
        )  # fmt: skip
    space = None
    try:
        engine = _answering(program.name, f"unix://{place}/run/docker.sock", process, place / "log")
        # Held open: somebody may kill dockerd, and its number would be another's with the last process there.
        space = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)
        if program is DOCKER:
            _require_store(engine, variant)
        yield Native(engine, process.pid)
    finally:
        _end(process, space, group, program)
        shutil.rmtree(place)


def _answering(name: str, endpoint: str, process: subprocess.Popen[bytes], log: Path) -> HostEngine:
    def answering() -> HostEngine | None:
        with contextlib.suppress(LabError):
            return find_host(endpoint)[0]
        return None

    found = wait_until(lambda: answering() or process.poll() is not None, PATIENCE, every=0.1)
    if isinstance(found, HostEngine):
        return found
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    raise LabError(f"{name} did not start beside this machine's engine.", cause=" ".join(words))


def _require_store(engine: HostEngine, variant: packages.Variant) -> None:
    # Engines leave out settings that they don't know, without a word.
    import docker

    client = docker.DockerClient(**engine.client_options(), version="auto")
    try:
        facts = read_facts(client, engine)
    finally:
        client.close()
    if variant.store not in ("", facts.image_store):
        raise NotPossibleHere(f"Docker Engine {facts.version} has no {variant.store} store.")


def _clear_leftovers() -> None:
    """Remove what killed processes left: their dockerd has ended with them, its groups and folders are still there."""
    names = {folder.name for folder in Path(tempfile.gettempdir()).glob(f"{_OURS}*")}
    names |= {folder.name for top in _hierarchies() for folder in top.glob(f"{_OURS}*")}
    for name in names:
        if not Path("/proc", name.removeprefix(_OURS).split("-")[0]).exists():
            _remove_groups(name)
            shutil.rmtree(Path(tempfile.gettempdir(), name), ignore_errors=True)


def _end(process: subprocess.Popen[bytes], space: int | None, group: str, program: Program) -> None:
    """End the engine, and then whatever is still in its mount namespace (an open file) or its control groups."""
    mounts = _namespace(str(process.pid)) if space is None else os.readlink(f"/proc/self/fd/{space}")
    if program.finish and process.poll() is None:
        subprocess.run(
            ["nsenter", f"--target={process.pid}", "--mount", "--net", *program.finish],
            env={"PATH": _PATH}, timeout=PATIENCE, capture_output=True, check=False,
        )  # fmt: skip
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

    def ended() -> bool:
        # Version 1 keeps what is frozen, as a paused container whose dockerd was killed, from being killed, too.
        for state in Path("/sys/fs/cgroup/freezer", group).glob("*/freezer.state"):
            state.write_text("THAWED", encoding="ascii")
        left = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _belongs(pid, mounts, group)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        return not left and not _remove_groups(group)

    late = f"The second engine is gone, but its control groups /{group} could not be removed."
    wait_until(ended, PATIENCE, late, every=0.1)
    if space is not None:
        os.close(space)
    if program.group:  # what is not empty after that is another one's
        wait_until(lambda: not _remove_groups(program.group), 5, every=0.1)


def _namespace(pid: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return ""


def _belongs(pid: str, mounts: str, group: str) -> bool:
    if mounts and mounts != _namespace("self") and _namespace(pid) == mounts:
        return True
    with contextlib.suppress(OSError):
        return f":/{group}/" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    return False


def _hierarchies() -> list[Path]:
    # Version 2 has one, version 1 has many.
    return [Path("/sys/fs/cgroup"), *(path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir())]


def _remove_groups(group: str) -> list[Path]:
    """Remove the engine's control groups from every hierarchy; returns those that could not be."""
    left = []
    for top in _hierarchies():
        for folder, _, _ in os.walk(top / group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                left.append(Path(folder))
    return left
