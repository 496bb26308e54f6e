"""Lab 03: predictions, exercises and quiz."""

from __future__ import annotations

from docker.errors import ImageNotFound

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from ...errors import LabError
from ...images import BUSYBOX
from . import registry as registries

CONTENT = LabContent("03-images-and-registries")

CONTENT.prediction(
    "layers",
    "The Dockerfile above has seven instructions. How many layers will the image have?",
    ("Seven: one for each instruction", "Four: the base, and each step that changed files", "One: all in one file"),
    1,
    "Only what works on the file system makes a layer. ENV, LABEL and CMD go into the configuration.",
)
CONTENT.prediction(
    "writable",
    "Two containers run from one image. The first deletes `/app/app.sh`. What does the second see?",
    ("The file is gone there, too", "The file as it was", "An error: the image is damaged"),
    1,
    "The image is read-only. The deletion is a mark in the first container's own writable layer, and nowhere else.",
)
CONTENT.prediction(
    "cache",
    "Steps: ENV, COPY packages.txt, COPY app.sh, RUN install, CMD. Only `app.sh` changes. What is built again?",
    ("COPY app.sh alone", "COPY app.sh and the installation after it", "Everything"),
    1,
    "Each step stands on the one before. Once one differs, no later result can be trusted, the slow installation included. "
    "(CMD is only an entry in the configuration.)",
)
CONTENT.prediction(
    "times",
    "`RUN echo hello > /hello.txt` is built twice without the cache, a second apart. Is it the same layer?",
    ("Yes: the content is the same", "No: the layer's hash differs", "Only on the same machine"),
    1,
    "A layer is a tar archive, and a tar holds time stamps. Same bytes in the file, other time, other hash.",
)
CONTENT.prediction(
    "push",
    "Version 2 differs from version 1 in the app's own code. What does pushing version 2 send?",
    ("The whole image once more", "Only the blobs that the registry lacks", "A list of changed lines"),
    1,
    "Blobs are named by their digest. The engine asks for each: have you got this one?",
)
CONTENT.prediction(
    "platform",
    "One tag stands for an image for amd64 and one for arm64. You force the one that is not this machine's. What happens?",
    ("It runs, only slower", "It runs: containers run anywhere", "The kernel refuses to execute it"),
    2,
    "Machine code is for one kind of processor. Without an emulator the kernel answers: exec format error.",
)

CONTENT.ask(
    "three-names",
    "A layer was compressed before it was pushed. Which of its names changed?",
    ("Its diffID", "Its digest", "Both"),
    1,
    "The digest names the blob as it is stored or sent. The diffID names the tar inside, and stays.",
)
CONTENT.ask(
    "tag",
    "What does the tag `1` guarantee?",
    (
        "Always the same image",
        "Nothing: whoever may push can move it. A digest is what stays",
        "The first image that was ever pushed",
    ),
    1,
    "A tag is a label on a digest, and labels can be moved.",
)
CONTENT.ask(
    "manifest",
    "An image for two platforms: which document lists the platforms?",
    ("The manifest", "The index (manifest list)", "The configuration"),
    1,
    "A manifest describes one platform's configuration and layers. The index points to several manifests.",
)
CONTENT.ask(
    "container",
    "Is a container always a running instance of an image?",
    ("Yes", "No: it may also be created, paused, exited or dead", "Only with --rm"),
    1,
    "A container is there from creation to removal, with its writable layer, running or not.",
)
CONTENT.ask(
    "copy-up",
    "A container changes one byte in a file of 1 GiB from its image. How much does its writable layer grow?",
    ("One byte", "One block of 4 KiB", "About 1 GiB"),
    2,
    "With overlay file systems the whole file is copied up before the first write.",
)


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
        try:
            image = on.docker.api.inspect_image(name)
        except ImageNotFound:
            return not_yet("there is no image lean-SESSION:1 yet (lab.name_for('lean') + ':1').", 0)
        own = len(image["RootFS"]["Layers"]) - len(on.docker.api.inspect_image(on.image(BUSYBOX))["RootFS"]["Layers"])
        if own != 1:
            return not_yet(f"the image has {own} layers above its base; one is asked for.", 1)
        try:
            with on.container(name, None, network_mode="none") as container:
                container.wait(timeout=60)
                says = container.logs().decode()
        except LabError as fault:
            return not_yet(f"the image does not start: {fault.what}", 2)
    if "hello from a container" not in says:
        return not_yet("the image has one layer of its own, but it does not greet when it is run.", 2)
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
    rows = [row["Config"]["Image"] for row in containers(on)]
    ours = [name for name in rows if name.startswith(registry.address + "/")]
    if not ours:
        return not_yet("no container of this session was made from an image of this registry.", 0)
    by_name = [name for name in ours if "@sha256:" in name]
    if not by_name:
        return not_yet("there is a container from this registry, but it was asked for by tag.", 1)
    repository, _, digest = by_name[0].removeprefix(registry.address + "/").partition("@")
    try:
        registry.manifest(repository, digest)
    except LabError:
        return not_yet("a container has a digest that the registry does not know.", 1)
    return passed("a container from this registry, by the digest of its image.")
