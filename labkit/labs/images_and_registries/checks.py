"""Lab 03: what its exercises ask of the engine."""

from __future__ import annotations

import re

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from ...errors import LabError
from . import registry as registries
from .anatomy import has_image, require_image

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise(
    "lean",
    "One layer of your own",
    'Start from `files = lab.images.source("hello")`, change `files["Dockerfile"]`, and build with `lab.images.build(name, files)`.',
    "One COPY can take both files: `COPY greeting.sh app.sh /lib/`. ENV and CMD make no layer.",
    'A file that is not executable can still be run by a shell: `CMD ["sh", "/lib/app.sh"]`.',
)
def lean(on: Context) -> Outcome:
    name = on.session.name("lean") + ":1"
    with explained(on.session.engine.endpoint):
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


@CONTENT.exercise(
    "twin-tags",
    "Two tags, one digest",
    'Push the same image twice with `registry.push(image, "twin", tag)`, under the tags 1 and stable.',
    "Push the image itself both times; do not build in between.",
    'Compare: `registry.digest("twin", "1") == registry.digest("twin", "stable")`.',
)
def twin_tags(on: Context) -> Outcome:
    registry = registries.start(on)
    if "twin" not in registry.catalogue():
        return not_yet("the registry has no repository twin.", 0)
    tags = registry.tags("twin")
    if not {"1", "stable"} <= set(tags):
        return not_yet(f"repository twin has these tags: {', '.join(tags) or 'none'}; 1 and stable are asked for.", 0)
    if registry.digest("twin", "1") != registry.digest("twin", "stable"):
        return not_yet("the two tags stand for different digests.", 1)
    return passed("two tags, one digest: the blobs are stored once.")


@CONTENT.exercise(
    "by-digest",
    "Run by digest",
    'Ask for the digest: `registry.digest("shop", "1")`, and pull by it: `registry.pull("shop", digest)`.',
    "A reference by digest is written with an @: `ADDRESS/shop@sha256:…`. Use it as the container's image.",
    "Keep the container: `lab.docker.containers.run(reference, detach=True)`, without `remove=True`.",
)
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
