"""Lab 03 on a live engine: names recomputed, pushes counted, platforms, faults."""

from __future__ import annotations

import collections
import json

import pytest
from docker.errors import ImageNotFound

from labkit import debian, images
from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.images import archive, recipes
from labkit.labs.images_and_registries import (
    anatomy,
    building,
    layering,
    platforms,
    pushes,
    registry,
    writable,
)
from labkit.labs.images_and_registries.widget import lab_images


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


@pytest.fixture(scope="module")
def store(on):
    with registry.start(on) as running:
        yield running


def test_what_the_labs_programs_import_comes_byte_compiled(on):
    # Compiled anew in each container, html.entities alone costs a server half a second where it is emulated.
    wanted = "http.server, http.client, json, subprocess, importlib.metadata, urllib.request, unittest, hashlib, ctypes"
    command = ["python3", "-v", "-c", f"import {wanted}"]
    said = on.docker.containers.run(images.PYTHON, command, stderr=True, remove=True).decode()
    loaded = [line.split()[4].strip("'") for line in said.splitlines() if line.startswith("# code object from ")]
    compiled = [name for name in loaded if name.endswith(".pyc")]
    assert len(compiled) > 50
    assert [name for name in loaded if name not in compiled and not name.endswith("/sitecustomize.py")] == []


def test_nothing_compiled_goes_by_the_time_of_its_source_whoever_makes_the_image(tmp_path):
    """The layer sets all times: what goes by them is stale, and is compiled anew in each container."""
    (tmp_path / "root").mkdir()
    recipes._install_python(tmp_path / "root", debian.architecture(), None)
    flags = collections.Counter(path.read_bytes()[4:8] for path in tmp_path.rglob("*.pyc"))
    assert list(flags) == [b"\1\0\0\0"] and flags.total() > 300  # PEP 552: by hash, unchecked


def test_one_container_writes_the_other_sees_nothing(on):
    run = writable.two_containers(on)
    assert {"/usr/lib/greeting.sh", "/new.txt", "/app/app.sh"} <= set(run.writer.changes)
    assert run.reader.changes == {}
    assert run.writer.upper != run.reader.upper
    assert run.reader_sees == "hello from a container\n"


def test_the_cache_is_reused_up_to_the_first_difference(on):
    run = layering.rebuild(on, ["set", "list", "install", "code"], change="packages.txt")
    assert [step.cached for step in run.second.steps] == [False, False, False, False]
    run = layering.rebuild(on, ["list", "install", "code", "set"], change="app.sh")
    assert [step.cached for step in run.second.steps] == [False, True, True, False]
    assert [step.instruction.split()[0] for step in run.second.steps] == ["FROM", "COPY", "RUN", "COPY"]
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


def test_a_pull_downloads_only_what_the_engine_lacks(on, store):
    for _ in range(2):  # a learner runs the cell once more
        run = pushes.pull_back(on, store)
        assert len(run.downloaded) == 2 and len(run.blobs) == 6, str(run)
        assert "pulled again: nothing downloaded" in str(run), run.again


def test_every_name_of_every_image_of_the_lab_is_the_engines_and_the_registrys(on, store):
    tag, two = anatomy.sample_tag(on), anatomy.sample_tag(on, "2", app__sh=pushes.SECOND)
    run = pushes.everywhere(on, store, tag, two, *(on.image(name) for name in images.RECIPES))
    assert len(run.archives) == 5 and str(run).count("yes") == 2, str(run)
    for name in images.RECIPES:  # they outlive the session, so the registry's name must not stay on them
        kept = on.docker.api.inspect_image(name)
        assert not [word for word in kept["RepoTags"] + kept["RepoDigests"] if word.startswith(store.address)]
    assert lab_images(on) == [tag, two, *images.RECIPES]
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


def test_unknown_names_are_told_in_the_registrys_words(on, store):
    unknown = "sha256:" + "0" * 64
    for ask in (store.manifest, store.blob, store.hashed, store.pull, store.digest, store.delete):
        with pytest.raises(NotPossibleHere, match="The registry has no many@sha256:0000") as fault:
            ask("many", unknown)
        assert "catalogue() and tags()" in fault.value.next_step
    with pytest.raises(NotPossibleHere, match="has no many:no-such-tag. It says: MANIFEST_UNKNOWN"):
        store.manifest("many", "no-such-tag")
    with pytest.raises(NotPossibleHere, match="has no repository nobody. It says: NAME_UNKNOWN"):
        store.tags("nobody")
    with pytest.raises(NotPossibleHere, match="The engine has no image no-such:1"):
        store.push("no-such:1", "many")


def test_a_push_of_an_image_for_several_platforms_counts_the_blobs_of_all(on, store):
    run = platforms.publish(on, store, "both")
    rows = [store.manifest("both", digest) for digest in run.manifests.values()]
    assert store.blobs_of("both", run.digest) == {
        row["digest"]: row["size"] for found in rows for row in (found["config"], *found["layers"])
    }


