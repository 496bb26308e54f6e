"""Lab 03: what its exercises ask of the engine."""

import re

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...errors import LabError
from . import registry as registries
from .anatomy import has_image, require_image

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("lean")
def lean(on: Context) -> Outcome:
    name = on.session.name("lean") + ":1"
    if not has_image(on, name):
        return not_yet("there is no image lean-SESSION:1 yet (lab.name_for('lean') + ':1').", 0)
    layers, base = (require_image(on, one)["RootFS"]["Layers"] for one in (name, on.image()))
    if layers[: len(base)] != base:
        return not_yet("the image does not begin with the layers of labkit/busybox:1.", 0)
    if len(layers) - len(base) != 1:
        return not_yet(f"the image has {len(layers) - len(base)} layers above its base; one is asked for.", 1)
    try:
        says = [on.ran(name, environment=set_to).text for set_to in ({}, {"GREETING": "good day"})]
    except LabError as fault:
        return not_yet(f"the image does not start: {fault.what}", 2)
    if says[0].strip() != "hello from a container":
        return not_yet("the image has one layer of its own, but it does not greet when it is run.", 2)
    if says[1].strip() != "good day from a container":
        return not_yet("it greets, but not as the sample does: another GREETING must change its words.", 2)
    return passed("one layer above the base, and it still greets.")


@CONTENT.exercise("no-tag")
def no_tag(on: Context) -> Outcome:
    registry, repository = registries.start(on), "team/shop"
    if repository not in registry.catalogue():
        return not_yet(f"the registry has no repository {repository}.", 0)
    tags = registry.tags(repository)
    if not {"1", "2"} <= set(tags):
        return not_yet(f"{repository} has these tags: {', '.join(tags) or 'none'}; 1 and 2 are asked for.", 0)
    says = [on.ran(registry.pull(repository, tag)).text for tag in ("1", "2")]
    if "second version" in says[0] or "second version" not in says[1]:
        return not_yet("tag 1 is to be the sample's first version, and tag 2 its second.", 0)
    if "latest" not in tags:
        return not_yet("who gives no tag gets nothing: the tag that is asked for then is not there.", 1)
    if registry.digest(repository, "latest") != registry.digest(repository, "2"):
        return not_yet("who gives no tag gets another image than version 2.", 2)
    return passed("who gives no tag gets version 2: two tags, one digest, and its blobs are stored once.")


@CONTENT.exercise("by-digest")
def by_digest(on: Context) -> Outcome:
    registry = registries.start(on)
    port = registry.address.rpartition(":")[2]
    asked_for = re.compile(rf"^(?:127\.0\.0\.1|localhost):{port}/([^:@]+)(?::[^@]+)?(?:@(sha256:\w+))?$")
    ours = [found.groups() for row in containers(on) if (found := asked_for.match(row["Config"]["Image"]))]
    if not ours:
        return not_yet("no container of this session was made from an image of this registry.", 0)
    by_name = [(repository, digest) for repository, digest in ours if digest]
    if not by_name:
        return not_yet("there is a container from this registry, but it was asked for by tag.", 1)
    # An answer 404 is no fault here: the learner may have deleted it since.
    if not any(registry.get(f"/v2/{repository}/manifests/{digest}").status == 200 for repository, digest in by_name):
        return not_yet("a container has a digest that the registry does not know.", 1)
    return passed("a container from this registry, by the digest of its image.")
