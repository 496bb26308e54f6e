"""One small shop, deployed as a monolith, in layers and as microservices: each piece a real container.

The code is the same in all three (``data/apps/shop``): five modules, of which each image holds
only those of its piece. Pieces in one container call each other as functions, pieces in different
containers over HTTP. Requests come from a visitor inside the shop's network.
"""

from docker.models.containers import Container

from ... import images
from ...course.benchmark import rounds
from ...course.context import Context
from ...course.result import Result
from ...engine.client import address_in, remove_container
from ...engine.faults import explained
from ...errors import BadInput, LabError
from ...observe.visitor import Reply, Visitor
from ...units import at_least_one
from ...waiting import wait_until
from ..images_and_registries.anatomy import has_image
from ..images_and_registries.building import build
from ..images_and_registries.samples import source

#: The containers of each architecture and the modules that each holds; the first one is the entrance.
ARCHITECTURES: dict[str, dict[str, tuple[str, ...]]] = {
    "monolith": {"shop": ("front", "catalogue", "cart", "checkout", "store")},
    "layered": {"presentation": ("front",), "logic": ("catalogue", "cart", "checkout"), "data": ("store",)},
    "microservices": {
        "gateway": ("front",), "catalogue": ("catalogue", "store"), "cart": ("cart", "store"), "checkout": ("checkout",),
    },
}  # fmt: skip
ENDPOINTS = ("catalogue", "cart", "checkout")

#: Seconds until a piece must answer.
PATIENCE = 90.0


def piece_files(pieces: tuple[str, ...], **changed: str) -> dict[str, str]:
    """The files of one container: the modules of its pieces and the server."""
    files = {name: text for name, text in source("shop", **changed).items() if name[:-3] in (*pieces, "serve")}
    copies = " ".join(sorted(files))
    files["Dockerfile"] = f'FROM {images.PYTHON}\nCOPY {copies} /app/\nCMD ["python3", "/app/serve.py"]\n'
    return files


def elsewhere(architecture: str, container: str) -> dict[str, str]:
    """Which host answers for the pieces that a container does not hold itself."""
    layout = ARCHITECTURES[architecture]
    own = layout[container]
    return {piece: host for host, pieces in layout.items() if host != container for piece in pieces if piece not in own}


