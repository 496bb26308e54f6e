"""One learner's kernel on one engine: its labels, its names, its sign of life, its cleaning up.

How the next kernel knows that a session is dead: each session that creates anything first
starts a **keeper**, a container that reads its standard input. The engine closes that input
when the connection to the kernel breaks, however it breaks, and the keeper ends. The engine
itself therefore tells who lives, also to a kernel on another machine. (Ryuk, in
Testcontainers, rests on the same idea with a TCP connection.)
"""

import contextlib
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from docker import DockerClient
from docker.errors import APIError, DockerException, NotFound

from ..errors import LabError
from ..waiting import wait_until
from .attached import AttachedStream
from .base import Engine
from .client import BUILD, LabelledClient, engine_time, quick_runtime
from .faults import explained, told

LAB, SESSION, ROLE = "labkit.lab", "labkit.session", "labkit.role"

#: What Compose puts on all that it makes: the project's name, which in a lab's terminal is the session's.
_PROJECT = "com.docker.compose.project"

#: A keeper that is created but not yet started counts as alive for this many seconds.
STARTING = 60.0
#: Seconds in which a daemon that went away has to be back, or a keeper is started no sooner than something is created.
BACK = 300.0


@dataclass
class Removed:
    """What a clean-up removed, as counts by kind."""

    containers: int = 0
    networks: int = 0
    volumes: int = 0
    images: int = 0
    #: What could not be removed, as sentences.
    kept: list[str] = field(default_factory=list)

    def __iadd__(self, part: Self) -> Self:
        for kind, count in vars(part).items():
            setattr(self, kind, getattr(self, kind) + count)
        return self

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks or self.volumes or self.images)

    def __str__(self) -> str:
        counts = [(count, kind) for kind, count in vars(self).items() if kind != "kept"]
        parts = [f"{count} {kind if count > 1 else kind[:-1]}" for count, kind in counts if count]
        return ", ".join(parts) or "nothing"


