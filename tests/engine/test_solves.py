"""Lab 04 on a live engine: what was promised is kept, and its exercises both ways."""

from __future__ import annotations

import pytest

from labkit.labs.devops_and_delivery import shop
from labkit.labs.images_and_registries import building
from labkit.labs.what_docker_solves import checks, machines, promises


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


def test_two_userlands_two_answers_one_image_one_answer(on):
    run = promises.environments(on)
    assert run.answers["Ann's machine"] != run.answers["Bob's machine"]
    assert set(run.packed) == set(run.answers["Ann's machine"])


def test_on_one_system_the_last_library_wins_and_images_keep_both(on):
    run = promises.conflict(on, n=2)
    assert run.shared == {"old app": [False, False], "new app": [True, True]}
    assert run.own == {"old app": [True, True], "new app": [True, True]}


def test_the_packed_app_answers_as_the_one_set_up_by_hand(on):
    run = promises.set_up(on, n=1)
    assert run.by_hand == run.packed == "15\ncoins"
    fatal = [name for name, breaks in run.broken.items() if breaks]
    assert len(fatal) == 7 and "make a user" not in fatal and "install the library" in fatal


def test_rolling_back_brings_the_old_version(on):
    assert machines.roll_out(on, n=1).versions == ["2", "1"]


def test_all_replicas_answer_to_one_name(on):
    run = machines.replicas(on, 2, n=2)
    assert run.answered == {1: 1, 2: 2} and len(run.starts) == 2


def test_replicas_leave_the_shop_of_another_lab_alone(on):
    deployed = shop.deploy(on, "monolith")
    assert machines.replicas(on, 1, n=1).answered == {1: 1}
    assert all(deployed.answers().values()) and shop.deploy(on, "monolith") is deployed
    deployed.close()


def test_exercise_two_versions_both_ways(on):
    assert checks.two_versions(on).hint == 2
    kept = []
    for number, content in enumerate(("one", "one", "two")):
        name = f"{on.session.name('greeting')}:{number}"
        recipe = f"FROM labkit/busybox:1\nENV NUMBER={number}\nCOPY greeting.sh /lib/greeting.sh\n"
        building.build(on, name, {"Dockerfile": recipe, "greeting.sh": content})
        kept.append(on.docker.containers.run(name, ["sleep", "600"], detach=True))
        if number == 1:
            assert (checks.two_versions(on).passed, checks.two_versions(on).hint) == (False, 0)
    assert checks.two_versions(on).passed
    for container in kept:
        container.remove(force=True)


def test_exercise_replicas_both_ways(lab_context):
    on = lab_context  # a session of its own: the other tests' containers have aliases too
    assert checks.replicas(on).hint == 0
    network = on.docker.networks.create(on.session.name("team"))
    for number in range(3):
        container = on.docker.containers.run(on.image(), ["sleep", "600"], detach=True)
        network.connect(container, aliases=["web"])
        assert checks.replicas(on).passed == (number == 2)


def test_exercise_one_run_both_ways(on):
    name = on.session.name("mine") + ":1"
    assert checks.one_run(on).hint == 2
    files = {"report.sh": promises.SCRIPT}
    for recipe, hint in (
        ('FROM labkit/busybox:1\nCOPY report.sh /\nCMD ["sh", "/report.sh"]\n', 0),
        ('FROM labkit/python:1\nCOPY report.sh /\nCMD ["sh", "/report.sh"]\n', 1),
    ):
        building.build(on, name, {**files, "Dockerfile": recipe})
        assert (checks.one_run(on).passed, checks.one_run(on).hint) == (False, hint)
    building.build(on, name, {**files, "Dockerfile": recipe.replace("COPY", "ENV TZ=CET-1\nCOPY")})
    assert checks.one_run(on).passed