def test_a_registry_that_was_restarted_is_found_at_its_new_port(lab_context):
    with registry.start(lab_context) as old:
        old.container.restart()
        new = registry.start(lab_context)
        assert new.push(anatomy.sample_tag(lab_context), "after").digest
        new.close()


def test_an_image_that_keeps_no_history(on, tmp_path):
    layer = archive.layer_from_files({"one": "1"})
    config = json.loads(archive.image_config([archive.sha256(layer)], architecture="amd64", command=["/one"]))
    del config["history"]
    name = f"{on.session.name('bare')}:1"
    archive.write_archive(tmp_path / "bare.tar", name, [layer], json.dumps(config).encode())
    on.docker.images.load((tmp_path / "bare.tar").read_bytes())
    opened = anatomy.anatomy(on, name)
    assert opened.facts().startswith("no history kept: 1 layers")
    assert opened.instructions() == "" and opened.plot().png and anatomy.compare(on, name).plot().png


def test_a_platform_that_the_name_does_not_have(on, store):
    with pytest.raises(NotPossibleHere, match="The pull failed: no match") as fault:
        store.pull("many", "1", platform="linux/riscv64")
    assert "not for that platform" in fault.value.cause


def test_a_dockerfile_with_an_error_shows_the_line(on):
    def made(*lines, tag="bad-{}:1", **files):
        recipe = "\n".join(["FROM labkit/busybox:1", *lines, ""])
        return building.build(on, tag.format(on.session.id), {"Dockerfile": recipe, **files})

    def nameless():
        return {row["Id"] for row in on.docker.api.images(filters={"dangling": True})}

    before = nameless()
    with pytest.raises(LabError, match="step 3 of 3: RUN cat /no/such/file") as fault:
        made("RUN echo fine", "RUN cat /no/such/file")
    assert "No such file" in fault.value.cause
    left = [name for name in nameless() - before if on.docker.api.history(name)[0]["CreatedBy"].endswith("echo fine")]
    assert left == [], "what the steps before it made is gone again"
    with pytest.raises(LabError, match="step 2 of 2: COPY nothing.txt /") as fault:
        made("COPY nothing.txt /")
    assert "not found" in fault.value.cause or "not exist" in fault.value.cause
    with pytest.raises(BadInput, match="line 2: RAN echo fine") as fault:
        made("RAN echo fine")
    assert "unknown instruction: RAN" in fault.value.cause
    with pytest.raises(BadInput, match="no name for an image: 'Bad Name'"):
        made(tag="Bad Name")
    for files, words in (({}, "no Dockerfile"), ({"Dockerfile": "RUN x\n"}, "no FROM"),
                         ({"Dockerfile": "FROM labkit/none:1\n"}, "no image labkit/none:1")):  # fmt: skip
        with pytest.raises(BadInput, match=words):
            building.build(on, "bad:1", files)


def test_a_port_that_is_taken_costs_nobody_a_registry(on, store):
    # Taken on the engine's machine, wherever that is: by a container of ours.
    with on.container(on.image(), ["sleep", "600"], ports={"80/tcp": ("127.0.0.1", None)}) as holder:
        holder.reload()
        port = int(holder.ports["80/tcp"][0]["HostPort"])
        with pytest.raises(NotPossibleHere, match=f"can't listen on port {port}: it is in use"):
            registry.start(on, port=port)
    assert registry.start(on) is store and "many" in store.catalogue()
    for wrong in (0, 65536, "5000"):
        with pytest.raises(BadInput, match="not a port"):
            registry.start(on, port=wrong)


def test_a_port_in_use_is_told_and_leaves_nothing(on, store):
    port = int(store.address.rpartition(":")[2])
    with pytest.raises(NotPossibleHere, match="port is already allocated|address already in use"):
        registry.RunningRegistry(on, port, name="second")
    left = on.docker.api.containers(all=True, filters={"name": on.session.name("second")})
    assert left == [] and on.docker.api.networks(names=[on.session.name("second-net")]) == []
    assert registry.start(on) is store


def test_a_lab_image_of_an_older_labkit_is_made_anew(on):
    new = on.docker.images.get(images.ensure(on.docker, images.BUSYBOX)).id
    container = on.docker.containers.create(images.BUSYBOX, "true")
    container.commit("labkit/busybox", tag="1", changes=["LABEL labkit.recipe=1"])
    container.remove()
    old = on.docker.images.get(images.BUSYBOX).id
    assert old != new
    images.ensure(on.docker, images.BUSYBOX)
    assert on.docker.images.get(images.BUSYBOX).id == new
    with pytest.raises(ImageNotFound):
        on.docker.images.get(old)
