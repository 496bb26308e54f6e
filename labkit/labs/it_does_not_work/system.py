"""The tea counter: a front end, a backend and a data store, as they should run, and those who look at it.

Its programs are ``data/apps/counter``. Every part is started by the ``docker run`` that a person would type, so that
what an incident changes is a piece of that line.
"""

import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from docker import APIClient

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...course.state import containers
from ...engine import dockercli
from ...engine.client import engine_time, remove_container
from ...engine.session import belongs
from ...errors import LabError, NotPossibleHere
from ...images.archive import image_config, layer_from_files, sha256, write_archive
from ...observe.visitor import Reply, Visitor
from ..images_and_registries import platforms
from ..images_and_registries.samples import source

#: The parts in the order in which they start, and the ``docker run`` of each.
_ALIKE = "--init --restart unless-stopped --user 1000 --memory 32m --memory-swap 32m --cpus 0.5"
_NAMES = "--dns 127.0.0.1 --dns-option timeout:1 --dns-option attempts:1"
PARTS = {
    "store": f"docker run -d --name $store --network $counter --network-alias store {_ALIKE} "
    "--tmpfs /spool:size=256k,uid=1000 -v $orders:/data -v $secret:/run/secret:ro $image counter store",
    "api": f"docker run -d --name $api --network $counter --network-alias api {_NAMES} {_ALIKE} "
    '--health-cmd "wget -q -T 3 -O /dev/null http://127.0.0.1:8000/" --health-interval 5s '
    "-e STORE=store:8000 -v $secret:/run/secret:ro $image counter api",
    "web": f"docker run -d --name $web --network $counter --network-alias web {_NAMES} {_ALIKE} "
    "-e API=api:8000 -p 127.0.0.1:$port:8080 $image counter web",
}
RELEASE = "1.4"
#: The user whose the parts are.
USER = 1000

MANUAL = """The tea counter, release 1.4 ($image), as it has been agreed:
$web    the page. Asks http://api:8000 (API). Its port 8080 is published to 127.0.0.1, on the port of the report.
$api    the rules. Asks http://store:8000 (STORE). Shows the store the token in /run/secret/token.
         It has a health check that fails when the store does not answer.
$store  the data. Its book, /data/orders, is in the volume $orders and belongs to user 1000 alone.
         It has 256 KiB for orders under way (/spool), and answers nobody who has not the token.
All three are in the network $counter, by the names web, api and store.
All three run as user 1000, with 32 MiB and half a processor at most, end when they are asked to,
and come back by themselves. Nothing else is set, and the token is in the volume $secret only."""


class Customer(Visitor):
    """Asks at the published port, from the engine's own machine: a helper that shares its network."""

    role = "customer"

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        return dict(api.create_host_config(network_mode="host", cap_drop=["ALL"], init=True))

    def _prepare(self, api: APIClient) -> None:
        """It joins no network."""


@dataclass
class System:
    """A tea counter of this session: its names, what it held when it began, and who looks at it."""

    words: dict[str, str]
    orders: list[str]
    image: str
    customer: Customer = field(repr=False)
    #: The ``docker run`` that each part was started with.
    lines: dict[str, str] = field(default_factory=dict)
    began: float = 0.0
    since: float = 0.0
    #: How many commands had been typed in this session before.
    mark: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.words['port']}/"

    def asked(self, order: str = "") -> Reply:
        """What a customer gets, who may order something."""
        return self.customer.get(self.url + (f"?order={order}" if order else ""), timeout=15)


class Manual(Result):
    """How the system is meant to be."""

    text: str

    def facts(self) -> str:
        return self.text


def names(on: Context) -> dict[str, str]:
    """What the templates call the session's own objects."""
    own = {word: on.session.name(word) for word in ("web", "api", "store", "orders", "secret", "counter")}
    repository = on.session.name("tea-counter")
    return {
        **own, "repository": repository, "image": f"{repository}:{RELEASE}", "next": f"{repository}:next",
        "foreign": f"{repository}:{RELEASE}-hotfix", "busybox": images.BUSYBOX,
    }  # fmt: skip


def manual(on: Context) -> Manual:
    """How the system is meant to be, in words and as a figure."""
    return Manual(on.facts, Template(MANUAL).substitute(names(on)))


def typed(on: Context, line: str, *, fails: bool = False) -> None:
    """Type a command as the learner would.

    Raises:
        LabError: it failed, and ``fails`` did not allow for that.
    """
    done = dockercli.run(on.session, dockercli.read_words(line))
    if done.returncode and not fails:
        raise LabError(f"{line} failed.", cause=done.stdout.strip(), engine=on.session.engine.endpoint)