class Session:
    """Everything that one kernel makes on one engine.

    Args:
        engine: where.
        lab: the lab's name, for the label.
        keeper_image: called before the first creation; returns the image that the keeper runs
            (a shell with ``cat``) and makes sure that the engine has it. Without it the session
            keeps no sign of life: right for an engine that dies with its kernel.
    """

    def __init__(self, engine: Engine, lab: str, keeper_image: Callable[[], str] | None = None):
        self.engine = engine
        self.lab = lab
        self.id = secrets.token_hex(4)
        self._keeper_image = keeper_image
        self._keeper = ""
        self._keeper_line: AttachedStream | None = None
        self._starting = False
        self._one_at_a_time = threading.RLock()
        self._closed = False
        #: Each ``docker …`` command that was typed through labkit, and when (``time.monotonic``).
        self.typed: list[tuple[float, str]] = []
        with explained(engine.endpoint):
            self.docker = LabelledClient(
                labels={LAB: lab, SESSION: self.id}, before_create=self.show_life, **engine.client_options()
            )
            if engine.emulated:
                self.docker.api.runtime = quick_runtime(self.docker.info())

    def name(self, word: str) -> str:
        """A name that no other session uses: ``web`` becomes ``web-1a2b3c4d``.

        Use it for containers, networks, volumes and image repositories; what bears it is
        removed with the session, labelled or not.
        """
        return f"{word}-{self.id}"

    def show_life(self) -> None:
        """Start the keeper if none lives. The labelled client calls this before each creation."""
        with self._one_at_a_time:
            if self._closed:
                raise LabError("This lab is closed.", next_step="Run its first cell again.")
            self.engine.tell_time()
            if self._keeper_image is None or self._starting or self._keeper_lives():
                return
            self._starting = True
            try:
                self._start_keeper(self._keeper_image())
            finally:
                self._starting = False

    def _keeper_lives(self) -> bool:
        # Asked anew each time (1 ms): a restarted daemon has ended it.
        try:
            return bool(self._keeper and self.docker.api.inspect_container(self._keeper)["State"]["Running"])
        except NotFound:
            return False

    def _start_keeper(self, image: str) -> None:
        api, name = self.docker.api, self.name("labkit-keeper")
        with contextlib.suppress(NotFound):  # one that an interrupt or a restarted daemon has left
            api.remove_container(name, force=True)
        made = api.create_container(
            image,
            ["cat"],
            name=name,
            stdin_open=True,
            network_disabled=True,
            labels={ROLE: "keeper"},
            host_config=api.create_host_config(network_mode="none", mem_limit="16m"),
        )
        self._keeper = made["Id"]
        self._keeper_line = line = AttachedStream(api, self._keeper)
        api.start(self._keeper)
        threading.Thread(target=self._watch, args=(line,), daemon=True, name="labkit-keeper").start()

    def _watch(self, line: AttachedStream) -> None:
        """Start another keeper as soon as can be when this one has ended, as with a daemon that is restarted: until
        then, a lab that is opened beside this one takes it for dead."""
        deque(line.frames(), maxlen=0)

        def shown() -> bool:
            try:
                if not self._closed and line is self._keeper_line:
                    self.docker.api.inspect_container(self._keeper)
                    self.show_life()
                return True
            except told() as fault:
                # Somebody has cleaned up here: nothing is left that a keeper could be for.
                return isinstance(fault, NotFound) or self._closed

        wait_until(shown, BACK, every=0.2)

    def close(self) -> Removed:
        """Remove all that this session made and let go of the engine; nothing can be created after that.

        Raises:
            labkit.errors.LabError: the engine is gone; the next session there cleans up.
        """
        with self._one_at_a_time:  # a keeper that is being started would outlive what removes it
            self._closed = True
        try:
            with explained(self.engine.endpoint):
                return remove(self.docker, self.id)
        finally:
            if self._keeper_line is not None:
                self._keeper_line.close()
                self._keeper_line = None
            self.docker.close()

    def sweep(self) -> Removed:
        """Remove what dead sessions left on this engine; live ones beside us are not touched."""
        total = Removed()
        with explained(self.engine.endpoint):
            for session in dead_sessions(self.docker, but=self.id):
                total += remove(self.docker, session)
        return total


def _labelled(session: str | None) -> dict[str, str]:
    return {"label": f"{SESSION}={session}" if session else SESSION}


def belongs(row: dict[str, Any], session: str) -> bool:
    """Whether a container, network or volume, as the engine lists it, is a session's: by its label; where it has none,
    by its own name or its Compose project's.
    """
    labels = row.get("Labels") or {}
    names = [*(row.get("Names") or [row.get("Name", "")]), labels.get(_PROJECT, "")]
    named = any(name.endswith(f"-{session}") for name in names)
    owner: str = labels.get(SESSION, session if named else "")
    return owner == session


def sessions(client: DockerClient) -> dict[str, str]:
    """Every session that has anything labelled on this engine, and the lab it belongs to."""
    found: dict[str, str] = {}
    filters = _labelled(None)
    with explained():
        rows = [*client.api.containers(all=True, filters=filters), *client.api.networks(filters=filters)]
        for row in rows + (client.api.volumes(filters=filters)["Volumes"] or []):
            found[row["Labels"][SESSION]] = row["Labels"].get(LAB, "?")
        for label in (SESSION, BUILD):
            for row in client.api.images(filters={"label": label}, all=True):
                labels = row.get("Labels") or {}
                if label in labels:
                    found[labels[label]] = labels.get(LAB, "?")
    return found


def dead_sessions(client: DockerClient, *, but: str = "") -> list[str]:
    """Sessions whose keeper has ended or is missing."""
    # Before the keepers: a session that begins in between has a keeper first, so it is not among these.
    found = set(sessions(client))
    alive = {but}
    for row in client.api.containers(all=True, filters={"label": f"{ROLE}=keeper"}):
        session = row["Labels"].get(SESSION, "")
        # By the engine's clock, which tells when it was created.
        young = row["State"] == "created" and engine_time(client.api) - row["Created"] < STARTING
        # A paused keeper can't end, so it says nothing; sparing the living comes first.
        if row["State"] in ("running", "paused") or young:
            alive.add(session)
    return sorted(found - alive)


