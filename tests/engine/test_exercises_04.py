"""Lab 04's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

import pytest

from labkit.labs.images_and_registries import building
from labkit.labs.what_docker_solves import promises

from .states import States, start, typed

STATES = States("04-what-docker-solves")
wrong, right = STATES.wrong, STATES.right


def built(on, number: int, content: str) -> str:
    recipe = f"FROM labkit/busybox:1\nENV NUMBER={number}\nCOPY greeting.sh /lib/greeting.sh\n"
    name = f"{on.session.name('greeting')}:{number}"
    return building.build(on, name, {"Dockerfile": recipe, "greeting.sh": content}).tag


def report(on, recipe: str, **files: str) -> None:
    written = {"report.sh": promises.SCRIPT, "Dockerfile": recipe, **files}
    building.build(on, on.session.name("mine") + ":1", written)


@wrong("two-versions", 2)
@wrong("replicas", 0)
def nothing(on):
    pass


@wrong("two-versions", 2)
def one_version(on):
    start(on, image=built(on, 1, "one"))


@wrong("two-versions", 1)
def two_containers_from_one_image(on):
    one_version(on), one_version(on)


@wrong("two-versions", 0)
def the_same_content_in_two_images(on):
    start(on, image=built(on, 1, "one"))
    start(on, image=built(on, 2, "one"))


@wrong("two-versions", 0)
def a_version_that_a_container_wrote(on):
    start(on, image=built(on, 1, "one"))
    start(on, image=built(on, 2, "one")).exec_run(["sh", "-c", "echo two > /lib/greeting.sh"])


@right("two-versions")
def two_images(on):
    start(on, image=built(on, 1, "one"))
    start(on, image=built(on, 3, "two"))


@right("two-versions")
def an_image_from_a_container(on):
    first = start(on, image=built(on, 1, "one"))
    first.exec_run(["sh", "-c", "echo two > /lib/greeting.sh"])
    changed = first.commit(on.session.name("greeting"), tag="4")
    start(on, image=built(on, 2, "one")), start(on, image=changed.id)


def team(on, *aliases: str, name: str = "team") -> str:
    network = on.docker.networks.get(on.network(on.session.name(name)))
    for alias in aliases:
        network.connect(start(on, network_mode="bridge"), aliases=[alias])
    return network.name


@wrong("replicas", 1)
def two_behind_it(on):
    team(on, "web", "web")


@wrong("replicas", 1)
def three_names(on):
    team(on, "one", "two", "three")


@wrong("replicas", 1)
def one_name_in_two_networks(on):
    team(on, "web", "web"), team(on, "web", name="other")


@wrong("replicas", 1)
def three_of_which_one_has_ended(on):
    team(on, "web", "web", "web")
    on.docker.containers.list(filters={"label": f"labkit.session={on.session.id}", "network": on.session.name("team")})[
        0
    ].kill()


@right("replicas")
def three_that_joined(on):
    team(on, "web", "web", "web")


@right("replicas")
def three_that_were_started_there(on):
    network = team(on)
    for name in "abc":
        options = f"--name {name}-{{name}} --network {network} --network-alias web"
        typed(on, f"run -d {options} labkit/busybox:1 sleep 600")


@wrong("one-run", 2)
def no_image(on):
    pass


@wrong("one-run", 0)
def without_python(on):
    report(on, 'FROM labkit/busybox:1\nENV TZ=CET-1\nCOPY report.sh /\nCMD ["sh", "/report.sh"]\n')


@wrong("one-run", 1)
def in_the_engines_time_zone(on):
    report(on, 'FROM labkit/python:1\nCOPY report.sh /\nCMD ["sh", "/report.sh"]\n')


@wrong("one-run", 1)
def an_answer_that_was_written_down(on):
    answer = "first order: 1970-01-01 01:00\ntotal: 15\n"
    report(on, 'FROM labkit/python:1\nCOPY answer /\nCMD ["cat", "/answer"]\n', answer=answer)


@wrong("one-run", 0)
def it_takes_an_argument(on):
    report(on, 'FROM labkit/python:1\nENV TZ=CET-1\nCOPY report.sh /\nENTRYPOINT ["sh"]\nCMD ["-c", "exit 1"]\n')


@right("one-run")
def with_its_time_zone_in_the_environment(on):
    report(on, 'FROM labkit/python:1\nENV TZ=CET-1\nCOPY report.sh /\nCMD ["sh", "/report.sh"]\n')


@right("one-run")
def with_its_time_zone_on_the_command_line(on):
    report(on, "FROM labkit/python:1\nCOPY report.sh /report\nENTRYPOINT TZ=CET-1 sh /report\n")


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


@STATES.each()
def test_state(on, state):
    state.holds(on)
    for name in ("team", "other"):
        on.drop_network(on.session.name(name))
