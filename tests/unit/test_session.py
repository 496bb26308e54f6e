"""Sessions: which are dead, what is theirs, and in what order it is removed.

A stub takes the place of the engine: it holds rows as the Engine API lists them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from docker.errors import APIError, NotFound

from labkit.engine import session
from labkit.engine.session import LAB, ROLE, SESSION, Removed


def api_error(status: int, words: str) -> APIError:
    return APIError(words, response=SimpleNamespace(status_code=status, url="", reason=""), explanation=words)


class Rows:
    """An engine that only lists and removes."""

    def __init__(self):
        self.container_rows, self.network_rows, self.volume_rows, self.image_rows = [], [], [], []
        self.removed: list[str] = []
        self.forced: dict[str, bool] = {}
        self.refusals: dict[str, list[Exception]] = {}
        self.api = self

    @staticmethod
    def _matching(rows, filters):
        if not filters:
            return rows
        key, _, value = filters["label"].partition("=")
        return [r for r in rows if key in (r["Labels"] or {}) and value in ("", r["Labels"][key])]

    def info(self):
        return {"SystemTime": datetime.now(UTC).isoformat()}

    def containers(self, all=False, filters=None):
        assert all, "stopped containers count too"
        return list(self._matching(self.container_rows, filters))

    def networks(self, filters=None):
        return self._matching(self.network_rows, filters)

    def volumes(self, filters=None):
        return {"Volumes": self._matching(self.volume_rows, filters) or None}

    def images(self, filters=None, all=False):
        return self._matching(self.image_rows, filters)

    def _remove(self, what):
        if self.refusals.get(what):
            raise self.refusals[what].pop(0)
        self.removed.append(what)

    def remove_container(self, id, v, force):
        assert v and force
        self._remove(id)

    def remove_network(self, id):
        self._remove(id)

    def remove_volume(self, name, force):
        self._remove(name)

    def remove_image(self, name, force):
        self.forced[name] = force
        self._remove(name)


def container(name, owner, *, role=None, state="running", age=0.0):
    labels = {SESSION: owner, LAB: "08", **({ROLE: role} if role else {})}
    return {"Id": name, "Labels": labels, "State": state, "Created": time.time() - age}


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(session.time, "sleep", lambda seconds: None)


@pytest.fixture
def rows():
    """Two sessions: ``live`` has a running keeper, ``dead`` an ended one."""
    made = Rows()
    made.container_rows = [
        container("dead-keeper", "dead", role="keeper", state="exited"),
        container("dead-web", "dead"),
        container("live-keeper", "live", role="keeper"),
        container("live-web", "live"),
        {"Id": "stranger", "Labels": {}, "State": "running", "Created": 0},
    ]
    made.network_rows = [{"Id": "dead-net", "Labels": {SESSION: "dead"}}, {"Id": "bridge", "Labels": None}]
    made.volume_rows = [
        {"Name": "dead-vol", "Labels": {SESSION: "dead"}},
        {"Name": "live-vol", "Labels": {SESSION: "live"}},
    ]
    made.image_rows = [
        {"Id": "dead-image", "Labels": {SESSION: "dead"}, "RepoTags": None},
        {"Id": "pulled", "Labels": None, "RepoTags": ["shop-dead:1", "kept:1"], "RepoDigests": ["reg/shop-dead@sha256:0"]},
        {"Id": "other", "Labels": None, "RepoTags": ["shop-deadline:1", "shop-live:1"], "RepoDigests": None},
    ]  # fmt: skip
    return made


def test_sessions_are_found_by_all_their_kinds(rows):
    rows.image_rows.append({"Id": "i", "Labels": {SESSION: "only-image", LAB: "03"}})
    rows.volume_rows.append({"Name": "v", "Labels": {SESSION: "only-volume"}})
    assert session.sessions(rows) == {"dead": "?", "live": "?", "only-image": "03", "only-volume": "?"} | {
        key: value for key, value in session.sessions(rows).items() if key in ("dead", "live")
    }


@pytest.mark.parametrize(
    "state, age, dead",
    [("running", 9999, False), ("exited", 0, True), ("created", 0, False), ("created", 61, True), ("dead", 0, True),
     ("paused", 0, False)],
)  # fmt: skip
def test_a_keeper_tells_who_lives(state, age, dead):
    rows = Rows()
    rows.container_rows = [container("keeper", "s", role="keeper", state=state, age=age), container("web", "s")]
    assert session.dead_sessions(rows) == (["s"] if dead else [])


def test_a_lab_that_is_opened_in_between_is_not_judged_dead(rows):
    listed = rows.networks

    def networks(**options):
        # It begins with its keeper, then makes its first container.
        rows.container_rows += [container("new-keeper", "new", role="keeper"), container("new-web", "new")]
        rows.network_rows.append({"Id": "new-net", "Labels": {SESSION: "new"}})
        rows.networks = listed
        return listed(**options)

    rows.networks = networks
    assert session.dead_sessions(rows) == ["dead"]


def test_without_a_keeper_a_session_is_dead_unless_it_is_ours(rows):
    rows.container_rows.append(container("lost", "lost"))
    assert session.dead_sessions(rows) == ["dead", "lost"]
    assert session.dead_sessions(rows, but="lost") == ["dead"]


def test_removing_takes_only_what_is_the_sessions_own_keeper_last(rows):
    done = session.remove(rows, "dead")
    assert rows.removed == [
        "dead-web", "dead-net", "dead-vol", "shop-dead:1", "reg/shop-dead@sha256:0", "dead-image", "dead-keeper",
    ]  # fmt: skip
    assert (done.containers, done.networks, done.volumes, done.images, done.kept) == (1, 1, 1, 3, [])


def test_force_is_for_images_that_have_no_other_name(rows):
    """Podman's force takes an image with all its names."""
    rows.image_rows = [
        {"Id": "shared", "Labels": None, "RepoTags": ["shop-dead:1", "base:1"], "RepoDigests": ["base@sha256:0"]},
        {"Id": "own", "Labels": None, "RepoTags": ["cart-dead:1"], "RepoDigests": ["cart-dead@sha256:0"]},
    ]
    session.remove(rows, "dead")
    assert rows.forced == {"shop-dead:1": False, "cart-dead:1": True}


