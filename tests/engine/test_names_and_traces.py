"""Lab 03 on a live engine: names, a login, an attestation, and what stays on the disk."""

from __future__ import annotations

import json

import pytest

from labkit.engine import clients
from labkit.errors import BadInput, LabError
from labkit.labs.images_and_registries import Images, attestations, logins, names, pushes, registry, tidying

from .states import typed


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


def names_of(on, image: str) -> set[str]:
    found = on.docker.api.inspect_image(image)
    return {*(found["RepoTags"] or []), *(found["RepoDigests"] or [])}


def test_the_engine_reads_names_as_the_lab_says_and_keeps_none_of_them(on):
    with registry.start(on) as store:
        pushes.two_pushes(on, store)
        before = names_of(on, on.session.name("hello") + ":1")
        run = names.names(on, registry=store)
        assert all(run.found.values()) and len(set(run.digests.values())) == 1, str(run)
        assert run.listed["shop"] == run.listed["docker.io/library/shop:latest"] == ["shop:latest"]
        assert run.listed["team/shop"] == ["team/shop:latest"]
        assert names_of(on, on.session.name("hello") + ":1") == before
        assert "docker.io/library/shop:latest" in str(run) and run.plot().alt.startswith("7 names")


def test_a_name_of_somebody_elses_image_stays_where_it_is(on):
    before = names_of(on, on.image())
    run = names.names(on, on.image())
    assert run.found == {on.image(): True}
    assert names_of(on, on.image()) == before
    for wrong in ("shop@sha256:" + "0" * 64, "localhost/", ""):
        with pytest.raises(BadInput, match="can't be given"):
            names.names(on, wrong)
    with pytest.raises(LabError, match="lowercase"):
        Images(on).names("Shop")


def test_a_registry_with_a_password_lets_in_who_logged_in(on):
    before = names_of(on, on.image())
    own = clients.settings_folder() / "config.json"
    kept = own.read_bytes() if own.exists() else b""
    run = logins.login(on)
    assert [status == 0 for status, _ in run.steps.values()] == [False, True, True, False], run.steps
    assert "Basic realm" in run.challenge and run.readable and run.user == "docker"
    [entry] = json.loads(run.settings)["auths"].values()
    assert entry == {"auth": "ZG9ja2Vy…"}, "the password's part is cut away"
    assert names_of(on, on.image()) == before
    assert (own.read_bytes() if own.exists() else b"") == kept
    assert not on.docker.api.containers(all=True, filters={"name": on.session.name("private")})


def test_an_attestation_is_in_the_index_and_not_in_the_pull(on):
    with registry.start(on) as store:
        for _ in range(2):  # a learner runs the cell once more
            run = attestations.attested(on, store)
            rows = json.loads(run.index)["manifests"]
            assert [row["platform"]["os"] for row in rows] == ["linux", "linux", "unknown"]
            assert store.blob("attested", run.blobs[1]).decode() == run.statement
            assert store.manifest("attested", "1") == json.loads(run.index)
            assert str(run).count("yes") == 2 and str(run).endswith("attestation: no"), str(run)


def test_the_builders_cache_outlives_the_image(on):
    run = tidying.remembered(on)
    first, *others = run.builds.values()
    assert [step.cached for step in first.steps] == [False] * 3
    assert [[step.cached for step in one.steps] for one in others] == [[False, True, True]] * 2
    assert "yes" in str(run), run.record


def test_pruning_takes_what_has_the_label_and_nothing_else(on):
    other = on.docker.containers.create(on.image(), "true", name=on.session.name("other"))
    other.start()
    other.wait(timeout=60)
    nameless = other.commit()
    try:
        for _ in range(2):
            run = tidying.tidied(on)
            assert list(run.before.values()) == [1, 1, 1] and list(run.after.values()) == [0, 0, 1], str(run)
            assert "Build Cache" in run.disk and any("Deleted Images" in words for words in run.said.values())
        other.reload()
        assert on.docker.api.inspect_image(nameless.id)
    finally:
        other.remove()
        on.docker.api.remove_image(nameless.id)
    assert typed(on, "image ls -q --filter label=tidy={name}") == ""
