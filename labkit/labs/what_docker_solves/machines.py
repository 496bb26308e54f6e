"""Deployment, replicas and memory: containers beside virtual machines that the lab starts itself."""

import functools
import statistics
import time

import psutil

from ... import engine as engines
from ...course.benchmark import FEW, rounds
from ...course.context import Context
from ...course.result import Result
from ...observe.visitor import Visitor
from ...units import at_least_one, yes_no
from ...waiting import wait_until
from ..devops_and_delivery import pipeline
from ..devops_and_delivery.shop import DeployedShop, loaded
from ..images_and_registries.building import build


class Machines(Result):
    """Seconds to an answer and bytes of memory, n containers and n virtual machines.

    A virtual machine is resumed from a snapshot with its engine ready; ``vm_emulated`` says whether its
    processor is emulated in software.
    """

    container_seconds: list[float]
    container_memory: list[int]
    vm_seconds: list[float]
    vm_memory: list[int]
    vm_emulated: bool

    def facts(self) -> str:
        smaller = statistics.median(self.container_memory) < statistics.median(self.vm_memory)
        return f"containers and virtual machines, each to its first answer\na container needs less memory: {yes_no(smaller)}"


# A small web server, and the first answer to somebody who asks.
_SERVICE = (
    "httpd -p 8000 -h /etc; until wget -q -O /dev/null http://127.0.0.1:8000/group; do usleep 5000; done; "
    "echo answered; exec sleep 600"
)


def machines(on: Context, *, n: int | None = None) -> Machines:
    """Start n containers with a small web server and n virtual machines; time the first answer, weigh each.

    Method: a container is timed from create to its server's first answer, asked from inside; its memory is
    its cgroup's, as the engine tells it. A virtual machine (Debian with Docker Engine, the lab's own kind, its
    kernel without mitigations) is resumed from its snapshot and timed to its engine's first answer, before any
    service is started in it; its memory is its process's resident set on the notebook's machine then: pages of
    the snapshot that nobody has touched yet don't count, so it grows with use. n = 10 each (3 where emulated),
    warm, one at a time.
    """
    n = rounds(on.facts, n)
    seconds: list[float] = []
    memory: list[int] = []
    vm_seconds: list[float] = []
    vm_memory: list[int] = []
    emulated, image = True, on.image()
    for number in range(n):
        on.say(f"container {number + 1} of {n}")
        began = time.perf_counter()
        with on.container(image, ["sh", "-c", _SERVICE], network_mode="none") as container:
            next(chunk for chunk in container.logs(stream=True, follow=True) if b"answered" in chunk)
            seconds.append(time.perf_counter() - began)
            stats = on.docker.api.stats(container.id, stream=False, one_shot=True)
            memory.append(int(stats["memory_stats"]["usage"]))
    for number in range(n):
        on.say(f"virtual machine {number + 1} of {n}")
        began = time.perf_counter()
        with engines.owned() as vm:
            vm_seconds.append(time.perf_counter() - began)
            emulated = vm.emulated
            vm_memory.append(psutil.Process(vm.pid()).memory_info().rss)
        if emulated and number + 1 >= FEW:
            break
    return Machines(on.facts, seconds, memory, vm_seconds, vm_memory, emulated)


class RollOut(Result):
    """Seconds from the decision to the right version's answer: forward and back, n times."""

    forward: list[float]
    back: list[float]
    versions: list[str]

    def facts(self) -> str:
        right = self.versions == ["2", "1"] * len(self.forward)
        return f"forward and back, again and again · the right version answered each time: {yes_no(right)}"


def roll_out(on: Context, *, n: int | None = None) -> RollOut:
    """Replace version 1 by version 2 and version 2 by version 1, n times each (10, or 3 where it is emulated).

    Method: timed from removing the old container to the first answer of the new one (``/health`` with its
    version), over HTTP inside the network; images are on the engine already (warm).
    """
    n = rounds(on.facts, n)
    tags = {version: build(on, f"{on.session.name('tea')}:v{version}", pipeline.tea(version)).tag for version in "12"}
    forward: list[float] = []
    back: list[float] = []
    versions: list[str] = []
    pipeline.deploy(on, "production", tags["1"])
    for _ in range(n):
        for version, times in (("2", forward), ("1", back)):
            on.say(f"round {len(back) + 1} of {n}: to version {version}")
            began = time.perf_counter()
            pipeline.deploy(on, "production", tags[version])
            times.append(time.perf_counter() - began)
            versions.append(pipeline.call(on, "production", "/health").json()["version"])
    return RollOut(on.facts, forward, back, versions)


class Replicas(Result):
    """Start times (s) of replicas, and answers a second by their number; ``work`` is seconds a request.

    ``answered`` are the names of those that answered, as the answers have them.
    """

    starts: list[float]
    per_second: dict[int, list[float]]
    work: float
    answered: dict[int, list[str]]

    def facts(self) -> str:
        rows = [f"{len(names)} of {number}" for number, names in self.answered.items()]
        return f"one name, and replicas behind it that answered: {', '.join(rows)}"


def replicas(on: Context, most: int = 4, *, n: int | None = None) -> Replicas:
    """Start replicas of one service behind one name, and load them.

    Method: each request keeps a replica busy for ``work`` seconds (0.02; emulated 0.3). A start is timed
    from create to the replica's own first answer. At 1, 2 … ``most`` replicas, eight workers in the visitor
    send a batch to the *name*, each on a connection of its own; good answers by the batch's time;
    n batches (10, or 3 where it is emulated).
    """
    n = rounds(on.facts, n)
    at_least_one(most=most)
    work, count = (0.3, 16) if on.facts.emulated else (0.02, 16)
    shop = DeployedShop(on, "monolith", "replicas")
    starts: list[float] = []
    per_second: dict[int, list[float]] = {}
    answered: dict[int, list[str]] = {}
    try:
        shop.remove("shop")
        visitor = on.visitor(shop.network)
        for number in range(1, most + 1):
            began = time.perf_counter()
            shop.add("shop", number, work)
            url = f"http://{shop.address('shop' if number == 1 else f'shop-{number}')}:8000/cart"
            wait_until(functools.partial(_good, visitor, url), 90, f"Replica {number} does not answer.", every=0.01)
            starts.append(time.perf_counter() - began)
            on.say(f"{number} of {most} replicas: under load")
            found = loaded(visitor, "http://shop:8000/catalogue", count, n, "shop", number)
            per_second[number], answered[number] = found
    finally:
        shop.close()
    return Replicas(on.facts, starts, per_second, work, answered)


def _good(visitor: Visitor, url: str) -> bool:
    return visitor.get(url).status == 200