class DeployedShop:
    """A deployed shop. ``get`` asks it from outside, ``stop`` and ``start`` act on one piece.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        name: what its containers and its network are called after; the architecture by default.

    Raises:
        BadInput: no such architecture.
    """

    def __init__(self, on: Context, architecture: str, name: str = ""):
        if architecture not in ARCHITECTURES:
            raise BadInput(
                f"{architecture!r} is no architecture of this shop.",
                next_step=f"Choose one of: {', '.join(ARCHITECTURES)}.",
            )
        self._on, self.architecture, self.name = on, architecture, name or architecture
        self.layout = ARCHITECTURES[architecture]
        self.entrance = next(iter(self.layout))
        self.network = on.session.name(f"{self.name}-net")
        self.containers: dict[str, Container] = {}
        try:
            on.network(self.network, internal=True)
            for piece in self.layout:
                self._start(piece)
            on.say(f"{architecture}: waiting for its first answers")
            self.wait()
        except BaseException:
            self.close()
            raise

    def add(self, piece: str, number: int = 1, work: float = 0.0) -> None:
        """Start one more container of a piece; all of them answer to the piece's name. It listens when this returns.

        Raises:
            LabError: it never does.
        """
        self._start(piece, number, work)
        name = self._key(piece, number)
        url = f"http://{self.address(name)}:8000/{self.layout[piece][0]}/cart"  # asked for itself, not for the front
        if not wait_until(lambda: self._on.visitor(self.network).get(url).status, PATIENCE):
            raise LabError(f"{name} of the shop ({self.architecture}) does not answer.")

    @staticmethod
    def _key(piece: str, number: int) -> str:
        return f"{piece}-{number}" if number > 1 else piece

    def _start(self, piece: str, number: int = 1, work: float = 0.0) -> None:
        on, pieces = self._on, self.layout[piece]
        on.say(f"{self.architecture}: starting {piece}")
        tag = image_tag(on, self.architecture, piece)
        if not has_image(on, tag):
            build(on, tag, piece_files(pieces))
        where = ",".join(f"{part}={host}" for part, host in elsewhere(self.architecture, piece).items())
        name = on.session.name(f"{self.name}-{piece}-{number}")
        on.free(name)
        container = on.docker.containers.create(
            tag, name=name, hostname=f"{piece}-{number}",
            environment={"PIECES": ",".join(pieces), "WHERE": where, "WORK": str(work)},
            # A stopped piece's name is unknown: the engine's resolver says so at once, instead of asking the world.
            dns=["127.0.0.1"], dns_opt=["ndots:1", "timeout:1", "attempts:1"], network=self.network,
            networking_config={self.network: on.docker.api.create_endpoint_config(aliases=[piece])},
        )  # fmt: skip
        self.containers[self._key(piece, number)] = container
        container.start()

    def remove(self, piece: str) -> None:
        """Take one container away: ``cart``, or ``cart-2`` for the second one."""
        remove_container(self._container(piece))
        del self.containers[piece]

    def address(self, piece: str) -> str:
        """Where a piece listens, by address: a stopped one's name is not known any more."""
        return address_in(self._container(piece), self.network)

    def get(self, endpoint: str, *, timeout: float = 10.0) -> Reply:
        """An endpoint of the shop, asked at its entrance."""
        visitor, address = self._on.visitor(self.network), self.address(self.entrance)
        if not address:  # a stopped container has none
            return Reply(0, {}, b"", 0.0, "the entrance is stopped: it has no address")
        return visitor.get(f"http://{address}:8000/{endpoint}", timeout=timeout)

    def replies(self) -> dict[str, str]:
        """For each endpoint: what it answers now, status and words, or why nothing came."""
        replies = {endpoint: self.get(endpoint) for endpoint in ENDPOINTS}
        return {name: f"{one.status} {one.text()}" if one.status else one.error for name, one in replies.items()}

    def answers(self) -> dict[str, bool]:
        """For each endpoint: does it answer with 200 now?"""
        return {endpoint: good(said) for endpoint, said in self.replies().items()}

    def wait(self, patience: float = PATIENCE) -> None:
        """Until every endpoint answers.

        Raises:
            LabError: one of them does not.
        """
        if not wait_until(lambda: all(self.answers().values()), patience):
            raise LabError(f"The shop ({self.architecture}) does not answer everywhere: {self.answers()}.")

    def whole(self) -> bool:
        """Whether a container of every piece runs."""
        with explained(self._on.session.engine.endpoint):
            running = {name for row in self._on.docker.api.containers() for name in row["Names"]}
        return all(f"/{self._on.session.name(f'{self.name}-{piece}-1')}" in running for piece in self.layout)

    def stop(self, piece: str) -> None:
        """Stop one piece at once."""
        self._container(piece).kill()

    def start(self, piece: str) -> None:
        """Start a stopped piece again, and wait until the shop is whole."""
        self._container(piece).start()
        self.wait()

    def _container(self, piece: str) -> Container:
        if piece not in self.containers:
            raise BadInput(f"This shop has no piece {piece!r}.", next_step=f"It has: {', '.join(self.containers)}.")
        return self.containers[piece]

    def close(self) -> None:
        """Remove its containers and its network."""
        for container in self.containers.values():
            remove_container(container)
        self._on.drop_network(self.network)
        if _shops.get((self._on.session.id, self.architecture)) is self:
            del _shops[self._on.session.id, self.architecture]

    def __repr__(self) -> str:
        return f"<shop as {self.architecture}: {', '.join(self.layout)}>"


_shops: dict[tuple[str, str], DeployedShop] = {}


def image_tag(on: Context, architecture: str, piece: str, version: str = "1") -> str:
    """The reference of a piece's image."""
    return f"{on.session.name(f'{architecture}-{piece}')}:{version}"