def test_what_is_gone_already_is_not_counted(rows):
    rows.refusals["dead-web"] = [NotFound("gone")]
    assert session.remove(rows, "dead").containers == 0


@pytest.mark.parametrize("status", [409, 403, 500])
def test_a_passing_refusal_is_tried_again(rows, status):
    rows.refusals["dead-net"] = [api_error(status, "network has active endpoints")] * 3
    done = session.remove(rows, "dead")
    assert done.networks == 1 and done.kept == []


def test_a_lasting_refusal_is_reported_and_the_rest_goes_on(rows):
    rows.refusals["dead-net"] = [api_error(409, "network has active endpoints")] * 50
    done = session.remove(rows, "dead")
    assert done.kept == ["network has active endpoints"]
    assert (done.networks, done.volumes) == (0, 1)


def test_what_could_not_be_removed_is_found_by_the_next_sweep(rows):
    rows.refusals["dead-web"] = [api_error(500, "device busy")] * 50
    session.remove(rows, "dead")
    rows.container_rows = [row for row in rows.container_rows if row["Id"] not in rows.removed]
    assert session.dead_sessions(rows) == ["dead"]


def test_clean_spares_living_sessions_and_base_images(rows):
    rows.image_rows.append({"Id": "base", "Labels": {"labkit.base": "1"}})
    session.clean(rows)
    assert "dead-web" in rows.removed
    assert not {"live-web", "live-vol", "base", "stranger", "bridge"} & set(rows.removed)


def test_clean_everything_also_takes_those(rows):
    rows.image_rows.append({"Id": "base", "Labels": {"labkit.base": "1"}})
    session.clean(rows, everything=True)
    assert {"dead-web", "live-web", "live-keeper", "live-vol", "base"} <= set(rows.removed)
    assert not {"stranger", "bridge"} & set(rows.removed)


def test_removed_reads_as_counts():
    assert str(Removed()) == "nothing" and not Removed()
    assert str(Removed(containers=2, volumes=1)) == "2 containers, 1 volume" and Removed(images=1)