def remove(client: DockerClient, session: str) -> Removed:
    """Remove what one session made: containers, then networks, volumes and images.

    What carries another session's label, or none, is never touched, except what bears this session's
    name: that was typed in a terminal.
    """
    done = Removed()
    rows = [row for row in client.api.containers(all=True) if belongs(row, session)]
    # The keeper goes last: as long as anything is left, a dead keeper marks it for the next sweep.
    rows.sort(key=lambda row: (row["Labels"] or {}).get(ROLE) == "keeper")
    keepers = [row for row in rows if (row["Labels"] or {}).get(ROLE) == "keeper"]
    for row in rows[: len(rows) - len(keepers)]:
        done.containers += _try(done, client.api.remove_container, row["Id"], v=True, force=True)
    for row in client.api.networks():
        done.networks += belongs(row, session) and _try(done, client.api.remove_network, row["Id"])
    for row in client.api.volumes()["Volumes"] or []:
        done.volumes += belongs(row, session) and _try(done, client.api.remove_volume, row["Name"], force=True)
    done.images += _remove_images(client, session, done)
    for row in keepers:
        _try(done, client.api.remove_container, row["Id"], v=True, force=True)
    return done


def _remove_images(client: DockerClient, session: str, done: Removed) -> int:
    count = 0
    bears_name = re.compile(rf"-{session}(?=[-/:@]|$)")
    for row in client.api.images(all=True):
        tags = row.get("RepoTags") or []
        tagged = {tag.rpartition(":")[0] for tag in tags}
        # An engine drops a repository's digests with its last tag.
        digests = [name for name in row.get("RepoDigests") or [] if name.partition("@")[0] not in tagged]
        ours = [name for name in [*tags, *digests] if bears_name.search(name)]
        # Podman's force takes an image with all its names, also those of others.
        force = len(ours) == len(tags) + len(digests)
        for reference in ours:
            count += _try(done, client.api.remove_image, reference, force=force)
    # An image goes only after its children, and two of one second are listed in any order: rounds, as long as
    # one of them removes something.
    before, kept = None, Removed()
    while (found := _images_of(client, session)) and found != before:
        before, kept = found, Removed()
        for identifier in found:
            count += _try(kept, client.api.remove_image, identifier, attempts=2, force=True)
    if found:
        done.kept += kept.kept
    return count


def _images_of(client: DockerClient, session: str) -> list[str]:
    """The images with a session's label, newest first."""
    filters = [{"label": f"{label}={session}"} for label in (SESSION, BUILD)]
    return list(dict.fromkeys(row["Id"] for one in filters for row in client.api.images(all=True, filters=one)))


def _try(done: Removed, removal: Callable[..., object], what: str, *, attempts: int = 20, **options: bool) -> int:
    for attempt in range(attempts):
        try:
            removal(what, **options)
            return 1
        except NotFound:
            return 0
        except APIError as fault:
            # "removal already in progress", or a network that an ending container still holds.
            if fault.status_code in (409, 403, 500) and attempt < attempts - 1:
                time.sleep(0.1)
                continue
            done.kept.append(str(fault.explanation))
            return 0
        except DockerException as fault:
            done.kept.append(str(fault))
            return 0
    return 0


def clean(client: DockerClient, *, everything: bool = False) -> Removed:
    """Remove what labs left on an engine, and only that.

    Args:
        client: any client of that engine.
        everything: also what living sessions hold, and the base images.
    """
    total = Removed()
    which: Iterable[str] = sessions(client) if everything else dead_sessions(client)
    for session in sorted(which):
        total += remove(client, session)
    if everything:
        for row in client.api.images(filters={"label": "labkit.base=1"}):
            total.images += _try(total, client.api.remove_image, row["Id"], force=True)
    return total
