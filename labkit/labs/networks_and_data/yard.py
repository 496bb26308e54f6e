"""Containers in two networks, in none and in the machine's own: who reaches whom."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.client import remove_container
from ...engine.session import ROLE
from ...errors import BadInput
from ...units import yes_no
from .rules import Rule, read, rises

#: The networks, and who is in which.
NETWORKS = ("front", "back")
PLAN = {"web": ("front",), "app": ("front", "back"), "db": ("back",)}
#: Beside them, one in each of the two modes that are no network.
MODES = ("host", "none")

#: Seconds for which the last ping waits; all of a container's pings wait at once.
PATIENCE = 1


def pings(targets: Mapping[str, Iterable[str]]) -> str:
    """A shell script that pings all these addresses at once, and prints of each how it ended, for :func:`heard`."""
    lines = [
        f'(said=$(ping -c 2 -W {PATIENCE} {address} 2>&1); echo "{name} {address} (status $?):"'
        ' $(echo "$said" | grep -e received -e ping:)) &'
        for name, addresses in targets.items() for address in addresses
    ]  # fmt: skip
    return "\n".join(["{", *lines, "wait; } | sort"])


def heard(said: str) -> set[str]:
    """The names of those that answered, by what the script of :func:`pings` printed."""
    return set(re.findall(r"^(\S+) \S+ \(status 0\):", said, re.M))


@dataclass(frozen=True)
class Look:
    """Who is in which network, with which address, and whom each one's ping reached; ``said`` are ping's own words."""

    places: dict[str, dict[str, str]]
    reached: dict[tuple[str, str], bool]
    said: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        """The matrix as text: who pings in rows, who is pinged in columns."""
        names, targets = [*self.places, *MODES], [*self.places, "host"]
        lines = [" " * 6 + "".join(f"{target:<6}" for target in targets)]
        for name in names:
            cells = ["·" if name == target else yes_no(self.reached[name, target]) for target in targets]
            lines.append(f"{name:<6}" + "".join(f"{cell:<6}" for cell in cells))
        return "\n".join(line.rstrip() for line in lines)


class Yard:
    """Three containers, two networks and one container in each mode; they live until the session ends or ``clear``."""

    def __init__(self, on: Context, plan: Mapping[str, tuple[str, ...]] = PLAN):
        self._on, self.plan = on, {name: set(places) for name, places in plan.items()}
        self._made: dict[str, Container] = {}

    def name(self, word: str) -> str:
        """The name on the engine of what is called ``word`` here."""
        return self._on.session.name(f"lab-{word}")

    def open(self) -> None:
        """Make what is not there, in place of what an interrupted cell may have left."""
        if self._made and self._lives():
            return
        on, image = self._on, self._on.image(images.BUSYBOX)
        for word in (*self.plan, *MODES):
            on.free(self.name(word))
        for net in NETWORKS:
            on.network(self.name(net))
        for word in (*self.plan, *MODES):
            nets = sorted(self.plan.get(word, ()))
            mode = self.name(nets[0]) if nets else word if word in MODES else "none"
            self._made[word] = on.docker.containers.run(
                image, ["sleep", "3600"], name=self.name(word), network=mode, detach=True, labels={ROLE: "yard"}
            )
            for net in nets[1:]:
                on.docker.networks.get(self.name(net)).connect(self._made[word])

    def _lives(self) -> bool:
        with contextlib.suppress(NotFound):
            for container in self._made.values():
                container.reload()
            return True
        return False  # another yard of this session has taken the names

    def clear(self) -> None:
        """Remove all of it."""
        for container in self._made.values():
            remove_container(container)
        self._made = {}
        for net in NETWORKS:
            self._on.drop_network(self.name(net))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def join(self, word: str, net: str, *, leave: bool = False) -> None:
        """``docker network connect`` (or, with ``leave``, ``disconnect``), while the container runs.

        Raises:
            BadInput: there is no such container or network in the yard.
        """
        if word not in self.plan or net not in NETWORKS:
            raise BadInput(f"There is no {word!r} or no {net!r} here.",
                           next_step=f"Containers: {', '.join(self.plan)}; networks: {', '.join(NETWORKS)}.")  # fmt: skip
        self.open()
        if (net in self.plan[word]) is not leave:
            return  # it is so already
        network = self._on.docker.networks.get(self.name(net))
        if leave:
            network.disconnect(self._made[word])
        else:
            with contextlib.suppress(APIError):  # out of "none", where it has no network to be joined
                self._on.docker.networks.get("none").disconnect(self._made[word])
            network.connect(self._made[word])
        (self.plan[word].discard if leave else self.plan[word].add)(net)

    def bridges(self) -> dict[str, str]:
        """The name of each network's bridge on the engine's machine: ``br-`` and twelve digits of its ID."""
        return {net: "br-" + self._on.docker.networks.get(self.name(net)).id[:12] for net in NETWORKS}

    def gateways(self) -> dict[str, str]:
        """The address that the engine's machine has in each network."""
        found = {net: self._on.docker.networks.get(self.name(net)).attrs["IPAM"]["Config"] for net in NETWORKS}
        return {net: rows[0]["Gateway"].partition("/")[0] for net, rows in found.items()}

    def inside(self, word: str, script: str) -> str:
        """What a shell script prints in a container; its errors too."""
        return str(self._made[word].exec_run(["sh", "-c", script]).output.decode())

    def places(self) -> dict[str, dict[str, str]]:
        """The address of each container in each of its networks, as the engine says."""
        found: dict[str, dict[str, str]] = {}
        for word in self.plan:
            self._made[word].reload()
            nets = self._made[word].attrs["NetworkSettings"]["Networks"]
            named = {net: nets.get(self.name(net)) for net in NETWORKS}
            found[word] = {net: row["IPAddress"] for net, row in named.items() if row and row["IPAddress"]}
        return found

    def look(self) -> Look:
        """Ping from each to each: from inside, by address, all of a target's addresses at once."""
        self.open()
        places, gateways = self.places(), self.gateways()

        def ask(word: str) -> tuple[str, dict[str, list[str]]]:
            # The machine is asked by the address that it has in a network of the one who asks.
            machine = [gateways[net] for net in places.get(word, {})] or list(gateways.values())
            targets = {**{name: list(row.values()) for name, row in places.items()}, "host": machine}
            others = {name: addresses for name, addresses in targets.items() if name != word}
            return self.inside(word, pings(others)).strip(), targets

        names = (*self.plan, *MODES)
        with ThreadPoolExecutor() as pool:
            asked = dict(zip(names, pool.map(ask, names)))
        reached = {(word, name): name in heard(text) for word, (text, targets) in asked.items() for name in targets}
        return Look(places, reached, {word: text for word, (text, _) in asked.items()})


