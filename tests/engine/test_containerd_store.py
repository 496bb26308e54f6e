"""containerd's image store, live, on the oldest engine that has it and on today's, beside the machine's own engine."""

from __future__ import annotations

import pytest

from labkit.engine import native
from labkit.engine.embedded import packages
from labkit.errors import NotPossibleHere
from labkit.labs.devops_and_delivery import pipeline
from labkit.labs.images_and_registries import anatomy, pushes, registry, writable

from ..conftest import open_context


@pytest.fixture(scope="module", params=[pytest.param("trixie", marks=pytest.mark.slow), "forky"])
def on(request):
    try:
        with native.start(packages.Variant(request.param, "containerd")) as engine, open_context(engine) as context:
            yield context
    except NotPossibleHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def store(on):
    with registry.start(on) as running:
        yield running


def test_it_is_containerds_store(on):
    assert on.facts.image_store == "containerd"


def test_the_second_push_uploads_exactly_what_is_new(on, store):
    run = pushes.two_pushes(on, store)
    assert len(run.first.uploaded) == 5 and len(run.missing) == 3
    assert sorted(run.second.uploaded) == sorted(run.missing)


def test_a_pull_downloads_only_what_the_engine_lacks(on, store):
    for _ in range(2):  # a learner runs the cell once more
        run = pushes.pull_back(on, store)
        assert len(run.downloaded) == 2 and len(run.blobs) == 6, str(run)


def test_every_name_is_recomputed_from_the_archive_and_from_the_registry(on, store):
    run = pushes.everywhere(on, store)
    assert str(run).count("yes") == 2, str(run)
    # Here an image's ID is its manifest's digest, and so the same word in the registry.
    assert [opened.image_id for opened in run.archives.values()] == [store.digest("every", tag) for tag in "123"]


def test_a_push_that_broke_off_is_completed_by_the_next(on, store):
    assert str(pushes.broken_push(on, store)).count("yes") == 2


def test_containers_share_the_image_and_write_apart(on):
    run = writable.two_containers(on)
    assert str(run).count("yes") == 3 and run.reader.changes == {}


def test_one_digest_goes_from_the_registry_to_production(on):
    release = pipeline.run(on, mode="deployment")
    assert release.released and release.digest == release.staging == release.production
    assert anatomy.require_image(on, release.digest and f"{registry.start(on).address}/tea@{release.digest}")
