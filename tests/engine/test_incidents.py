"""Lab 11: each incident is broken as reported, is mended by its shortest way, and by no shortcut."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from labkit.course.state import containers
from labkit.errors import BadInput
from labkit.labs.it_does_not_work import incidents, rules, system
from labkit.waiting import wait_until

#: What a customer feels of each, as the rule that says so.
FELT = {
    **dict.fromkeys(["exits", "oom", "platform", "taken"], "running"), "deaf": "stops", "slow": "quick",
    **dict.fromkeys(["name", "island", "port", "proxy", "secret", "owner", "full", "health", "moved"], "served"),
}  # fmt: skip


def again(part: str, *changes: tuple[str, str]) -> list[str]:
    """A part removed, and started anew by its agreed line with some changes."""
    line = system.PARTS[part]
    for old, new in changes:
        assert old in line
        line = line.replace(old, new)
    return [f"docker rm -f ${part}", line]


def by_address(on, at) -> list[str]:
    """The store's present address, written down in the api."""
    address = on.docker.api.inspect_container(at.words["store"])["NetworkSettings"]["Networks"][at.words["counter"]]
    return again("api", ("--init", f"--init --add-host store:{address['IPAddress']}"))


#: Shortcuts: the incident, what somebody in a hurry types, and the rule whose sentence fits.
SHORTCUTS = [
    ("exits", ["docker stop $name", "docker update --restart no $name"], "running"),
    ("exits", ["docker rm -f $name", "$run_idle"], "served"),
    ("oom", ["docker restart $store"], "running"),
    ("oom", again("store", ("--memory 32m --memory-swap 32m ", "")), "limits"),
    ("oom", ["docker stop $store", "docker update --memory 512m --memory-swap 512m $store", "docker start $store"], "limits"),
    ("platform", ["docker restart $name"], "running"),
    ("platform", ["docker rm -f $web $api $store", "docker volume rm $orders"], "lost"),
    ("taken", again("web", ("127.0.0.1:$port:", "127.0.0.1:0:")), "served"),
    ("taken", ["docker stop $other", "docker start $web"], "alone"),
    ("name", by_address, "connected"),
    ("name", again("api", ("STORE=store:", "STORE=$store:")), "connected"),
    ("island", ["docker network connect $counter $name"], "served"),
    ("island", ["docker network connect --alias $part $counter $name"], "connected"),
    ("port", again("web", ("127.0.0.1:$port:8080", "$port:8080")), "published"),
    ("port", again("web", ("127.0.0.1:$port:8080", "127.0.0.1:0:8080")), "served"),
    ("proxy", ["docker exec $name sh -c 'unset http_proxy'"], "served"),
    ("proxy", ["docker restart $web $api"], "served"),
    ("secret", again("store", ("--init", "--init -e OPEN=1")), "settings"),
    ("secret", ["docker exec -u 0 $api sh -c 'mkdir -p /run/secret; cp -p $place/token /run/secret/'"], "mounted"),
    ("owner", ["docker exec -u 0 $store chmod 666 /data/orders"], "owned"),
    ("owner", again("store", ("--user 1000", "--user 0")), "ordinary"),
    ("owner", ["docker rm -f $store", "docker volume rm $orders", system.PARTS["store"]], "lost"),
    ("full", ["docker exec -u 0 $store sh -c 'rm -f /spool/*'"], "settings"),
    ("full", again("store", ("size=256k", "size=8m")), "spool"),
    ("health", again("api", ("wget -q -T 3 -O /dev/null http://127.0.0.1:8000/", "$lie")), "truthful"),
    ("health", again("api", ('--health-cmd "wget -q -T 3 -O /dev/null http://127.0.0.1:8000/" --health-interval 5s ', "")), "watched"),
    ("deaf", ["docker rm -f $name", "$run_hasty"], "stops"),
    ("deaf", ["docker restart $name"], "stops"),
    ("slow", ["docker restart $name"], "quick"),
    ("slow", ["docker rm -f $name", "$run_unlimited"], "limits"),
    ("moved", again("web", ("$image", "$repository:build-417")), "release"),
    ("moved", ["docker exec -u 0 $web sh -c 'echo 1.4 >/srv/release'"], "release"),
]  # fmt: skip


def begun(on, key: str, seed: str = "a") -> incidents.Running:
    """An incident that has been started, with a few more lines for shortcuts."""
    incidents.start(on, key, seed=seed)
    at = incidents.current(on)
    run = at.words.get("run", "")
    at.words |= {
        "run_idle": run.replace(f"counter {at.words.get('part')}", "sleep 600"), "run_unlimited": run.replace("--cpus 0.5", ""),
        "run_hasty": run.replace("--init", "--stop-timeout 1 --stop-signal SIGKILL"),
    }  # fmt: skip
    return at


@pytest.mark.parametrize("key", incidents.catalogue())
def test_broken_as_reported_and_mended_by_its_shortest_way(module_context, key):
    on = module_context
    at = begun(on, key)
    report = incidents.check(on)
    assert (report.mended, report.rule) == (False, FELT[key]), report.says
    with pytest.raises(BadInput, match="shown afterwards"):
        report.shortest()
    assert incidents.ask(on).status != 200 or key in ("taken", "owner", "full", "deaf", "slow", "moved")
    hints = [incidents.hint(on) for _ in at.incident.hints]
    assert len({*hints}) == len(hints) == 3 and "$" not in "".join(hints)
    incidents.mend(on)
    report = incidents.check(on)
    assert report.mended, report.says
    assert incidents.ask(on).facts().startswith("HTTP 200\nTea counter, release 1.4\n001 ")
    assert [line for _, line in report.commands] and len(report.commands) == len(at.incident.repair) <= 20
    assert report.shortest() and [good for _, good in report.checks] == [False, True] and len(report.hints) == 3
    assert report.facts() == f"mended: yes · orders lost: 0 · it was: {at.incident.title}"


