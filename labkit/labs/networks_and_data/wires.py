"""What a container's network is made of: both ends of its cable, its modes, and who answers for a name."""

import contextlib
import re
from dataclasses import dataclass
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.client import address_in
from ...observe.rows import Link
from ...units import yes_no
from .yard import Yard

#: The address of Docker's name server, in each container of a network that somebody made.
EMBEDDED_DNS = "127.0.0.11"


@dataclass(frozen=True)
class End:
    """A container's ``eth0`` by its own words, and the interface of the machine that is its other end."""

    word: str
    number: int
    other: int
    address: str
    gateway: str
    outside: Link | None

    def meet(self) -> bool:
        """Whether each names the other by its number."""
        return self.outside is not None and self.outside["peer"] == self.number


class Cables(Result):
    """The two containers of one network, both ends of their cables, and the bridge."""

    ends: list[End]
    bridge: Link | None
    network: str

    def facts(self) -> str:
        ports = [end.outside["bridge"] for end in self.ends if end.outside]
        name = self.bridge["name"] if self.bridge else ""
        gateways = {end.gateway for end in self.ends}
        return (
            f"in each container: lo and eth0, whose other end is an interface of the machine: "
            f"{yes_no(len(ports) == len(self.ends))}\n"
            f"ifindex here is iflink there, both ways: {yes_no(all(end.meet() for end in self.ends))}\n"
            f"outside, all ends are ports of one bridge: {yes_no(bool(name) and set(ports) == {name})}\n"
            f"its name is br- and the beginning of the network's ID: {yes_no(name == 'br-' + self.network[:12])}\n"
            f"the containers' default gateway is the bridge's own address: "
            f"{yes_no(bool(self.bridge) and gateways <= set(self.bridge['addresses'] if self.bridge else ()))}"
        )

    def listing(self) -> str:
        """What was read, from inside and from outside, line by line."""
        lines = []
        for end in self.ends:
            lines.append(f"in {end.word:<8}eth0: ifindex {end.number}, iflink {end.other}, address {end.address}")
            if end.outside:
                out = end.outside
                lines.append(
                    f"outside     {out['name']}: ifindex {out['index']}, iflink {out['peer']}, a port of {out['bridge']}"
                )
        if self.bridge:
            lines.append(f"outside     {self.bridge['name']}: a bridge, address {', '.join(self.bridge['addresses'])}")
        return "\n".join(lines)


_LOOK = """cd /sys/class/net/eth0; cat ifindex iflink; ip -o -4 addr show dev eth0 | awk '{ print $4 }'
ip route | awk '/^default/ { print $3 }'"""


def cables(on: Context) -> Cables:
    """Find both ends of each cable of a network: inside by ``ifindex`` and ``iflink``, outside by the machine's list."""
    with Yard(on, {"web": ("front",), "app": ("front",)}) as yard:
        links = {row["index"]: row for row in on.porter.links()}
        ends = []
        for word in yard.plan:
            number, other, address, gateway = yard.inside(word, _LOOK).split()
            outside = links.get(int(other))
            ends.append(End(word, int(number), int(other), address.partition("/")[0], gateway, outside))
        name = yard.bridges()["front"]
        bridge = next((row for row in links.values() if row["name"] == name), None)
        network = str(on.docker.networks.get(yard.name("front")).id)
    return Cables(on.facts, ends, bridge, network)


# Some kernels give each namespace devices for tunnels, too, which are down.
_UP = "cd /sys/class/net; for name in *; do [ $(($(cat $name/flags) & 1)) = 1 ] && echo $name; done"


class Modes(Result):
    """What a container sees in each mode: its interfaces, and whose network namespace it is in.

    ``spaces`` are the namespaces' numbers, the machine's first.
    """

    rows: dict[str, tuple[list[str], str]]
    spaces: dict[str, str]

    def facts(self) -> str:
        lines = [f"{'--network':<18}{'interfaces':<18}network namespace of"]
        for mode, (found, whose) in self.rows.items():
            shown = "the machine's" if whose == "the machine" else ", ".join(found)
            lines.append(f"{mode:<18}{shown:<18}{whose}")
        return "\n".join(lines)