class Reach(Result):
    """Who reached whom, before and after a container was connected to one more network.

    ``dropped`` are the rules that dropped packets during the first look, and how many each.
    """

    before: Look
    after: Look
    joined: tuple[str, str]
    dropped: list[tuple[Rule, int]]
    why: str

    @property
    def said(self) -> dict[str, dict[str, str]]:
        """What each one's pings said, before and after."""
        return {"before": self.before.said, "after": self.after.said}

    def rules(self) -> str:
        """The rules that dropped what did not arrive, each with the number of packets that it counted meanwhile."""
        lines = [f"{count} × {rule.table} {rule.chain}: {rule.text}" for rule, count in self.dropped]
        return "\n".join(lines) or self.why or "none"

    def facts(self) -> str:
        word, net = self.joined
        new = [pair for pair, yes in self.after.reached.items() if yes and not self.before.reached[pair]]
        counted = self.why or yes_no(bool(self.dropped))
        return (
            f"{self.before.table()}\n"
            f"after docker network connect {net} {word}: {' · '.join(f'{a} reaches {b}' for a, b in new) or 'as before'}\n"
            f"packets between the networks were dropped by a rule that names a bridge: {counted}"
        )


def reach(on: Context, connect: tuple[str, str] = ("web", "back")) -> Reach:
    """Ping from each container to each, then connect one of them to one more network and do it again.

    Raises:
        BadInput: there is no such container or network.
    """
    with Yard(on) as yard:
        bridges = yard.bridges().values()
        rules, why = read(on)
        on.say("each pings each", 0.3)
        before = yard.look()
        now, _ = read(on)
        dropped = [
            (rule, more) for rule, more in rises(rules, now)
            if rule.target == "DROP" and any(bridge in rule.text for bridge in bridges)
        ]  # fmt: skip
        yard.join(*connect)
        on.say("once more, connected", 0.7)
        return Reach(on.facts, before, yard.look(), connect, dropped, why)
