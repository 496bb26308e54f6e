"""Lab 01 on a live engine: the pipeline stops where it must, one digest travels, the shop's pieces fail for real."""

from __future__ import annotations

import pytest

from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.labs.devops_and_delivery import checks, pipeline, repository, shop
from labkit.labs.images_and_registries import registry
from labkit.labs.images_and_registries.building import build
from labkit.labs.images_and_registries.samples import source
from tests.helpers import interrupted_while_creating


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


def test_each_merge_into_the_shared_repository_is_built_and_tested(on, monkeypatch):
    run = repository.integrate(on)
    assert [one.stage("test").state for _, _, one in run.merges] == ["passed", "passed", "failed"], str(run)
    assert len({one.source_digest for _, _, one in run.merges}) == 3
    assert all(one.stage("push").state == "skipped" for _, _, one in run.merges)
    assert run.log == repository.integrate(on).log and run.log.count("merge ") == 2, "the same commits on every run"
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotPossibleHere, match="no git"):
        repository.integrate(on)


def test_a_conflict_is_told_in_gits_own_words(tmp_path):
    shared = repository.Repository(tmp_path)
    shared.commit("Ann", {"cup": "tea\n"}, "tea")
    shared.merge("Ann", "the first")
    shared.commit("Bob", {"cup": "coffee\n"}, "coffee")
    shared.commit("Ann", {"cup": "milk\n"}, "milk")
    assert shared.merge("Ann", "milk") == {"cup": "milk\n"}
    with pytest.raises(LabError, match="git merge ended") as fault:
        shared.merge("Bob", "coffee")
    assert "cup" in str(fault.value)
    assert [line.split(": ")[1] for line in shared.log().splitlines()] == ["milk", "tea"]


def test_a_failing_test_keeps_everything_out_of_the_registry(on):
    release = pipeline.run(on, pipeline.broken(), mode="deployment")
    assert release.stage("test").state == "failed"
    assert [stage.state for stage in release.stages[3:]] == ["skipped"] * 5
    assert release.digest == "" and registry.start(on).catalogue() == []


def test_a_dockerfile_with_an_error_stops_at_the_build(on):
    files = pipeline.tea()
    files["Dockerfile"] += "RUN cat /no/such/file\n"
    release = pipeline.run(on, files)
    assert release.stage("build").state == "failed"
    assert "RUN cat /no/such/file" in release.stage("build").words


def test_an_app_that_ends_at_once_and_one_that_counts_wrongly_are_told(on):
    files = pipeline.tea("4")
    files["app.py"] = files["app.py"].replace("    ThreadingHTTPServer", '    raise SystemExit("no licence")\n    T')
    assert pipeline.run(on, files).stage("staging").words == "staging ended at once: no licence"
    files = pipeline.tea("5")
    files["app.py"] = files["app.py"].replace("total(count), ", "1, ")
    release = pipeline.run(on, files, mode="deployment")
    assert release.stage("smoke").words.startswith("ten cups should cost 36; staging answered")
    assert release.stage("production").state == "skipped" and release.production == ""


def test_delivery_waits_for_a_person_and_promotes_the_digest(on):
    seen = []
    release = pipeline.run(on, pipeline.tea("7"), watch=seen.append)
    assert release.stage("gate").state == "waiting" and release.production == ""
    assert [stage.name for stage in seen if stage.state == "running"] == list(pipeline.STAGES[:6])
    assert not checks.release(on).passed
    approved = pipeline.approve(on, release)
    assert approved.digest == approved.staging == approved.production != ""
    gate, last = approved.stage("gate"), approved.stage("production")
    assert last.began >= gate.began + gate.seconds > gate.began, "the wait is part of the lead time"
    assert checks.release(on).passed
    with pytest.raises(BadInput, match="Nothing waits"):
        pipeline.approve(on, approved)
    again = pipeline.rebuilt(on, approved, pipeline.tea("7"))
    assert again.same_source and again.staged != again.again


@pytest.mark.parametrize("end", ["kill", "remove"])
def test_a_release_is_judged_also_when_staging_is_gone(on, end):
    pipeline.run(on, pipeline.tea("6"), mode="deployment")
    staging = on.docker.containers.get(on.session.name("staging"))
    staging.kill()
    if end == "remove":
        staging.remove()
    assert (checks.release(on).passed, checks.release(on).hint) == (False, 0)


