"""Lab 01: what its exercises ask of the engine."""

from __future__ import annotations

from docker.errors import NotFound
from docker.models.images import Image

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from ..images_and_registries import registry as registries
from . import pipeline

CONTENT = LabContent.beside(__file__)


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


def _pushed(on: Context, image: Image) -> bool:
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