def deploy(on: Context, architecture: str = "microservices") -> DeployedShop:
    """The shop in one of its architectures: built and started when it does not run yet, or not all of it.

    Raises:
        BadInput: no such architecture.
    """
    key = (on.session.id, architecture)
    found = _shops.get(key)
    if found is not None and not found.whole():
        found.close()
        found = None
    _shops[key] = found or DeployedShop(on, architecture)
    return _shops[key]


class Latency(Result):
    """Seconds a request, by architecture and endpoint.

    ``hops`` are the HTTP requests that one request from outside took, itself included: the container behind each,
    as the answer names them (``X-Served-By`` of ``data/apps/shop/serve.py``).
    """

    seconds: dict[str, dict[str, list[float]]]
    hops: dict[str, dict[str, list[str]]]
    n: int

    def facts(self) -> str:
        return "\n".join(
            f"{architecture:<14} HTTP requests: {' · '.join(f'{name} {len(chain)}' for name, chain in hops.items())}"
            for architecture, hops in self.hops.items()
        )


def latency(on: Context, *, n: int | None = None) -> Latency:
    """Time requests to every endpoint of the shop in each architecture.

    Method: one request at a time from a container inside the shop's network, each on a connection
    of its own, timed there from connect to the last byte; one round to warm up, then n = 30 rounds (3 where emulated).
    """
    n = rounds(on.facts, n, 30)
    seconds: dict[str, dict[str, list[float]]] = {}
    hops: dict[str, dict[str, list[str]]] = {}
    for architecture in ARCHITECTURES:
        shop = deploy(on, architecture)
        url = f"http://{shop.address(shop.entrance)}:8000/"
        visitor = on.visitor(shop.network)
        seconds[architecture], hops[architecture] = {}, {}
        for endpoint in ENDPOINTS:
            on.say(f"{architecture}: asking for the {endpoint}")
            first = visitor.get(url + endpoint)
            seconds[architecture][endpoint] = [row[1] for row in visitor.load([url + endpoint], n).good]
            hops[architecture][endpoint] = first.headers.get("x-served-by", "").split()
    return Latency(on.facts, seconds, hops, n)