def test_deployment_needs_nobody(on):
    release = pipeline.run(on, pipeline.tea("8"), mode="deployment")
    assert release.released
    assert (checks.release(on).passed, checks.release(on).hint) == (False, 0)
    assert pipeline.call(on, "production", "/health").json()["version"] == "8"
    with pytest.raises(BadInput, match="no mode"):
        pipeline.run(on, mode="sometimes")


def test_the_requests_behind_one_are_counted_in_its_answer(on):
    run = shop.latency(on, n=1)
    assert {name: len(rows["checkout"]) for name, rows in run.hops.items()} == {
        "monolith": 1, "layered": 4, "microservices": 4,
    }  # fmt: skip
    assert run.hops["microservices"]["catalogue"] == ["gateway-1", "catalogue-1"]


def test_every_copy_of_the_scaled_piece_answers(on):
    assert shop.scaling(on, 2, n=1).served == {1: ["catalogue-1"], 2: ["catalogue-1", "catalogue-2"]}


def test_after_an_interrupted_deployment_the_next_one_is_whole(lab_context):
    on = lab_context
    with interrupted_while_creating(on.docker.api, 2):
        shop.deploy(on, "layered")
    assert all(shop.deploy(on, "layered").answers().values())
    assert len(on.docker.api.networks(names=[on.session.name("layered-net")])) == 1


@pytest.mark.parametrize("end", ["kill", "remove"])
def test_a_shop_that_lost_a_piece_is_not_handed_out(on, end):
    shop.deploy(on, "layered").containers["logic"].kill()
    if end == "remove":
        on.docker.containers.get(on.session.name("layered-logic-1")).remove()
    assert all(shop.deploy(on, "layered").answers().values())


def test_a_copy_that_was_not_known_of_is_replaced(on):
    deployed = shop.deploy(on, "microservices")
    with interrupted_while_creating(on.docker.api, 1):
        deployed.add("catalogue", 2)
    deployed.add("catalogue", 2)
    deployed.add("catalogue", 2)  # a cell that is run twice
    deployed.remove("catalogue-2")
    assert "catalogue-2" not in deployed.containers
    with pytest.raises(BadInput, match="no piece"):
        deployed.stop("till")


def test_a_copy_listens_when_it_has_been_added_however_slowly_it_starts(lab_context):
    """The piece beside it may be taken away in the next line. (Failed where the processor is emulated.)"""
    on = lab_context
    slow = "import time\ntime.sleep(3)\n" + source("shop")["serve.py"]
    pieces = shop.ARCHITECTURES["microservices"]["cart"]
    build(on, shop.image_tag(on, "microservices", "cart"), shop.piece_files(pieces, serve__py=slow))
    deployed = shop.deploy(on, "microservices")
    deployed.add("cart", 2)
    deployed.remove("cart")
    assert all(deployed.answers().values())


def test_each_cell_of_the_blast_radius_is_what_the_code_needs(on):
    run = shop.blast_radius(on)
    answered = {name: {piece: {at: shop.good(said) for at, said in replies.items()} for piece, replies in stops.items()}
                for name, stops in run.replies.items()}  # fmt: skip
    micro = answered["microservices"]
    assert micro["cart"] == {"catalogue": True, "cart": False, "checkout": False}
    assert micro["checkout"] == {"catalogue": True, "cart": True, "checkout": False}
    assert not any(good for rows in answered["layered"].values() for good in rows.values())


def test_a_change_makes_one_image_new_in_each_architecture(on):
    run = shop.rebuild_scope(on, "checkout.py")
    assert {name: [p for p, new in rows.items() if new] for name, rows in run.rebuilt.items()} == {
        "monolith": ["shop"], "layered": ["logic"], "microservices": ["checkout"],
    }  # fmt: skip
    with pytest.raises(BadInput, match="has no 'other.py'"):
        shop.rebuild_scope(on, "other.py")


def test_builds_leave_no_image_without_a_name(on):
    def nameless():
        return {row["Id"] for row in on.docker.api.images(all=True) if not row["RepoTags"]}

    before = nameless()
    shop.rebuild_scope(on, "cart.py")
    assert nameless() <= before
