"""Lab 10's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

import contextlib

from labkit import images
from labkit.labs.networks_and_data import checks

from .states import FOREVER, States, start, typed

STATES = States("10-networks-and-data")
wrong, right = STATES.wrong, STATES.right

SERVE = ["sh", "-c", "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"]
WRITE = f"mkdir -p /kept && echo dear > {checks.LETTER}"
HERE = {"80/tcp": ("127.0.0.1", None)}


def net(on, word):
    return on.docker.networks.get(on.network(on.session.name(word)))


@wrong("between", 0)
@wrong("alias", 0)
@wrong("here", 0)
@wrong("outlives", 0)
def nothing(on):
    pass


@wrong("between", 0)
def two_in_one_network(on):
    one = net(on, "left")
    start(on, network_mode=one.name)
    start(on, network_mode=one.name)


@wrong("between", 1)
def three_in_one_network(on):
    two_in_one_network(on)
    start(on, network_mode=on.session.name("left"))


@wrong("between", 2)
@wrong("alias", 1)
def three_networks_and_nobody_in_two(on):
    for side in ("left", "middle", "right"):
        start(on, network_mode=net(on, side).name)


@wrong("between", 2)
def one_without_any_network(on):
    two_in_one_network(on)
    start(on)


@right("between")
def connected_later(on):
    left, other = net(on, "left"), net(on, "right")
    middle = start(on, network_mode=left.name)
    start(on, network_mode=left.name)
    start(on, network_mode=other.name)
    other.connect(middle)


@right("between")
def typed_in_a_terminal(on):
    for side in ("left", "right"):
        start(on, network_mode=net(on, side).name)
    start(on, network_mode="bridge", name=on.session.name("middle"))
    typed(on, "network connect left-{name} middle-{name}")
    typed(on, "network connect right-{name} middle-{name}")


def named(on, word, *aliases):
    """A container in a network, with these aliases."""
    config = {word: on.docker.api.create_endpoint_config(aliases=list(aliases))}
    return on.docker.containers.run(on.image(), FOREVER, network=word, networking_config=config, detach=True)


@wrong("alias", 0)
def an_alias_in_the_default_network(on):
    start(on, network_mode="bridge", name=on.session.name("db"))
    start(on, network_mode="bridge")


@wrong("alias", 2)
def borne_by_one(on):
    word = net(on, "book").name
    named(on, word, "db")
    named(on, word, "cache")


@wrong("alias", 2)
def each_in_a_network_of_its_own(on):
    for side in ("left", "right"):
        named(on, net(on, side).name, "db")


@right("alias")
def borne_by_two(on):
    word = net(on, "book").name
    named(on, word, "db")
    named(on, word, "db", "other")


@right("alias")
def connected_with_an_alias(on):
    book = net(on, "book")
    for _ in range(2):
        book.connect(start(on, network_mode="bridge"), aliases=["db"])


@wrong("here", 1)
def for_everybody(on):
    start(on, SERVE, ports={"80/tcp": None}, network_mode="bridge")


@wrong("here", 2)
def nobody_listens(on):
    start(on, ports=HERE, network_mode="bridge")


@wrong("here", 2)
def it_listens_on_its_own_loopback(on):
    start(on, ["httpd", "-f", "-p", "127.0.0.1:80", "-h", "/home"], ports=HERE, network_mode="bridge")


@wrong("here", 2)
def the_wrong_side_of_the_colon(on):
    start(on, SERVE, ports={"8080/tcp": ("127.0.0.1", None)}, network_mode="bridge")


@right("here")
def by_busybox(on):
    start(on, SERVE, ports=HERE, network_mode="bridge")


@right("here")
def by_python_at_another_address_of_the_loopback(on):
    serve = ["python3", "-m", "http.server", "8000"]
    start(on, serve, image=on.image(images.PYTHON), ports={"8000/tcp": ("127.0.0.2", None)}, network_mode="bridge")


@contextlib.contextmanager
def volume(on):
    """A volume that is empty before."""
    name = on.session.name("letters")
    with contextlib.suppress(Exception):
        on.docker.volumes.get(name).remove()
    yield {name: {"bind": "/kept", "mode": "rw"}}


@wrong("outlives", 1)
def in_its_own_layer(on):
    start(on, ["sh", "-c", f"{WRITE}; sleep 600"])


@wrong("outlives", 1)
def in_its_own_layer_after_a_restart(on):
    start(on, ["sh", "-c", f"[ -e {checks.LETTER} ] || {{ {WRITE}; }}; sleep 600"]).restart(timeout=0)


@wrong("outlives", 2)
def on_a_volume_by_itself(on):
    with volume(on) as mount:
        start(on, ["sh", "-c", f"{WRITE}; sleep 600"], volumes=mount)


@wrong("outlives", 2)
def on_a_volume_that_has_no_name(on):
    start(on, ["sh", "-c", f"{WRITE}; sleep 600"], volumes=["/kept"])


@right("outlives")
def by_one_that_is_gone(on):
    with volume(on) as mount:
        on.docker.containers.run(on.image(), ["sh", "-c", WRITE], volumes=mount, remove=True)
        start(on, volumes=mount)


@right("outlives")
def with_the_volumes_of_another(on):
    with volume(on) as mount:
        first = start(on, ["sh", "-c", f"{WRITE}; sleep 600"], volumes=mount)
        first.exec_run(["sh", "-c", f"until [ -s {checks.LETTER} ]; do sleep 0.1; done"])
        start(on, volumes_from=[first.id])


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
