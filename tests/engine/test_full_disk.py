"""No space for layers: an engine whose disk is too small for what is asked."""

from __future__ import annotations

import os

import pytest

from labkit import engine as engines
from labkit import images
from labkit.errors import LabError
from labkit.labs.images_and_registries import building

from ..conftest import open_context
from .daemons import second_daemon


@pytest.fixture(scope="module")
def on():
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    with second_daemon(disk="24m") as daemon, open_context(engines.find(daemon.endpoint)) as context:
        yield context


def test_a_layer_that_does_not_fit_is_a_sentence_and_leaves_nothing(on):
    recipe = "FROM labkit/busybox:1\nRUN dd if=/dev/zero of=/big bs=1M count=64\n"
    with pytest.raises(LabError, match="step 2 of 2: RUN dd if=/dev/zero") as fault:
        building.build(on, on.session.name("big") + ":1", {"Dockerfile": recipe})
    assert "No space left on device" in fault.value.cause
    assert "docker system df" in fault.value.next_step
    fits = {"Dockerfile": recipe.replace("=64", "=1")}
    assert building.build(on, on.session.name("small") + ":1", fits).steps, "what was half written is gone again"


def test_an_image_that_does_not_fit_is_a_sentence(on):
    with pytest.raises(LabError, match="[Nn]o space left on device") as fault:
        on.image(images.PYTHON)
    assert "disk that holds the engine's images is full" in fault.value.cause
    assert "docker system df" in fault.value.next_step
