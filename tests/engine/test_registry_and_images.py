"""Lab 03 on a live engine: names recomputed, pushes counted, platforms, faults, exercises both ways."""

from __future__ import annotations

import pytest

from labkit import images
from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.exercises import lab03
from labkit.experiments import anatomy, building, layering, platforms, pushes, registry, samples, writable


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


@pytest.fixture(scope="module")
def store(on):
    with registry.start(on) as running:
        yield running


def test_one_container_writes_the_other_sees_nothing(on):
    run = writable.two_containers(on)
    assert {"/usr/lib/greeting.sh", "/new.txt", "/app/app.sh"} <= set(run.writer.changes)
    assert run.reader.changes == {}
    assert run.writer.upper != run.reader.upper
    assert run.reader_sees == "hello from a container\n"


def test_the_cache_is_reused_up_to_the_first_difference(on):
    run = layering.rebuild(on, ["set", "list", "install", "code"], change="packages.txt")
    assert [step.cached for step in run.second.steps] == [False, True, False, False, False, False]
    assert not any(step.cached for step in run.first.steps)


def test_pinned_times_give_the_same_layer_and_free_ones_do_not(on):
    run = layering.same_content(on)
    assert len(set(run.free)) == 2
    assert len(set(run.pinned)) == 1


def test_the_second_push_uploads_exactly_what_is_new(on, store):
    run = pushes.two_pushes(on, store, "counted")
    assert set(run.second.uploaded) == set(run.second.sizes) - set(run.first.sizes) == set(run.missing)
    assert len(run.missing) == 3 and "exactly the new blobs were uploaded: yes" in str(run)
    again = pushes.two_pushes(on, store, "counted")  # a learner runs the cell once more
    assert (again.second.uploaded, again.missing) == ([], [])
    assert str(pushes.matched(on, store, "counted", "1", anatomy.sample_tag(on))).count("yes") == 3


def test_every_name_of_every_image_of_the_lab_is_the_engines_and_the_registrys(on, store):
    tag, two = anatomy.sample_tag(on), anatomy.sample_tag(on, "2", app__sh=pushes.SECOND)
    run = pushes.everywhere(on, store, tag, two, *(on.image(name) for name in images.RECIPES))
    assert len(run.archives) == 5 and str(run).count("yes") == 2, str(run)
    opened = run.archives[tag]
    assert [row.layer for row in opened.history] == [True, False, True, True, True, False, False]


def test_a_push_that_broke_off_is_completed_by_the_next(on, store):
    run = pushes.broken_push(on, store, "torn")
    assert 0 < len(run.arrived) < len(run.retry.sizes)
    assert not set(run.arrived) & set(run.retry.uploaded)
    assert set(run.arrived) | set(run.retry.uploaded) | set(run.mounted) >= set(run.retry.sizes)


def test_an_index_serves_the_engines_own_platform_and_the_kernel_refuses_the_other(on, store):
    run = platforms.publish(on, store, "many")
    assert run.says == f"hello from {run.picked}\n"
    refusal = platforms.force(on, store, "many")
    assert refusal.ran or "exec format" in refusal.words


def test_faults_are_sentences(on, store):
    with pytest.raises(NotPossibleHere, match="MANIFEST_UNKNOWN"):
        store.manifest("many", "no-such-tag")
    with pytest.raises(NotPossibleHere, match="has no"):
        store.blob("many", "sha256:" + "0" * 64)
    with pytest.raises(BadInput, match="not a port"):
        registry.start(on, port=0)
    files = {"Dockerfile": "FROM labkit/busybox:1\nRUN echo fine\nRUN cat /no/such/file\n"}
    with pytest.raises(LabError, match="step 3 of 3: RUN cat /no/such/file") as fault:
        building.build(on, on.session.name("bad") + ":1", files)
    assert "No such file" in fault.value.cause


def test_a_port_in_use_is_told_and_leaves_nothing(on, store):
    port = int(store.address.rpartition(":")[2])
    with pytest.raises(NotPossibleHere, match="port is already allocated|address already in use"):
        registry.Registry(on, port, name="second")
    left = on.docker.api.containers(all=True, filters={"name": on.session.name("second")})
    assert left == [] and on.docker.api.networks(names=[on.session.name("second-net")]) == []
    assert registry.start(on) is store


def test_exercise_lean_both_ways(on):
    assert lab03.lean(on).hint == 0
    name = on.session.name("lean") + ":1"
    building.build(on, name, samples.source("hello"))
    assert (lab03.lean(on).passed, lab03.lean(on).hint) == (False, 1)
    files = samples.source("hello")
    files["Dockerfile"] = 'FROM labkit/busybox:1\nCOPY greeting.sh app.sh /lib/\nCMD ["sh", "/lib/app.sh"]\n'
    building.build(on, name, files)
    assert (lab03.lean(on).passed, lab03.lean(on).hint) == (False, 2)
    files["Dockerfile"] = files["Dockerfile"].replace("COPY", "ENV GREETING=hello\nCOPY")
    building.build(on, name, files)
    assert lab03.lean(on).passed


def test_exercise_twin_tags_both_ways(on, store):
    one, two = anatomy.sample_tag(on), anatomy.sample_tag(on, "2", app__sh=pushes.SECOND)
    assert lab03.twin_tags(on).hint == 0
    store.push(one, "twin", "1")
    store.push(two, "twin", "stable")
    assert (lab03.twin_tags(on).passed, lab03.twin_tags(on).hint) == (False, 1)
    store.push(one, "twin", "stable")
    assert lab03.twin_tags(on).passed


def test_exercise_by_digest_both_ways(on, store):
    store.push(anatomy.sample_tag(on), "exercise", "1")
    assert lab03.by_digest(on).hint == 0
    by_tag = on.docker.containers.create(store.pull("exercise", "1"))
    assert (lab03.by_digest(on).passed, lab03.by_digest(on).hint) == (False, 1)
    by_tag.remove()
    kept = on.docker.containers.create(store.pull("exercise", store.digest("exercise", "1")))
    assert lab03.by_digest(on).passed
    kept.remove()
