"""A kiosk that sells tea: two servers behind one door, and the ways in which a new release takes their place.

The servers are containers of ``data/apps/kiosk``, the door one of ``data/apps/door``: it hands each request to one
of the servers that its list names. Every step of a rollout is a ``docker`` command that one could type.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from ...course.context import Context
from ...engine.client import address_in, remove_container
from ...engine.faults import explained
from ...engine.session import ROLE
from ...errors import BadInput, LabError, NotPossibleHere
from ...waiting import wait_until
from ..images_and_registries.anatomy import has_image
from ..images_and_registries.building import build
from ..images_and_registries.samples import source

#: How a release takes another one's place.
WAYS = ("stop and start", "rolling", "blue/green")
COLOURS = ("blue", "green")
SERVERS = 2
#: The release that no customer should ever meet: it looks a price up under a name that its list has not.
BAD = "bad"

#: Seconds until a server must have become healthy or unhealthy.
PATIENCE = 240.0


@dataclass(frozen=True)
class Pace:
    """Times in seconds: between two requests, a server's work, how long it goes on after SIGTERM, and as for
    ``docker run --health-…``; and how many requests come before a rollout, and after it."""

    every: float
    work: float
    linger: float
    interval: float
    timeout: float
    retries: int
    around: int


def pace(on: Context) -> Pace:
    """The pace of this machine: an emulated one is asked more seldom, and waited for longer.

    There is no start period: in one, engines since 25.0 look every five seconds (``--health-start-interval``).
    """
    return Pace(0.4, 0.05, 2.0, 3.0, 60.0, 6, 4) if on.facts.emulated else Pace(0.05, 0.03, 0.3, 1.0, 5.0, 6, 10)


def health_options(on: Context) -> dict[str, int]:
    """The health check's times as docker-py takes them; its command is the image's."""
    times = pace(on)
    return {"interval": int(times.interval * 1e9), "timeout": int(times.timeout * 1e9), "retries": times.retries}


def health_of(state: dict[str, Any]) -> dict[str, Any]:
    """The health in a container's inspected state.

    Raises:
        NotPossibleHere: this engine has kept no health check of the kiosk's image (Podman's do not, as they are OCI's).
    """
    if not state.get("Health"):
        raise NotPossibleHere("This engine has kept no health check of the image that it built.")
    return dict(state["Health"])


def files(release: str = "1", **changed: str) -> dict[str, str]:
    """The kiosk's source with this release's number in it; ``"bad"`` is the release that can't sell anything.

    Args:
        release: a short word.
        changed: other text for a file, as for :func:`labkit.labs.images_and_registries.samples.source`.
    """
    found = source("kiosk", **changed)
    found["app.py"] = found["app.py"].replace('RELEASE = "1"', f'RELEASE = "{release}"')
    if release == BAD:
        found["app.py"] = found["app.py"].replace('PRICES["tea"]', 'PRICES["cup of tea"]')
    return found


def image(on: Context, release: str = "1") -> str:
    """The reference of a release's image, which is built where it is not there."""
    tag = f"{on.session.name('kiosk')}:{release}"
    return tag if has_image(on, tag) else build(on, tag, files(release)).tag


def _names(colour: str) -> list[str]:
    return [f"{colour}-{number + 1}" for number in range(SERVERS)]


class Unfit(LabError):
    """A server did not become healthy."""


