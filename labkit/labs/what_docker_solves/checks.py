"""Lab 04: predictions, exercises and quiz."""

from __future__ import annotations

from docker.errors import ImageNotFound

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers
from ...engine.faults import explained
from . import promises

CONTENT = LabContent("04-what-docker-solves")

CONTENT.prediction(
    "conflict",
    "The old app needs version 1 of a library, the new app version 2, at the same path. "
    "Both are installed on one system, the new app last. Who works?",
    ("Both", "The old app only", "The new app only"),
    2,
    "A path holds one file. Whoever installs last wins, and the other app breaks.",
)
CONTENT.prediction(
    "memory",
    "A small web server in a container, a small Debian in a virtual machine. How far apart is their memory?",
    ("About the same", "About twice", "Ten times and more"),
    2,
    "The container's memory is its program's. The virtual machine has a kernel, its services and its own caches on top.",
)
CONTENT.prediction(
    "setup",
    "The handbook has twelve steps. You forget one of the first eleven. What happens?",
    (
        "The app always breaks",
        "It breaks for some steps; for others nobody notices, today",
        "Nothing: steps are there for safety",
    ),
    1,
    "Both are bad: a step that is missed at once, and one that is missed in half a year.",
)

CONTENT.ask(
    "works-on-my-machine",
    "What exactly makes a packed script answer the same everywhere?",
    ("The engine's version", "Its userland comes with it: tools, libraries, configuration", "The same processor speed"),
    1,
    "What differed between Ann and Bob was the userland. The image brings one, and both run that.",
)
CONTENT.ask(
    "not-solved",
    "Which difference does an image NOT remove?",
    ("The time zone", "The version of Python", "The kernel and the processor's architecture"),
    2,
    "Containers share the kernel of the machine that they run on, and machine code stays machine code.",
)
CONTENT.ask(
    "rollback",
    "Why is rolling back as quick as rolling out?",
    (
        "The old image is still there: it is only started again",
        "Docker remembers the old memory",
        "The new version is undone file by file",
    ),
    0,
    "Nothing is uninstalled. One container goes, one made from the other image comes.",
)
CONTENT.ask(
    "scale",
    "Four replicas, eight clients, and less than four times the answers. What else sets the limit?",
    (
        "The number of images",
        "Whatever is shared: processors, network, and how evenly requests spread",
        "Docker allows three replicas",
    ),
    1,
    "Replicas are easy to start. What they share does not grow with them.",
)
CONTENT.ask(
    "waste",
    "What do five containers on one machine have only once?",
    ("Their memory limits", "The kernel, and the image's files", "Their processes"),
    1,
    "One kernel runs them all, and read-only layers lie on the disk once.",
)


@CONTENT.exercise(
    "two-versions",
    "Two versions at once",
    "Build two images with different content at the same path, then start a container from each and keep both running.",
    "Both must hold the path `/lib/greeting.sh`: `lab.images.build(name, {'Dockerfile': …, 'greeting.sh': …})`.",
    "`lab.docker.containers.run(image, ['sleep', '600'], detach=True)` for each image keeps them running.",
)
def two_versions(on: Context) -> Outcome:
    found: dict[str, str] = {}
    running = [row for row in containers(on) if row["State"]["Running"]]
    if len(running) < 2:
        return not_yet("two containers of this session have to run at the same time.", 2)
    with explained(on.session.engine.endpoint):
        for row in running:
            done = on.docker.containers.get(row["Id"]).exec_run(["cat", promises.LIBRARY])
            if done.exit_code == 0:
                found[row["Image"]] = done.output.decode()
    if len(found) < 2:
        return not_yet(f"containers of two different images must hold {promises.LIBRARY}.", 1)
    if len(set(found.values())) < 2:
        return not_yet(f"all of them hold the same {promises.LIBRARY}.", 0)
    return passed("two versions at one path, side by side.")


@CONTENT.exercise(
    "replicas",
    "Three behind one name",
    "Make a network, and start three containers in it that share one alias.",
    "With docker-py: `network = lab.docker.networks.create(lab.name_for('team'))`, then `network.connect(container, aliases=['web'])`.",
    "A container with `network_mode='none'` can't join; start it with the default network, then connect it.",
)
def replicas(on: Context) -> Outcome:
    names: dict[tuple[str, str], set[str]] = {}
    for row in containers(on):
        if not row["State"]["Running"]:
            continue
        for network, place in row["NetworkSettings"]["Networks"].items():
            # The engine adds the beginning of its id to every container's aliases.
            for alias in [name for name in place.get("Aliases") or [] if not row["Id"].startswith(name)]:
                names.setdefault((network, alias), set()).add(row["Id"])
    if not names:
        return not_yet("no running container of this session has an alias in a network.", 0)
    most = max(len(who) for who in names.values())
    if most < 3:
        return not_yet(f"the most popular alias stands for {most} container(s); three are asked for.", 1)
    return passed("three containers answer to one name.")


@CONTENT.exercise(
    "one-run",
    "One run",
    "Put the script into an image with all that it needs: Python and its time zone.",
    "`FROM labkit/python:1` brings Python; `ENV TZ=CET-1` brings the time zone; `COPY` the script and name it in `CMD`.",
    "Name the image `lab.name_for('mine') + ':1'`, and try it: `lab.docker.containers.run(name, remove=True)`.",
)
def one_run(on: Context) -> Outcome:
    name = on.session.name("mine") + ":1"
    with explained(on.session.engine.endpoint):
        try:
            on.docker.api.inspect_image(name)
        except ImageNotFound:
            return not_yet("there is no image mine-SESSION:1 yet (lab.name_for('mine') + ':1').", 2)
        with on.container(name, None, network_mode="none") as container:
            container.wait(timeout=120)
            says = container.logs(stderr=False).decode()
    if "total: 15" not in says:
        return not_yet("run alone, it does not compute the total.", 0)
    if "1970-01-01 01:00" not in says:
        return not_yet("the total is right, but the first order is not at 01:00: which time zone does it use?", 1)
    return passed("one run, no set-up, Ann's answer.")
