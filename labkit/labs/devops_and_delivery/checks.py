"""Lab 01: what its exercises ask of the engine."""

from collections import Counter

from docker.models.images import Image

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import running
from ...waiting import wait_until
from ..images_and_registries import registry as registries
from . import pipeline, shop

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("release")
def release(on: Context) -> Outcome:
    live, staged = (pipeline.call(on, place, "/health") for place in ("production", "staging"))
    versions = [reply.json()["version"] if reply.status == 200 else "" for reply in (live, staged)]
    if versions[0] != "7":
        if versions[1] == "7":
            return not_yet("version 7 is in staging, and not in production.", 1)
        said = f"production answers with version {versions[0]}" if versions[0] else live.error
        return not_yet(f"{said or 'production does not answer'}.", 0)
    staging, production = (pipeline.running_digest(on, place) for place in ("staging", "production"))
    if not production or production != staging:
        return not_yet("version 7 is in production, but not as the digest that was staged.", 2)
    return passed("version 7 answers in production, from the digest that was staged.")


@CONTENT.exercise("caught")
def caught(on: Context) -> Outcome:
    tea = on.session.name("tea")
    built = [row for row in on.docker.images.list(name=tea) if any(tag.startswith(f"{tea}:") for tag in row.tags)]
    if not built:
        return not_yet("the pipeline has not built anything in this session.", 1)
    # The lab's own failing version is no answer.
    tested = [(image, failed) for image in built if (failed := _tests_fail(on, image.id, "8")) is not None]
    if not tested:
        return not_yet("no version 8 has been built in this session.", 0)
    if there := [place for image, _ in tested if (place := _in_registry(on, image))]:
        return not_yet(f"a version 8 is in the registry: delete {', '.join(there)} there.", 1)
    if not any(failed for _, failed in tested):
        return not_yet("version 8 was built, but its tests pass.", 0)
    return passed("the tests of version 8 fail, and nothing of it is in the registry.")


def _in_registry(on: Context, image: Image) -> str:
    """Where an image is in the session's registry, as its manifest there or the digest of its blob; "" if nowhere."""
    registry = registries.start(on)
    names = [name for name in image.attrs.get("RepoDigests") or [] if name.startswith(registry.address + "/")]
    for name in names:
        repository, _, digest = name.removeprefix(registry.address + "/").partition("@")
        if registry.get(f"/v2/{repository}/manifests/{digest}").status == 200:
            return f"{repository}@{digest}"
    # An image's ID is the digest of a blob of its own: if it is not there, the image was never pushed. One that was
    # pushed and deleted leaves it there until garbage is collected.
    return str(image.id) if not names and image.id in registry.stored().sizes else ""


def _tests_fail(on: Context, image: str, version: str) -> bool | None:
    """Whether this version's own tests fail in an image of the tea service; None where it holds another version."""
    script = f"grep -q '^VERSION *= *.{version}. *$' app.py && python3 -m unittest -q 2>&1 | tail -n 1"
    ended = on.ran(image, ["sh", "-c", script])
    return ended.text.startswith("FAILED") if ended.code == 0 else None


@CONTENT.exercise("copies")
def copies(on: Context) -> Outcome:
    network = on.session.name("microservices-net")
    named: Counter[str] = Counter()
    serving: Counter[str] = Counter()
    for row in running(on):
        place = row["NetworkSettings"]["Networks"].get(network) or {}
        for piece in set(place.get("Aliases") or []) & set(shop.ARCHITECTURES["microservices"]):
            named[piece] += 1
            serving[piece] += _serves(on, network, place["IPAddress"], piece)
    if not serving.total():
        return not_yet("no microservices answer in this session.", 0)
    if serving["cart"] < 2:
        return not_yet(f"the name cart stands for {serving['cart']} that answer as a cart; two are wanted.", 1)
    wanted = {piece: 2 if piece == "cart" else 1 for piece in shop.ARCHITECTURES["microservices"]}
    wrong = [piece for piece, number in wanted.items() if not named[piece] == serving[piece] == number]
    if wrong:
        return not_yet(f"of these another number runs, or one does not answer: {', '.join(wrong)}.", 2)
    return passed("the name cart stands for two containers, every other name for one.")


def _serves(on: Context, network: str, address: str, piece: str) -> bool:
    """Whether what has this address answers as this piece of the shop: a name alone makes no cart.

    One that was started a moment ago gets some seconds to come up.
    """
    url = f"http://{address}:8000/{'front' if piece == 'gateway' else piece}/catalogue"
    on.say(f"waiting for an answer of the {piece}")
    patience = 30 if on.facts.emulated else 10
    return bool(address) and wait_until(lambda: on.visitor(network).get(url, timeout=10).status == 200, patience)
