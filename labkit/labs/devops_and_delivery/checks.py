"""Lab 01: predictions, exercises and quiz."""

from __future__ import annotations

from docker.errors import NotFound

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from ..images_and_registries import registry as registries
from . import pipeline

CONTENT = LabContent("01-devops-and-delivery")

CONTENT.prediction(
    "broken",
    "A test fails. How far does the change get?",
    (
        "To staging, where people look at it",
        "Nowhere: nothing is pushed to the registry",
        "To production, with a warning",
    ),
    1,
    "The test stage stands before the push. What fails there never becomes an artifact that anybody could deploy.",
)
CONTENT.prediction(
    "rebuild",
    "The same source is built a second time. Is the result the artifact that was tested?",
    ("Yes: same source, same digest", "No: another digest", "Yes, if the Dockerfile pins its base"),
    1,
    "Time stamps differ, so the digest does. What was tested is one digest; promoting means moving that one.",
)
CONTENT.prediction(
    "hops",
    "The same checkout as a monolith, in layers and as microservices. Which answers fastest?",
    ("The monolith", "The microservices: they share the work", "All the same: it is the same code"),
    0,
    "A function call costs a fraction of a microsecond, an HTTP request a good part of a millisecond.",
)
CONTENT.prediction(
    "blast",
    "In the microservices, the cart is stopped. Which endpoints still answer?",
    ("None", "Only the catalogue", "The catalogue and the checkout"),
    1,
    "The checkout needs the cart. A service is only as available as everything it asks.",
)

CONTENT.ask(
    "ci-cd",
    "What is the difference between continuous delivery and continuous deployment?",
    (
        "Delivery is for images, deployment for packages",
        "With delivery a person decides on the release; with deployment it happens by itself",
        "There is none",
    ),
    1,
    "Both keep the software releasable at any time. The gate is a person, or it is not.",
)
CONTENT.ask(
    "artifact",
    "What is the artifact in this lab's pipeline?",
    ("The source's digest", "The image, known by its digest", "The container in staging"),
    1,
    "It is made once, tested, stored, and used later: in staging and in production.",
)
CONTENT.ask(
    "ci",
    "Which stages are continuous integration?",
    ("Build and test", "Staging and smoke test", "Gate and production"),
    0,
    "CI checks that the merged code works. What comes after sends it to the users.",
)
CONTENT.ask(
    "staging",
    "What makes staging worth having?",
    (
        "It is faster than production",
        "It is as similar to production as can be, and runs the very same digest",
        "It has no users, so tests are not needed",
    ),
    1,
    "The last check says something about production only if both run the same thing in the same way.",
)
CONTENT.ask(
    "micro",
    "What did the microservices cost, in what you measured?",
    ("More HTTP requests, so more time for each answer", "Larger blast radius", "More to rebuild for one change"),
    0,
    "They pay with requests over the network for smaller rebuilds, smaller blast radius and scaling one by one.",
)


def _digests(on: Context) -> dict[str, str]:
    with explained(on.session.engine.endpoint):
        return {place: pipeline.running_digest(on, place) for place in ("staging", "production")}


@CONTENT.exercise(
    "release",
    "Release version 7",
    'Run the pipeline with `lab.delivery.tea("7")`: `lab.delivery.run(files)`.',
    "A release that waits at the gate needs a person: `lab.delivery.approve(release)`.",
    'One line does it all with `mode="deployment"`.',
)
def release(on: Context) -> Outcome:
    with explained(on.session.engine.endpoint):
        try:
            reply = pipeline.call(on, "production", "/health")
        except NotFound:
            return not_yet("nothing runs in production.", 0)
    if reply.status != 200:
        return not_yet("production does not answer.", 0)
    version = reply.json()["version"]
    if version != "7":
        staged = pipeline.call(on, "staging", "/health").json()["version"]
        if staged == "7":
            return not_yet("version 7 is in staging; production still has another.", 1)
        return not_yet(f"production answers with version {version}.", 0)
    digests = _digests(on)
    if not digests["production"] or digests["production"] != digests["staging"]:
        return not_yet("version 7 is in production, but not as the digest that was staged.", 2)
    return passed("version 7 answers in production, from the digest that was staged.")


@CONTENT.exercise(
    "caught",
    "Caught by a test",
    'Take `files = lab.delivery.tea("8")`; add a test to `files["test_app.py"]`, or a mistake to `files["app.py"]`.',
    "The pipeline must stop at the test stage: run it with `lab.delivery.run(files)`, and leave the registry alone.",
    'A mistake: `files["app.py"] = files["app.py"].replace("PRICE = 4", "PRICE = 5")`. Then `lab.delivery.run(files)`.',
)
def caught(on: Context) -> Outcome:
    with explained(on.session.engine.endpoint):
        built = [
            row for row in on.docker.images.list(name=on.session.name("tea"))
            if any(tag.startswith(on.session.name("tea") + ":") for tag in row.tags)
        ]  # fmt: skip
        if not built:
            return not_yet("the pipeline has not built anything in this session.", 1)
        stored = set(registries.start(on).stored().sizes)
        message = "no version 8 has been built in this session."
        for image in built:
            version, failed = _tested(on, image.id)
            if version != "8":  # the lab's own failing version is no answer
                continue
            # An image's ID is the digest of a blob of its own: if it is not there, the image was never pushed.
            if image.id in stored or _pushed(on, image):
                message = "version 8 was built, and it is in the registry."
            elif not failed:
                message = "version 8 was built, but its tests pass."
            else:
                return passed("the tests of version 8 fail, and nothing of it is in the registry.")
    return not_yet(message, 0)


def _tested(on: Context, image: str) -> tuple[str, bool]:
    """The version that an image of the tea service holds, and whether its own tests fail in it."""
    command = ["sh", "-c", "grep '^VERSION' app.py; python3 -m unittest -q 2>&1 | tail -n 1"]
    with on.container(image, command, network_mode="none") as tests:
        tests.wait(timeout=120)
        version, _, end = tests.logs().decode().partition("\n")
    return version.partition("=")[2].strip(" \"'"), end.startswith("FAILED")


def _pushed(on: Context, image) -> bool:
    """Whether an image has a digest in this session's registry."""
    address = registries.start(on).address
    return any(name.startswith(address + "/") for name in image.attrs.get("RepoDigests") or [])


@CONTENT.exercise(
    "copies",
    "Two carts",
    'Deploy with `shop = lab.shop.deploy("microservices")`, then add one copy of one piece.',
    '`shop.add("cart", 2)` starts a second container that answers to the name cart.',
    "Leave all other pieces at one copy.",
)
def copies(on: Context) -> Outcome:
    network = on.session.name("microservices-net")
    count: dict[str, int] = {}
    for row in containers(on):
        place = row["NetworkSettings"]["Networks"].get(network)
        if place and row["State"]["Running"]:
            for alias in set(place.get("Aliases") or []) & {"gateway", "catalogue", "cart", "checkout"}:
                count[alias] = count.get(alias, 0) + 1
    if not count:
        return not_yet("no microservices run in this session.", 0)
    if count.get("cart", 0) < 2:
        return not_yet("the name cart stands for one container.", 1)
    more = [piece for piece, number in count.items() if number > 1 and piece != "cart"]
    if more:
        return not_yet(f"there is more than one of: {', '.join(more)}.", 2)
    return passed("the name cart stands for two containers, every other name for one.")
