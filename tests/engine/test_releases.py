"""Lab 12 on a live engine: what is shipped, what a health check does, which requests a rollout loses."""

from __future__ import annotations

import json

import pytest

from labkit.errors import BadInput
from labkit.labs.images_and_registries.building import build
from labkit.labs.releases import customers, health, kiosk, places, rollouts, sbom, shipping
from labkit.labs.releases.widget import RolloutWidget


def drawn(run) -> bool:
    return run.plot().png.startswith(b"\x89PNG")


@pytest.mark.alone
def test_a_rollout_in_each_way(module_context):
    run = rollouts.compare(module_context, 1)
    assert [bool(run.lost(way)[0]) for way in kiosk.WAYS] == [True, False, False], run.table()
    assert run.facts().splitlines()[1:] == [
        "stop and start  every one                    yes",
        "rolling         none                         yes",
        "blue/green      none                         yes",
    ]
    for rows in run.rollouts.values():
        assert {rollouts.release_of(visit) for visit in rows[0].visits} - {""} == {"1", "2"}
        assert 0 < rows[0].began < rows[0].ended < rows[0].visits[-1].start + rows[0].visits[-1].seconds
    assert drawn(run) and drawn(run.rollouts["rolling"][0])


@pytest.mark.alone
def test_a_bad_release_gives_itself_up_where_somebody_looks(module_context):
    run = rollouts.bad(module_context)
    assert "unhealthy" in run.looking.found and run.looking.after == run.looking.before != kiosk.BAD
    assert (bool(run.blind.lost), bool(run.looking.lost)) == (True, False)
    assert "given up: yes" in run.facts() and drawn(run)


@pytest.mark.alone
@pytest.mark.parametrize("way", ["stop and start", "blue/green"])
def test_a_bad_release_gives_itself_up_in_the_other_ways(module_context, way):
    before = kiosk.open_kiosk(module_context).release
    run = rollouts.rollout(module_context, way, kiosk.BAD)
    assert run.found and run.after == before and bool(run.lost) == (way == "stop and start")
    assert len(kiosk.open_kiosk(module_context).servers) == kiosk.SERVERS


def test_no_such_way(module_context):
    with pytest.raises(BadInput, match="There is no way"):
        rollouts.rollout(module_context, "prayer")


def test_a_kiosk_after_an_interrupt(module_context):
    """An interrupted rollout leaves a kiosk in pieces, and somebody's container in its network: it is opened anew."""
    on = module_context
    shop = kiosk.open_kiosk(on)
    shop._whole = False
    on.docker.containers.run(on.image(), ["sleep", "600"], network=shop.network, detach=True)
    fresh = kiosk.open_kiosk(on)
    assert fresh is not shop and fresh.lives()


def test_customers_who_hang_do_not_hold_up_the_others(module_context):
    """A server that answers late gets as many requests as one that answers at once."""
    shop = kiosk.open_kiosk(module_context)
    shop.lead_to()  # an empty list: the door says 502
    with module_context.visitor(shop.network).steady(shop.url, 0.1) as load:
        while len(load.look(1)) < 10:
            pass
    assert {visit.status for visit in load.rows} == {502} and load.rows == sorted(load.rows)
    shop.lead_to(*shop.servers)
    customers.customers(module_context)
    customers.customers(module_context)  # a second time: those before go home


def test_health(module_context):
    run = health.health(module_context)
    assert [state for _, state in run.states] == ["starting", "healthy", "unhealthy", "healthy"]
    assert (run.failed_in_a_row(), run.restarts, run.running, run.answer) == (run.retries, 0, True, 500)
    assert [at for at, _ in run.states] == sorted(at for at, _ in run.states) and drawn(run)


def test_what_is_shipped(module_context):
    run = shipping.shipping(module_context)
    plain, ignored, staged = run.ways.values()
    assert "recordings/monday.bin" in plain.files and "password.txt" not in ignored.files
    assert "test_app.py" in ignored.files and staged.files == ("app.py", "passed")
    assert plain.context > 3 << 20 > 1 << 20 > ignored.context > 1000
    assert plain.size > 3 << 20 > ignored.size >= staged.size > 0 and drawn(run)


def test_where_a_token_is(module_context):
    run = shipping.leaks(module_context)
    assert run.places["--build-arg"] == ["the configuration's history"]
    assert [place.partition(": ")[2] for place in run.places["COPY, then rm"]] == ["/token"]
    assert run.places["--secret"] == [] and len(set(run.signatures.values())) == 1


def test_a_cache_mount(module_context):
    run = shipping.cache_mount(module_context)
    counts = {way: [len(names) for names in rows] for way, rows in run.compiled.items()}
    assert list(counts.values()) == [[3, 3], [3, 1]] and run.kept == 0


def test_one_image_in_two_places(module_context):
    run = places.places(module_context)
    staging, production = run.places.values()
    assert staging.image == production.image and (len(staging.told), len(production.told)) == (1, 2)
    assert "one image ID: yes · one token: no" in run.facts()
    assert [row["stage"] for row in production.told] == ["production"] * 2 and not staging.shown
    names = [name for row in module_context.docker.api.containers(all=True) for name in row["Names"]]
    assert not [name for name in names if name.startswith(("/staging-", "/production-"))]


def test_a_bill_and_its_gate(module_context):
    bill = sbom.bill(module_context)
    assert list(bill.licences()) == sorted(sbom.PACKAGES) and json.dumps(bill.document)
    assert bill.gate(["MIT", "BSD"]).verdicts == {"certifi": False, "h11": True, "idna": True}
    assert bill.gate(["MIT", "BSD", "MPL", "Mozilla"]).opens


@pytest.mark.alone
def test_a_widget_rolls_out(module_context):
    widget = RolloutWidget(module_context)
    widget.way.value, widget.bad.value = "blue/green", True
    widget._run()
    assert "given up" in widget.says.value and "Requests lost: 0 of" in widget.says.value
    assert "✗ lost: 0 of" in widget.strip.value and bytes(widget.figure.value).startswith(b"\x89PNG")


def test_a_build_context_without_buildkit_leaves_out_what_is_ignored(module_context, monkeypatch):
    from labkit.labs.images_and_registries import buildkit

    monkeypatch.setattr(buildkit, "command_line", lambda on: None)
    given = {"Dockerfile": "FROM labkit/busybox:1\nCOPY . /\n", ".dockerignore": "*.md\n", "a.md": "x" * 9000, "b": "b"}
    built = build(module_context, f"{module_context.session.name('classic')}:1", given)
    listed = module_context.ran(built.tag, ["ls", "/"]).text.split()
    assert "b" in listed and "a.md" not in listed and 1000 < built.context