#: The first one of each incident in every run of the tests; all of them among the slow ones.
_FIRST = {key: at for at, (key, _, _) in reversed(list(enumerate(SHORTCUTS)))}


@pytest.mark.parametrize(("key", "lines", "rule"), [
    pytest.param(*row, id=f"{row[0]}-{row[2]}", marks=[] if _FIRST[row[0]] == at else [pytest.mark.slow])
    for at, row in enumerate(SHORTCUTS)
])  # fmt: skip
def test_a_shortcut_does_not_do_and_hears_why(module_context, key, lines, rule):
    on = module_context
    at = begun(on, key)
    for line in lines(on, at) if callable(lines) else lines:
        # A restart between two tries is refused.
        system.typed(on, at.filled(on, line), fails=line.startswith("docker restart"))
    report = incidents.check(on)
    assert not report.mended and report.rule == rule, f"{report.rule}: {report.says}"
    assert report.says.endswith(".") or rule in ("lost", "served"), report.says


@pytest.mark.parametrize(("first", "now"), [(("restarting", 4), ("running", 4)), (("running", 4), ("running", 5)),
                                            (("running", 4), ("restarting", 4)), (("exited", 0), ("exited", 0))])  # fmt: skip
def test_what_is_met_while_it_is_tried_again_does_not_run(first, now):
    rows = [
        {"State": {"Status": status, "Restarting": status == "restarting", "ExitCode": 1}, "RestartCount": count}
        for status, count in (first, now)
    ]
    look = SimpleNamespace(rows={"web": rows[0]}, _inspect=lambda part: rows[1], name=str)
    assert rules.running(look).startswith(
        "web does not run: exited" if first[0] == "exited" else "web is started again"
    )


def test_each_incident_has_two_shortcuts():
    assert all(sum(row[0] == key for row in SHORTCUTS) >= 2 for key in incidents.catalogue())
    assert {row[2] for row in SHORTCUTS} | {*FELT.values()} >= {*rules.RULES} - {"there", "returns", "locked"}


def test_what_is_mended_in_place_is_healthy_with_its_next_look(module_context):
    on = module_context
    api = on.docker.containers.get(begun(on, "name").words["api"])
    wait_until(lambda: api.reload() or api.attrs["State"]["Health"]["Status"] == "unhealthy", 120, "never unhealthy")
    incidents.mend(on)
    report = incidents.check(on)
    assert report.mended, report.says


def test_each_health_check_that_lies_says_healthy(module_context):
    on = module_context
    api = on.docker.containers.get(begun(on, "health").words["api"])
    for lie in incidents.catalogue()["health"].details["lie"]:
        assert api.exec_run(["sh", "-c", lie]).exit_code == 0, lie


def test_another_learner_has_other_details(module_context):
    on = module_context
    lines = []
    for seed in ("a", "b"):
        begun(on, "name", seed)
        lines.append(incidents.command(on, "store"))
    assert lines[0] != lines[1]


def test_an_incident_that_was_left_is_cleaned_by_the_next(module_context):
    on = module_context
    left = begun(on, "taken").words["other"]
    on.docker.containers.run(
        on.image(), ["sleep", "600"], name=on.session.name("left"), detach=True, network_mode="none"
    )
    begun(on, "exits")
    assert {row["Name"][1:].rpartition("-")[0] for row in containers(on)} == {"web", "api", "store"}
    assert left not in str(containers(on)) and incidents.current(on).incident.key == "exits"


def test_who_removes_everything_hears_what_is_lost(module_context):
    on = module_context
    at = begun(on, "port")
    for row in containers(on):
        on.docker.api.remove_container(row["Id"], force=True, v=True)
    report = incidents.check(on)
    assert report.rule == "there" and "Its data is safe" in report.says, report.says
    on.docker.api.remove_volume(at.words["orders"])
    report = incidents.check(on)
    assert report.rule == "lost" and f"all {len(at.system.orders)} orders are lost" in report.says, report.says


@pytest.mark.parametrize(("line", "rule"), [
    ("docker update --restart no $web", "returns"), ("docker rm -f $web", "there"), ("docker pause $store", "running"),
])  # fmt: skip
def test_what_was_mended_may_be_broken_again(module_context, line, rule):
    on = module_context
    at = begun(on, "owner")
    incidents.mend(on)
    system.typed(on, at.filled(on, line))
    assert incidents.check(on).rule == rule


def test_a_store_that_shows_itself_to_anybody_is_found_by_asking(module_context):
    on = module_context
    at = begun(on, "owner")
    incidents.mend(on)
    system.typed(
        on, at.filled(on, """docker exec -u 0 $store sed -i 's/"$OPEN" = 1/1 = 1/' /srv/store/cgi-bin/index.cgi""")
    )
    assert incidents.check(on).rule == "locked"


@pytest.mark.parametrize("which", [0, 99, True, "nothing", None])
def test_there_is_no_such_incident(module_context, which):
    with pytest.raises(BadInput, match="There is no incident"):
        incidents.start(module_context, which)


def test_nothing_to_check_before_a_start(lab_context):
    with pytest.raises(BadInput, match="No incident has been started"):
        incidents.check(lab_context)
    with pytest.raises(BadInput, match="no part 'cellar'"):
        incidents.command(lab_context, "cellar")