class BlastRadius(Result):
    """What is still answered when one piece is stopped: architecture, stopped piece, endpoint, status and words."""

    replies: dict[str, dict[str, dict[str, str]]]

    def facts(self) -> str:
        return "\n".join(
            f"{architecture:<14} without {stopped:<13} still answers: {left}"
            for architecture, stopped, left in self.rows()
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Architecture, stopped piece, and which endpoints still answer, in words."""
        return [
            (architecture, stopped, ", ".join(name for name, said in replies.items() if good(said)) or "nothing")
            for architecture, stops in self.replies.items()
            for stopped, replies in stops.items()
        ]


def blast_radius(on: Context) -> BlastRadius:
    """Stop each piece of each architecture in turn, ask every endpoint, start it again.

    A cell is one real request: 200 counts as an answer, everything else as none.
    """
    replies: dict[str, dict[str, dict[str, str]]] = {}
    for architecture, layout in ARCHITECTURES.items():
        shop = deploy(on, architecture)
        replies[architecture] = {}
        for piece in layout:
            on.say(f"{architecture}: without {piece}")
            shop.stop(piece)
            try:
                replies[architecture][piece] = shop.replies()
            finally:
                shop.start(piece)
    return BlastRadius(on.facts, replies)


class RebuildScope(Result):
    """One module changed: for each image, the layers (diffIDs) that it had not before."""

    changed: str
    rebuilt: dict[str, dict[str, list[str]]]

    def facts(self) -> str:
        rows = [f"{self.changed} changed:"]
        for architecture, pieces in self.rebuilt.items():
            new = [piece for piece, layers in pieces.items() if layers]
            rows.append(f"{architecture:<14} {len(new)} of {len(pieces)} images new: {', '.join(new)}")
        return "\n".join(rows)


def rebuild_scope(on: Context, change: str = "cart.py") -> RebuildScope:
    """Change one module, build every image again with the cache of the first build, compare layers."""
    files = source("shop")
    if change not in files:
        raise BadInput(f"The shop has no {change!r}.", next_step=f"It has: {', '.join(files)}.")
    changed = {change.replace(".", "__"): files[change] + "\n# one more line\n"}
    rebuilt: dict[str, dict[str, list[str]]] = {}
    for architecture, layout in ARCHITECTURES.items():
        deploy(on, architecture)
        rebuilt[architecture] = {}
        for piece, pieces in layout.items():
            on.say(f"{architecture}: building {piece} again")
            before, after = image_tag(on, architecture, piece), image_tag(on, architecture, piece, "2")
            build(on, after, piece_files(pieces, **changed))
            old, new = (on.docker.api.inspect_image(tag)["RootFS"]["Layers"] for tag in (before, after))
            on.docker.api.remove_image(after)
            rebuilt[architecture][piece] = [layer for layer in new if layer not in old]
    return RebuildScope(on.facts, change, rebuilt)


class Scaling(Result):
    """Requests a second with 1, 2, 3 … copies of the catalogue alone; ``served`` are those that answered."""

    per_second: dict[int, list[float]]
    served: dict[int, list[str]]
    work: float

    def facts(self) -> str:
        return (
            f"copies that answered: {', '.join(f'{len(names)} of {copies}' for copies, names in self.served.items())}"
        )


def scaling(on: Context, copies: int = 3, *, n: int | None = None) -> Scaling:
    """Add copies of one piece, the catalogue, which can serve one request at a time; leave the rest alone.

    Method: the catalogue holds a lock for ``work`` seconds a request (0.02 s; emulated 0.3 s). Eight
    workers in the visitor ask the entrance for the catalogue; good answers divided by the time from
    the first request to the last answer. n batches (10, or 3 where it is emulated) at each number of copies,
    after one warm-up request.
    """
    n = rounds(on.facts, n)
    at_least_one(copies=copies)
    work, count = (0.3, 16) if on.facts.emulated else (0.02, 16)
    shop = deploy(on, "microservices")
    per_second: dict[int, list[float]] = {}
    served: dict[int, list[str]] = {}
    try:
        for number in range(1, copies + 1):
            shop.add("catalogue", number, work)  # the first one in place of the one that does no work
            shop.wait()
            on.say(f"the catalogue in {number} of {copies} copies: under load")
            url = f"http://{shop.address(shop.entrance)}:8000/catalogue"
            per_second[number], served[number] = loaded(on.visitor(shop.network), url, count, n, "catalogue", number)
    finally:
        for name in [name for name in shop.containers if name.startswith("catalogue-")]:
            shop.remove(name)
        shop.add("catalogue")
        shop.wait()
    return Scaling(on.facts, per_second, served, work)


def good(said: str) -> bool:
    """Whether a reply, as :meth:`DeployedShop.replies` has it, is an answer."""
    return said.startswith("200 ")


def loaded(visitor: Visitor, url: str, count: int, n: int, piece: str, wanted: int) -> tuple[list[float], list[str]]:
    """Load a piece in n batches of ``count`` requests, eight at a time.

    A name is resolved to any of its copies, so chance alone may pass one over in a few batches. Where
    that happened, ask on, one request at a time, until all have answered or 200 were asked in vain.

    Returns:
        Good answers a second by batch, and which of the ``wanted`` copies have answered.
    """
    batches = [visitor.load([url], count, workers=8, timeout=60) for _ in range(n)]
    chains = [row.server.split() for batch in batches for row in batch.good]
    for _ in range(200):
        seen = {name for chain in chains for name in chain if name.startswith(piece + "-")}
        if len(seen) >= wanted:
            break
        chains.append(visitor.get(url, timeout=30).headers.get("x-served-by", "").split())
    return [batch.per_second for batch in batches], sorted(seen)
