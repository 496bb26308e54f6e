"""Lab 01's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

import pytest

from labkit.labs.devops_and_delivery import pipeline, shop
from labkit.labs.images_and_registries import building, registry

from .states import States, start, typed

STATES = States("01-devops-and-delivery")
wrong, right = STATES.wrong, STATES.right


def wrong_price(version: str = "8", price: int = 5) -> dict[str, str]:
    files = pipeline.tea(version)
    files["app.py"] = files["app.py"].replace("PRICE = 4", f"PRICE = {price}")
    return files


@wrong("release", 0)
@wrong("caught", 1)
@wrong("copies", 0)
def nothing(on):
    pass


@wrong("release", 1)
def it_waits_at_the_gate(on):
    pipeline.run(on, pipeline.tea("7"))


@wrong("release", 0)
def another_version(on):
    pipeline.run(on, pipeline.tea("6"), mode="deployment")


@wrong("release", 2)
def in_production_by_its_tag(on):
    pipeline.run(on, pipeline.tea("7"))
    pipeline.deploy(on, "production", registry.start(on).pull("tea", "candidate"))


@wrong("release", 2)
def built_once_more_for_production(on):
    staged = pipeline.run(on, pipeline.tea("7"))
    again = pipeline.rebuilt(on, staged, pipeline.tea("7")).again
    pipeline.deploy(on, "production", registry.start(on).pull("tea", again))


@right("release")
def a_person_approves(on):
    pipeline.approve(on, pipeline.run(on, pipeline.tea("7")))


@right("release")
def nobody_is_asked(on):
    pipeline.run(on, pipeline.tea("7"), mode="deployment")


@wrong("caught", 0)
def the_labs_own_broken_version(on):
    pipeline.run(on, pipeline.broken("3"))


@wrong("caught", 0)
def a_version_8_without_a_mistake(on):
    building.build(on, on.session.name("tea") + ":8", pipeline.tea("8"))


@wrong("caught", 1)
def a_version_8_that_was_released(on):
    pipeline.run(on, pipeline.tea("8"))


@wrong("caught", 1)
def one_of_two_was_pushed_all_the_same(on):
    pipeline.run(on, wrong_price())
    built = building.build(on, on.session.name("tea") + ":pushed", wrong_price(price=6))
    registry.start(on).push(built.tag, "elsewhere", "8")


@right("caught")
def a_mistake(on):
    pipeline.run(on, wrong_price(), mode="deployment")


@right("caught")
def a_test_that_asks_for_more(on):
    files = pipeline.tea("8")
    files["test_app.py"] = files["test_app.py"].replace("total(1), 4", "total(1), 3")
    building.build(on, on.session.name("tea") + ":mine", files)


@right("caught")
def one_that_was_pushed_and_deleted_again(on):
    pipeline.run(on, wrong_price())
    built = building.build(on, on.session.name("tea") + ":pushed", wrong_price(price=6))
    store = registry.start(on)
    store.delete("elsewhere", store.push(built.tag, "elsewhere", "8").digest)


@wrong("copies", 1)
def one_of_each(on):
    shop.deploy(on, "microservices")


@wrong("copies", 1)
def a_name_without_a_cart(on):
    network = on.docker.networks.get(shop.deploy(on, "microservices").network)
    network.connect(start(on, network_mode="bridge"), aliases=["cart"])


@wrong("copies", 2)
def a_piece_is_missing(on):
    shop.deploy(on, "microservices").add("cart", 2)
    shop.deploy(on, "microservices").stop("catalogue")


@wrong("copies", 2)
def two_of_another_piece_as_well(on):
    deployed = shop.deploy(on, "microservices")
    deployed.add("cart", 2), deployed.add("checkout", 2)


@right("copies")
def a_second_cart(on):
    shop.deploy(on, "microservices").add("cart", 2)


@right("copies")
def a_second_cart_typed(on):
    deployed = shop.deploy(on, "microservices")
    where = "-e PIECES=cart,store -e WHERE=front=gateway,catalogue=catalogue,checkout=checkout"
    options = f"--name more-{{name}} --network {deployed.network} --network-alias cart {where}"
    typed(on, f"run -d {options} {shop.image_tag(on, 'microservices', 'cart')}")


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


@STATES.each()
def test_state(on, state):
    try:
        state.holds(on, 60)
    finally:
        for image in on.docker.images.list(name=on.session.name("tea")):
            on.docker.images.remove(image.id, force=True)