def clear(on: Context) -> None:
    """Take away all that a system and its learner have left in this session; the images stay."""
    for row in containers(on):
        if belongs({"Labels": row["Config"]["Labels"], "Names": [row["Name"]]}, on.session.id):
            remove_container(on.docker.containers.get(row["Id"]))
    # By their names: in a terminal they get no label.
    mine = f"-{on.session.id}"
    for row in on.docker.api.networks():
        if row["Name"].endswith(mine):
            on.docker.api.remove_network(row["Id"])
    for row in on.docker.api.volumes()["Volumes"] or []:
        if row["Name"].endswith(mine):
            on.docker.api.remove_volume(row["Name"], force=True)


def _committed(on: Context, name: str, release: str) -> str:
    """The counter's image with this release in it; returns its ID. Made without a build: a layer upon busybox."""
    files: dict[str, str | bytes] = {**source("counter"), "srv/release": f"{release}\n"}
    with on.container(images.BUSYBOX, ["true"], start=False, network_mode="none") as container:
        on.docker.api.put_archive(container.id, "/", layer_from_files(files, mode=0o755))
        return str(container.commit(*name.rsplit(":", 1)).id)


def _foreign(on: Context, name: str) -> None:
    """An image whose one program is for another processor than the engine's."""
    own = platforms.GOARCH.get(on.facts.architecture, "")
    other = "arm64" if own == "amd64" else "amd64"
    layer = layer_from_files({"usr/bin/counter": platforms.program(other)}, mode=0o755)
    config = image_config([sha256(layer)], architecture=other, command=["counter"])
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        write_archive(archive, name, [layer], config)
        on.docker.api.load_image(archive.read_bytes())


def _images(on: Context, words: Mapping[str, str], needs: list[str]) -> str:
    """Make the images, once a session, and let the release's tags stand for what they should; returns its ID."""
    good = on.session.name("tea-counter") + ":build-417"
    there = {tag for image in on.docker.images.list(words["repository"]) for tag in image.tags}
    if good not in there:
        on.say("making the counter's image")
        _committed(on, good, RELEASE)
    if "next" in needs and words["next"] not in there:
        _committed(on, words["next"], "1.5-test")
    if "foreign" in needs and words["foreign"] not in there:
        _foreign(on, words["foreign"])
    on.docker.images.get(good).tag(*words["image"].rsplit(":", 1))
    return str(on.docker.api.inspect_image(good)["Id"])


def _free_port(on: Context, customer: Customer) -> str:
    """A port of the engine's machine where nobody answers; below those that kernels give away by themselves."""
    for _ in range(20):
        port = random.randrange(20000, 32000)
        if "refused" in customer.get(f"http://127.0.0.1:{port}/", timeout=2).error:
            return str(port)
    raise NotPossibleHere("No free port was found on the engine's machine.", engine=on.session.engine.endpoint)


def prepare(on: Context, customer: Customer, seed: str, needs: list[str]) -> System:
    """Everything but the parts themselves: images, network, a book with orders in it, the token."""
    words = names(on)
    on.say("clearing away what was there", 0.1)
    clear(on)
    image = _images(on, words, needs)
    on.say("writing the book of orders", 0.3)
    words["port"] = _free_port(on, customer)
    chance = random.Random(seed)
    orders = [
        f"{n:03} {chance.choice(['green', 'black', 'mint', 'white'])} tea for "
        f"{chance.choice(['Ada', 'Linus', 'Grace', 'Ken', 'Barbara', 'Dennis'])}"
        for n in range(1, chance.randrange(12, 30))
    ]
    token = f"{chance.getrandbits(64):016x}"
    # One container writes both volumes: on an emulated engine each takes a second.
    script = (
        'echo "$BOOK" >/data/orders; chmod 644 /data/orders; echo "$TOKEN" >/run/secret/token; '
        f"chmod 400 /run/secret/token; chown -R {USER} /data /run/secret"
    )
    binds = {words["orders"]: {"bind": "/data"}, words["secret"]: {"bind": "/run/secret"}}
    book = {"BOOK": "\n".join(orders), "TOKEN": token}
    done = on.ran(images.BUSYBOX, ["sh", "-c", script], volumes=binds, environment=book)
    if done.code:
        raise LabError("The book of orders could not be written.", cause=done.text)
    on.network(words["counter"])
    return System(words, orders, image, customer)


def launch(
    on: Context, system: System, lines: Mapping[str, str], before: Mapping[str, list[str]], fails: list[str]
) -> None:
    """Start the parts with these lines, and begin to count.

    Args:
        before: commands before a part, and after all of them (``"end"``).
        fails: parts whose ``docker run`` may fail.
    """
    for place, part in enumerate([*PARTS, "end"]):
        for line in before.get(part, []):
            typed(on, line)
        if part in PARTS:
            on.say(f"starting the {part}", 0.5 + place / 6)
            typed(on, lines[part], fails=part in fails)
    system.lines, system.since = dict(lines), engine_time(on.docker.api)
    system.began, system.mark = time.monotonic(), len(on.session.typed)