def modes(on: Context) -> Modes:
    """Start a container in each mode, and look at its interfaces and its network namespace."""
    spaces: dict[str, str] = {"the machine": on.porter.call("machine_net")}
    rows: dict[str, tuple[list[str], str]] = {}
    first = on.session.name("lab-first")
    on.free(first)
    with contextlib.ExitStack() as stack:
        for mode in ("bridge", "none", "host", "container:first"):
            where = f"container:{first}" if mode.startswith("container:") else mode
            options: dict[str, Any] = {"name": first} if mode == "bridge" else {}
            one = stack.enter_context(on.container(images.BUSYBOX, ["sleep", "600"], network_mode=where, **options))
            found = one.exec_run(["sh", "-c", _UP]).output.decode().split()
            [row] = on.porter.processes([on.main_pid(one)])
            spaces[mode] = row["namespaces"].get("net", "")
            whose = "its own"
            if spaces[mode] == spaces["the machine"]:
                whose = "the machine"
            elif mode.startswith("container:") and spaces[mode] == spaces["bridge"]:
                whose = "the first one"
            rows[mode] = (sorted(found, key=lambda name: (name != "lo", name)), whose)
    return Modes(on.facts, rows, spaces)


class Names(Result):
    """Who answers for a name, in a network of one's own and in the default one.

    ``servers``, ``found``: the name server in ``/etc/resolv.conf`` and the addresses for ``db``, by network;
    ``expected`` are the addresses of the two that bear the alias, ``holders`` the programs whose socket answers.
    """

    servers: dict[str, list[str]]
    found: dict[str, list[str]]
    expected: list[str]
    holders: list[str]

    def facts(self) -> str:
        lines = [f"{'':<24}{'name server':<16}addresses for db"]
        for key, what in (("own", "a network of our own"), ("default", "the default bridge")):
            server = EMBEDDED_DNS if EMBEDDED_DNS in self.servers[key] else "the machine's"
            both = ", those of both" if sorted(self.found[key]) == sorted(self.expected) else ""
            lines.append(f"{what:<24}{server:<16}{len(self.found[key])}{both}")
        held = ", ".join(self.holders) or "not seen"
        return "\n".join([*lines, f"the socket at {EMBEDDED_DNS} belongs to a program outside: {held}"])


def lookup(on: Context, container: Container, name: str) -> list[str]:
    """The IPv4 addresses that a container's name servers have for a name, each asked for three seconds at most."""
    with contextlib.suppress(NotFound):
        text = container.exec_run(["timeout", "3", "nslookup", name]).output.decode()
        return re.findall(r"^Address(?: \d+)?:\s+([\d.]+)\s*$", text.partition("\nName:")[2], re.M)
    return []


def names(on: Context) -> Names:
    """Look a name up that two containers bear, in a network of their own and in the default one.

    The alias is ``db`` (``--network-alias db``). Whose the socket of the name server is, the engine's machine says.
    """
    net = on.network(on.session.name("lab-named"))
    sleep = ["sleep", "600"]
    servers, found = {}, {}
    try:
        with contextlib.ExitStack() as stack:
            alias = on.docker.api.create_endpoint_config(aliases=["db"])
            twins = [
                stack.enter_context(on.container(images.BUSYBOX, sleep, network=net, networking_config={net: alias}))
                for _ in range(2)
            ]
            asker = stack.enter_context(on.container(images.BUSYBOX, sleep, network=net))
            other = stack.enter_context(on.container(images.BUSYBOX, sleep))
            expected = [address_in(one, net) for one in twins]
            for key, one in (("own", asker), ("default", other)):
                text = one.exec_run(["cat", "/etc/resolv.conf"]).output.decode()
                servers[key] = re.findall(r"^nameserver\s+(\S+)", text, re.M)
                found[key] = lookup(on, one, "db")
            holders = on.porter.holders(on.main_pid(asker), EMBEDDED_DNS)
    finally:
        on.drop_network(net)
    return Names(on.facts, servers, found, expected, holders)
