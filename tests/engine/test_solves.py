"""Lab 04 on a live engine: what was promised is kept."""

from __future__ import annotations

import pytest

from labkit.labs.devops_and_delivery import shop
from labkit.labs.what_docker_solves import machines, promises


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


def test_two_userlands_two_answers_one_image_one_answer(on):
    run = promises.environments(on)
    assert run.answers["Ann's machine"] != run.answers["Bob's machine"]
    assert run.packed == run.answers["Ann's machine"]


def test_on_one_system_the_last_library_wins_and_images_keep_both(on):
    run = promises.conflict(on)
    assert run.shared == {"old app": (127, "sh: greet: not found"), "new app": (0, "welcome Ann")}
    assert run.own == {"old app": (0, "hello Ann"), "new app": (0, "welcome Ann")}
    assert run.plot().png


def test_the_packed_app_answers_as_the_one_set_up_by_hand(on):
    run = promises.set_up(on, n=1)
    assert run.by_hand == run.packed == "15\ncoins"
    fatal = [name for name, breaks in run.broken.items() if breaks]
    assert len(fatal) == 7 and "make a user" not in fatal and "install the library" in fatal


def test_rolling_back_brings_the_old_version(on):
    assert machines.roll_out(on, n=1).versions == ["2", "1"]


def test_all_replicas_answer_to_one_name(on):
    run = machines.replicas(on, 2, n=2)
    assert run.answered == {1: ["shop-1"], 2: ["shop-1", "shop-2"]} and len(run.starts) == 2


def test_replicas_leave_the_shop_of_another_lab_alone(on):
    deployed = shop.deploy(on, "monolith")
    assert machines.replicas(on, 1, n=1).answered == {1: ["shop-1"]}
    assert all(deployed.answers().values()) and shop.deploy(on, "monolith") is deployed
    deployed.close()
