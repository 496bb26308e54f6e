"""Names that a registry takes, and what its answers become; the live API is tested in tests/engine."""

from __future__ import annotations

import json

import pytest

from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.labs.images_and_registries.registry_api import RegistryAPI, named
from labkit.observe.visitor import Reply

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("repository, reference, written", [
    ("shop", "1", "shop:1"), ("team/shop-a.b_c", "stable", "team/shop-a.b_c:stable"), ("shop", DIGEST, f"shop@{DIGEST}"),
])  # fmt: skip
def test_names_as_people_write_them(repository, reference, written):
    assert named(repository, reference) == written


@pytest.mark.parametrize("repository, reference, words", [
    ("Shop", "1", "no name of a repository"), ("", "1", "no name of a repository"), ("a b", "1", "no name"),
    ("shop", "sha256:12", "no digest"), ("shop", "a b", "no tag"),
])  # fmt: skip
def test_names_that_cannot_be(repository, reference, words):
    with pytest.raises(BadInput, match=words) as caught:
        named(repository, reference)
    assert caught.value.next_step


class Answering(RegistryAPI):
    """A registry that gives one answer to everything."""

    def __init__(self, status: int, body: bytes = b"", error: str = ""):
        self.answer = Reply(status, {}, body, 0.0, error)

    def request(self, method, path, **options):
        return self.answer


def test_what_it_says_is_kept():
    body = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
    with pytest.raises(NotPossibleHere, match="has no shop:9. It says: MANIFEST_UNKNOWN"):
        Answering(404, body).manifest("shop", "9")


def test_an_answer_that_is_no_json_is_told_all_the_same():
    with pytest.raises(NotPossibleHere, match="It says: 404 page not found."):
        Answering(404, b"404 page not found\n").manifest("shop", "9")
    with pytest.raises(LabError, match="answered 500 for catalogue"):
        Answering(500).catalogue()


def test_a_registry_that_is_gone():
    with pytest.raises(LabError, match="does not answer") as caught:
        Answering(0, error="ConnectionRefusedError").catalogue()
    assert "lab.registry.start()" in caught.value.next_step
