"""The packet filter's rules with their counters, and a published port that is followed through them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.client import address_in
from ...errors import BadInput, NotPossibleHere
from ...units import yes_no
from ...waiting import wait_until


@dataclass(frozen=True)
class Rule:
    """One rule: its table and chain, what it matches and does, its target, and the packets that it has counted."""

    table: str
    chain: str
    text: str
    target: str
    packets: int


def parse(tables: dict[str, str]) -> list[Rule]:
    """Rules from what ``iptables -v -S`` prints of each table, in their order."""
    found = []
    for table, text in tables.items():
        for chain, what, packets, does in re.findall(r"^-A (\S+)(.*?) -c (\d+) \d+(.*)$", text, re.M):
            target = re.search(r"-j (\S+)", what + does)
            words = " ".join(f"{what} {does}".split())
            found.append(Rule(table, chain, words, target[1] if target else "", int(packets)))
    return found


def read(on: Context) -> tuple[list[Rule], str]:
    """All rules of the engine's machine; or none, and the reason."""
    try:
        found = parse(on.porter.rules())
    except NotPossibleHere as fault:
        return [], f"not to be read here ({str(fault).partition(': ')[2][:80]})"
    if any(rule.target.startswith("DOCKER") for rule in found):
        return found, ""
    return [], "not to be read here (the engine keeps none with iptables)"


def rises(before: Sequence[Rule], after: Sequence[Rule]) -> list[tuple[Rule, int]]:
    """The rules that have counted since, and how many packets; rules that are alike are told apart by their order."""

    def numbered(rules: Sequence[Rule]) -> dict[tuple[str, str, str, int], Rule]:
        seen: Counter[tuple[str, str, str]] = Counter()
        rows = {}
        for rule in rules:
            key = (rule.table, rule.chain, rule.text)
            rows[(*key, seen[key])] = rule
            seen[key] += 1
        return rows

    old = numbered(before)
    found = [(rule, rule.packets - (old[key].packets if key in old else 0)) for key, rule in numbered(after).items()]
    return [(rule, more) for rule, more in found if more > 0]


@dataclass(frozen=True)
class Way:
    """Requests on one way to a server: how many were answered, the packets that reached the server's ``eth0``,
    and what the rules counted meanwhile."""

    name: str
    where: str
    answers: int
    packets: int
    rises: list[tuple[Rule, int]]

    def rewritten(self) -> int:
        """How often the rule that puts another destination into a packet (DNAT) has counted."""
        return sum(more for rule, more in self.rises if rule.target == "DNAT")


class Published(Result):
    """The same requests on several ways; ``words`` says what an address or a name is, for rules to be readable.

    ``proxies`` are the command lines of the programs that listen for the server on the machine.
    """

    requests: int
    ways: list[Way]
    proxies: list[str]
    words: dict[str, str]
    why: str

    def facts(self) -> str:
        lines = [f"{'the machine asks':<36}answers   DNAT counted"]
        for way in self.ways:
            counted = "?" if self.why else str(way.rewritten())
            lines.append(f"{way.name:<36}{f'{way.answers} of {self.requests}':<10}{counted}")
        lines.append(
            f"more packets than that came to the server: {yes_no(all(w.packets > self.requests for w in self.ways))}"
        )
        lines.append(f"a docker-proxy listens for each published address: {yes_no(len(self.proxies) == 2)}")
        return "\n".join([*lines, *([f"the rules: {self.why}"] if self.why else [])])

    def readable(self, rule: Rule) -> str:
        """A rule's text, with words for what is this run's own."""
        text = rule.text
        for found, word in self.words.items():
            text = re.sub(rf"(?<![\w.]){re.escape(found)}(/32)?(?![\w.])", word, text)
        return text

    def rules(self) -> str:
        """The rules of this published port as the machine has them, table by table."""
        rows = {(rule.table, rule.chain, rule.text): None for way in self.ways for rule, _ in way.rises}
        return "\n".join(f"{table:<7}{chain}: {text}" for table, chain, text in rows) or self.why


_SERVE = "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"


def published(on: Context, requests: int = 5) -> Published:
    """Ask a server on three ways, and read the packet filter's counters before and after each.

    Method: busybox's httpd in a network of its own, published twice, at 127.0.0.1 and at the address that the machine
    has in that network; ports that the engine chooses. The requests come from the machine's own network (a container
    with ``--network host``), one after the other, each on a connection of its own. Nothing of it can be reached from
    another machine.

    Raises:
        BadInput: fewer requests than 1, or more than 50.
    """
    if not 1 <= requests <= 50:
        raise BadInput(f"{requests} requests can't be counted here.", next_step="Ask for 1 to 50.")
    net = on.network(on.session.name("lab-shown"))
    try:
        attrs = on.docker.networks.get(net).attrs
        gateway = attrs["IPAM"]["Config"][0]["Gateway"].partition("/")[0]
        bind: dict[str, Any] = {"80/tcp": [("127.0.0.1", None), (gateway, None)]}
        with (
            on.container(images.BUSYBOX, ["sh", "-c", _SERVE], network=net, ports=bind) as server,
            on.container(images.BUSYBOX, ["sleep", "600"], network_mode="host") as client,
        ):
            own = address_in(server, net)
            ports = {row["HostIp"]: row["HostPort"] for row in server.attrs["NetworkSettings"]["Ports"]["80/tcp"]}
            targets = {
                "its own address": f"{own}:80",
                "the port published at 127.0.0.1": f"127.0.0.1:{ports['127.0.0.1']}",
                "the port published at the bridge": f"{gateway}:{ports[gateway]}",
            }

            mine = "|".join(map(re.escape, [own, gateway, "br-" + attrs["Id"][:12]]))

            def own_rule(rule: Rule) -> bool:
                # A rule of this port, or one of those through which all packets come to the port's rules.
                leads = rule.table == "nat" and rule.target == "DOCKER"
                return leads or bool(re.search(rf"(?<![\w.])({mine})(?![\w.])", rule.text))

            def ask(where: str) -> bool:
                return bool(
                    client.exec_run(["wget", "-q", "-T", "5", "-O", "-", f"http://{where}/"]).output == b"hello\n"
                )

            def arrived() -> int:
                return int(server.exec_run(["cat", "/sys/class/net/eth0/statistics/rx_packets"]).output)

            for where in targets.values():
                wait_until(lambda where=where: ask(where), 20, f"The server did not answer at {where}.")  # type: ignore[misc]
            ways, why = [], ""
            for number, (name, where) in enumerate(targets.items()):
                on.say(f"{requests} requests to {name}", number / len(targets))
                packets, (before, why) = arrived(), read(on)
                answers = sum(ask(where) for _ in range(requests))
                rose = [(rule, more) for rule, more in rises(before, read(on)[0]) if own_rule(rule)]
                ways.append(Way(name, where, answers, arrived() - packets, rose))
            here = on.porter.call("machine_net")  # another engine of this machine may have the same addresses
            rows = [row for row in on.porter.processes() if row["comm"] == "docker-proxy" and own in row["command"]]
            proxies = [" ".join(row["command"]) for row in rows if row["namespaces"].get("net") == here]
    finally:
        on.drop_network(net)
    words = {
        own: "SERVER",
        gateway: "BRIDGE",
        "br-" + attrs["Id"][:12]: "br",
        ports["127.0.0.1"]: "PORT1",
        ports[gateway]: "PORT2",
    }
    return Published(on.facts, requests, ways, proxies, words, why)