class Kiosk:
    """The servers and their door; made by :func:`open_kiosk`. Names in it are without the session's ending."""

    def __init__(self, on: Context, release: str):
        self._on, self.network = on, on.session.name("kiosk-net")
        self.servers: dict[str, Container] = {}
        self.release = release
        self._images = {release: image(on, release)}
        #: Called often while something is waited for.
        self.meanwhile: Callable[[], object] = lambda: None
        self._whole = False
        self.close()  # what an interrupted cell may have left
        on.network(self.network)
        self._door = self._made("door", build(on, f"{on.session.name('door')}:1", source("door")).tag)
        names = _names(COLOURS[0])
        for name in names:
            self.start(name, release)
        for name in names:
            self.await_health(name)
        self.lead_to(*names)
        self._whole = True

    def _made(self, name: str, tag: str) -> Container:
        on, times = self._on, pace(self._on)
        full = on.session.name(name)
        on.free(full)
        container = on.docker.containers.create(
            tag, name=full, hostname=name, network=self.network,
            networking_config={self.network: on.docker.api.create_endpoint_config(aliases=[name])},
            environment={"WORK": str(times.work), "LINGER": str(times.linger), "LIMIT": str(times.timeout)},
            # Of a name that is gone the engine's resolver says so at once, instead of asking the world.
            dns=["127.0.0.1"], dns_opt=["ndots:1", "timeout:1", "attempts:1"],
            healthcheck=health_options(on) if name != "door" else None,
        )  # fmt: skip
        container.start()
        return container

    @property
    def url(self) -> str:
        """Where the door listens, for the session's visitor."""
        return f"http://{address_in(self._door, self.network)}:8000/"

    def lives(self) -> bool:
        """Whether its door and all of its servers run, and no rollout was interrupted."""
        if not self._whole:
            return False
        try:
            for container in (self._door, *self.servers.values()):
                container.reload()
        except NotFound:
            return False
        return all(one.status == "running" for one in (self._door, *self.servers.values()))

    def start(self, name: str, release: str) -> None:
        """Start a server of this release; it may not be ready yet."""
        self.servers[name] = self._made(name, self._images[release])

    def stop(self, name: str) -> None:
        """Stop a server, as it asks for with SIGTERM, and remove it."""
        container = self.servers.pop(name)
        container.stop(timeout=30)
        remove_container(container)

    def await_health(self, name: str) -> None:
        """Wait until a server is healthy.

        Raises:
            Unfit: it is unhealthy, or it has ended.
        """

        def said() -> str:
            self.meanwhile()
            state = self._on.state(self.servers[name])
            return "ended" if not state["Running"] else str(health_of(state)["Status"]).replace("starting", "")

        found = wait_until(said, PATIENCE, every=0.1)
        if found != "healthy":
            raise Unfit(f"{name} is {found or 'not healthy yet'}.")

    def lead_to(self, *names: str) -> None:
        """Write the door's list: from now on it leads to these servers."""
        write = f'echo "{" ".join(names)}" > /new && mv /new /servers'
        code, text = self._door.exec_run(["sh", "-c", write])
        if code:
            raise LabError(f"The door's list can't be written: {text.decode('utf-8', 'replace').strip()}")
        self.meanwhile()

    def prepare(self, way: str, release: str) -> None:
        """Build what a rollout needs: that is no part of it.

        Raises:
            BadInput: there is no such way.
        """
        if way not in WAYS:
            raise BadInput(f"There is no way {way!r} here.", next_step=f"There are: {', '.join(WAYS)}.")
        for one in (self.release, release):
            self._images[one] = image(self._on, one)

    def replace(self, way: str, release: str, *, look: bool = True) -> str:
        """Put another release in the place of this one; :meth:`prepare` comes before.

        Args:
            way: one of :data:`WAYS`.
            release: the new one.
            look: wait until a new server is healthy before the door leads to it; where it is not, put back what was.

        Returns:
            "" where it went well; else what was found.
        """
        steps = dict(zip(WAYS, (self._stop_and_start, self._rolling, self._blue_green)))
        wait = self.await_health if look else lambda name: None
        self._whole = False
        with explained(self._on.session.engine.endpoint):
            found = steps[way](release, wait)
        self._whole = True
        self.release = self.release if found else release
        return found

    def _renew(self, name: str, release: str, wait: Callable[[str], None]) -> None:
        self.stop(name)
        self.start(name, release)
        wait(name)

    def _stop_and_start(self, release: str, wait: Callable[[str], None]) -> str:
        names, found = list(self.servers), ""
        for name in names:
            self.stop(name)
        for name in names:
            self.start(name, release)
        try:
            for name in names:
                wait(name)
        except Unfit as fault:
            found = fault.what
            for name in names:
                self._renew(name, self.release, self.await_health)
        return found

    def _rolling(self, release: str, wait: Callable[[str], None]) -> str:
        names = list(self.servers)
        for name in names:
            others = [other for other in names if other != name]
            self.lead_to(*others)
            try:
                self._renew(name, release, wait)
            except Unfit as fault:
                # The one that failed, and those that were renewed before it.
                for done in reversed(names[: names.index(name) + 1]):
                    self.lead_to(*[other for other in names if other != done])
                    self._renew(done, self.release, self.await_health)
                    self.lead_to(*names)
                return fault.what
            self.lead_to(*names)
        return ""

    def _blue_green(self, release: str, wait: Callable[[str], None]) -> str:
        old = list(self.servers)
        colour = next(one for one in COLOURS if not old[0].startswith(one))
        new = _names(colour)
        found = ""
        for name in new:
            self.start(name, release)
        try:
            for name in new:
                wait(name)
            self.lead_to(*new)
        except Unfit as fault:
            found = fault.what
        for name in new if found else old:
            self.stop(name)
        return found

    def close(self) -> None:
        """Remove its network and all that is in it, also what somebody else has put there by hand."""
        for row in self._on.docker.api.containers(all=True, filters={"network": self.network}):
            if ROLE not in (row["Labels"] or {}):
                self._on.docker.api.remove_container(row["Id"], v=True, force=True)
        self._on.drop_network(self.network)


_kiosks: dict[str, Kiosk] = {}


def open_kiosk(on: Context, release: str = "1") -> Kiosk:
    """This session's kiosk; made anew where there is none, or not all of it runs."""
    found = _kiosks.pop(on.session.id, None)
    if found is not None and not found.lives():
        found.close()
        found = None
    on.say("opening the kiosk")
    found = found or Kiosk(on, release)
    _kiosks[on.session.id] = found
    return found
