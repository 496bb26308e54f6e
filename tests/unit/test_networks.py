"""Lab 10 without an engine: rules are read, counters compared, and a ledger is judged by its checksum."""

from __future__ import annotations

import hashlib
import subprocess
import time

import pytest

from labkit.labs.networks_and_data import rules, torn, wires, yard
from labkit.labs.networks_and_data.figures_networks import plot_looks
from labkit.paths import data_file

#: As iptables prints them, its old kind (no ``-m tcp``) and its new one.
NAT = """-P PREROUTING ACCEPT -c 7 420
-N DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -c 3 180 -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o br-1 -c 0 0 -j MASQUERADE
-A DOCKER -d 172.18.0.1/32 ! -i br-1 -p tcp -m tcp --dport 32768 -c 2 120 -j DNAT --to-destination 172.18.0.2:80
"""


def test_rules_are_read_with_their_counters():
    found = rules.parse({"nat": NAT})
    assert [(rule.chain, rule.target, rule.packets) for rule in found] == [
        ("PREROUTING", "DOCKER", 3), ("POSTROUTING", "MASQUERADE", 0), ("DOCKER", "DNAT", 2),
    ]  # fmt: skip
    assert found[2].text.endswith("--dport 32768 -j DNAT --to-destination 172.18.0.2:80")


def test_what_has_counted_since():
    before = rules.parse({"nat": NAT})
    after = rules.parse({"nat": NAT.replace("-c 2 120", "-c 7 420"), "raw": "-A PREROUTING -i x -c 4 9 -j DROP"})
    assert [(rule.target, more) for rule, more in rules.rises(before, after)] == [("DNAT", 5), ("DROP", 4)]


def test_rules_that_are_alike_are_told_apart():
    line = "-A FORWARD -o br-1 -c {} 9 -j ACCEPT\n"
    before, after = (rules.parse({"filter": line.format(a) + line.format(b)}) for a, b in ((1, 5), (1, 8)))
    assert [more for _, more in rules.rises(before, after)] == [3]


def test_words_stand_for_what_is_this_runs_own():
    [rule] = rules.parse({"nat": NAT.splitlines()[4]})
    words = {"172.18.0.2": "SERVER", "172.18.0.1": "BRIDGE", "br-1": "br", "32768": "PORT2", "80": "NO"}
    run = rules.Published(None, 5, [], ["docker-proxy"] * 2, words, "")
    assert run.readable(rule).startswith(
        "-d BRIDGE ! -i br -p tcp -m tcp --dport PORT2 -j DNAT --to-destination SERVER:"
    )
    assert "172.18.0.20" in run.readable(rules.Rule("nat", "X", "-d 172.18.0.20/32", "", 0))


def test_a_port_whose_rules_can_not_be_read_is_told():
    way = rules.Way("its own address", "", 5, 30, [])
    text = rules.Published(None, 5, [way], [], {}, "not to be read here (no iptables)").facts()
    assert "5 of 5    ?\n" in text and text.endswith("the rules: not to be read here (no iptables)")


ROWS = "record 3 row 1: a\nrecord 3 row 2: b\n"


@pytest.mark.parametrize(
    "text, number",
    [
        (None, None),
        ("", 0),
        (ROWS, 0),
        (ROWS + hashlib.sha256(ROWS.encode()).hexdigest() + "  -", 3),
        (ROWS + hashlib.sha256(ROWS.encode()).hexdigest()[:-1] + "0  -", 0),
        (ROWS[:20] + hashlib.sha256(ROWS.encode()).hexdigest() + "  -", 0),
    ],
)
def test_a_ledger_is_judged_by_its_checksum(text, number):
    assert torn.judged(text) == number


@pytest.mark.parametrize("how", ["place", "new"])
def test_the_program_writes_whole_records(tmp_path, how):
    """By the shell of this machine, whose sync may know no ``-d``: what is kept is whole, until it is killed."""
    script = (
        data_file("apps", "data", "ledger.sh")
        .read_text()
        .replace("sync -d", "true")
        .replace("/tmp/seal", str(tmp_path / "seal"))
    )
    child = subprocess.Popen(
        ["sh", "-c", script, "ledger", how, str(tmp_path / "ledger")], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in child.stdout:
            if line == "keeps 2\n":
                break
        time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    found = torn.judged((tmp_path / "ledger").read_text())
    assert found >= 2 if how == "new" else found == 0 or found >= 2


@pytest.mark.parametrize("found, checksum", [(3, "always right"), (0, "broken")])
def test_a_file_is_told_as_the_last_kill_left_it_whole_or_torn(found, checksum):
    kills = {case: [torn.Kill(2, found, 20, "end")] for case in torn.CASES}
    told = torn.Torn(None, kills, {case: rows[-1] for case, rows in kills.items()}).facts()
    assert told.count(checksum) == told.count("as the last kill left it") == 4
    other = torn.Torn(None, kills, dict.fromkeys(torn.CASES, torn.Kill(2, found, 19, "other"))).facts()
    assert other.count("another file") == 4


def looks():
    places = {"web": {"front": "10.0.0.2"}, "app": {}, "db": {}}
    pairs = {(a, b): (a, b) == ("web", "db") for a in (*places, *yard.MODES) for b in (*places, "host")}
    return yard.Look(places, pairs)


def test_a_map_of_what_is_in_no_network():
    found = looks()
    assert found.table().splitlines()[1] == "web   ·     no    yes   no"

    class Engine:
        name, version, kind, kernel, cgroup_version, emulated, cpus, memory = (
            "Docker",
            "1",
            "host",
            "6",
            2,
            False,
            2,
            2**30,
        )

    shown = plot_looks(Engine(), {"The map now": found})
    assert "app in no network" in shown.alt and shown.png.startswith(b"\x89PNG")


def test_a_cable_whose_other_end_is_not_there_is_told():
    end = wires.End("web", 4, 5, "10.0.0.2", "10.0.0.1", None)
    assert wires.Cables(None, [end], None, "abc").facts().count(": no") == 5


def test_pings_run_all_at_once():
    script = yard.pings({"db": ["10.0.0.2", "10.0.1.2"]})
    assert script.count("ping -c") == 2 and script.count("&\n") == 2 and "wait; } | sort" in script


def test_whoever_did_not_answer_was_not_heard():
    ok = "app 10.0.0.3 (status 0): 2 packets transmitted, 2 packets received, 0% packet loss"
    no = ("db 10.0.1.2 (status 1): 2 packets transmitted, 0 packets received, 100% packet loss",
          "host 10.0.1.1 (status 1): ping: sendto: Network is unreachable", "db 10.0.1.3 (status 127):")  # fmt: skip
    assert yard.heard("\n".join([*no, ok])) == {"app"}
