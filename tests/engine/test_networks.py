"""Lab 10 on a live engine: both ends of a cable, names, walls and ports; what survives what, and what a kill leaves."""

from __future__ import annotations

import pytest

from labkit.engine.dockercli import run_cli
from labkit.errors import BadInput
from labkit.labs.networks_and_data import places, rules, torn, wires, yard
from labkit.labs.networks_and_data.widget import YardWidget
from labkit.observe.porter import CAPABILITIES


def drawn(run) -> bool:
    return run.plot().png.startswith(b"\x89PNG")


def test_both_ends_of_each_cable(module_context):
    run = wires.cables(module_context)
    assert run.facts().count(": yes") == 5, run.facts()
    assert len({end.outside["index"] for end in run.ends}) == 2
    assert "a bridge, address " in run.listing()
    assert drawn(run)


def test_the_porter_has_few_rights_and_no_network(module_context):
    on = module_context
    assert on.porter.links()
    host = on.docker.api.inspect_container(on.porter.container_id)["HostConfig"]
    assert {name.removeprefix("CAP_") for name in host["CapAdd"]} == set(CAPABILITIES)
    assert (host["Privileged"], host["NetworkMode"], host["CapDrop"]) == (False, "none", ["ALL"])


def test_modes(module_context):
    assert wires.modes(module_context).facts() == (
        "--network         interfaces        network namespace of\n"
        "bridge            lo, eth0          its own\n"
        "none              lo                its own\n"
        "host              the machine's     the machine\n"
        "container:first   lo, eth0          the first one"
    )


def test_names(module_context):
    run = wires.names(module_context)
    assert sorted(run.found["own"]) == sorted(run.expected) and len(run.expected) == 2
    assert run.servers["own"] == [wires.EMBEDDED_DNS] and run.found["default"] == []
    assert run.holders == ["dockerd"]


def test_who_reaches_whom(module_context):
    run = yard.reach(module_context)
    assert run.before.table().splitlines()[1:4] == [
        "web   ·     yes   no    yes", "app   yes   ·     yes   yes", "db    no    yes   ·     yes",
    ]  # fmt: skip
    assert "web reaches db · db reaches web" in run.facts()
    assert run.dropped or run.why
    assert all(rule.target == "DROP" and count > 0 for rule, count in run.dropped)
    assert drawn(run)


@pytest.mark.parametrize("pair", [("web", "side"), ("none", "back")])
def test_no_such_place_in_the_yard(module_context, pair):
    with pytest.raises(BadInput, match="There is no"):
        yard.reach(module_context, pair)


def test_the_yard_after_an_interrupt(module_context):
    """An interrupted cell leaves its containers and networks; the next one takes their names back."""
    left = yard.Yard(module_context)
    left.open()
    with yard.Yard(module_context) as fresh:
        assert fresh.look().reached["web", "app"]
    left.join("web", "back")  # its containers are gone by now: it makes them again
    assert left.look().reached["web", "db"]
    left.clear()


def test_a_widget_connects_and_disconnects(module_context):
    widget = YardWidget(module_context)
    try:
        widget.boxes["web", "back"].value = True
        widget._run()
        assert "docker network connect back web" in widget.says.value and "6 of 6 ways" in widget.says.value
        for net in yard.NETWORKS:
            widget.boxes["web", net].value = False
        widget._run()
        assert "docker network disconnect front web" in widget.says.value and "2 of 6 ways" in widget.says.value
        widget.boxes["web", "front"].value = True
        widget._run()
        assert "4 of 6 ways" in widget.says.value and bytes(widget.figure.value).startswith(b"\x89PNG")
    finally:
        widget._yard.clear()


def test_a_published_port(module_context):
    run = rules.published(module_context, 3)
    assert [way.answers for way in run.ways] == [3, 3, 3]
    assert all(way.packets > 3 for way in run.ways)
    if not run.why:
        assert [way.rewritten() for way in run.ways][::2] == [0, 3]
        assert "--to-destination SERVER:80" in run.readable(run.ways[2].rises[-1][0])
    assert drawn(run)


@pytest.mark.parametrize("requests", [0, 51])
def test_requests_that_are_not_counted(module_context, requests):
    with pytest.raises(BadInput, match="can't be counted"):
        rules.published(module_context, requests)


def test_what_survives_what(module_context):
    before = len(module_context.docker.volumes.list())
    run = places.survival(module_context)
    assert [place for place, said in run.restarted.items() if said != "mark"] == ["/memory"]
    assert [place for place, said in run.renewed.items() if said == "mark"] == ["/named", "/bind"]
    assert run.restarted["/memory"].endswith("No such file or directory")
    assert run.orphan.startswith("200 /") and run.gone.startswith("404 ") and "no such volume" in run.gone
    assert len(module_context.docker.volumes.list()) == before
    assert drawn(run)


def test_whose_files_they_are(module_context):
    run = places.owners(module_context)
    refused, both = "touch: {}/by-1000: Permission denied", {"0": "0", "1000": "1000"}
    assert run.owners == {
        "/new": {"0": "0", "1000": refused.format("/new")}, "/tmp": both,
        "/bind": {"0": "0", "1000": refused.format("/bind")}, "/memory": both,
    }  # fmt: skip
    assert run.image[0].startswith("root:") and run.image[1].endswith("No such file or directory")


def test_a_volume_is_carried(module_context):
    run = places.carry(module_context)
    assert run.before == run.after and len(run.listed) == len(run.before) == 5 and run.removed[:3] == "404"
    assert any("1000:1000 640" in line for line in run.before)


def test_a_kill_in_the_middle_of_a_write(module_context):
    run = torn.torn(module_context, 2)
    for case, kills in run.kills.items():
        if "new file" in case:
            assert all(kill.found >= kill.said > 0 for kill in kills), (case, kills)
        else:
            assert any(not kill.found for kill in kills), (case, kills)
        assert run.afterwards[case] == (kills[-1] if "volume" in case else None)
    assert drawn(run)


@pytest.mark.parametrize("kills", [0, 21])
def test_kills_that_are_not_this_labs(module_context, kills):
    with pytest.raises(BadInput, match="not this lab's"):
        torn.torn(module_context, kills)


@pytest.mark.parametrize("flag", ["-v data:/named", "-v /anonymous", "--tmpfs /memory"])
def test_the_flag_beside_the_call(lab_context, flag):
    """A place as one types it and as the experiment asks for it is mounted alike."""
    on = lab_context
    folder = flag.rpartition(":")[2].rpartition(" ")[2]
    with places.volumes(on, "data") as (data,):
        typed = flag.replace("data:", f"{data}:")
        name = run_cli(on.session, f"docker create --network none {typed} {on.image()} true").strip().splitlines()[-1]
        row = on.docker.api.inspect_container(name)
        on.docker.api.remove_container(name, v=True)
    kinds = [mount["Type"] for mount in row["Mounts"]]
    assert (kinds, row["HostConfig"].get("Tmpfs")) == (([], {folder: ""}) if "tmpfs" in flag else (["volume"], None))


def test_a_learners_own_things_of_the_same_name_stay(lab_context):
    """Names that the lab takes back are its own: a volume ``data`` that a learner made is not emptied."""
    on = lab_context
    volume = on.docker.volumes.create(on.session.name("data"))
    net = on.docker.networks.create(on.session.name("front"))
    places.carry(on)
    with yard.Yard(on):
        pass
    volume.reload()
    net.reload()
