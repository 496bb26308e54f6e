"""What Docker solves: environment, dependencies, deployment and set-up, each on real containers.

:mod:`labkit.labs.what_docker_solves.machines` has the two that stand beside virtual machines and replicas.
"""

import contextlib
import textwrap
import time
from collections.abc import Iterator

from ... import engine as engines
from ... import images
from ...course.benchmark import rounds
from ...course.context import Context, Ran
from ...course.result import Result
from ...engine import EngineFacts, Session
from ...engine.faults import explained
from ...observe import Observer
from ...units import yes_no
from ..images_and_registries.anatomy import sample_tag
from ..images_and_registries.building import build

#: A report that somebody wrote on their own machine. It asks for more than it says.
SCRIPT = """#!/bin/sh
echo "first order: $(date -d @0 '+%Y-%m-%d %H:%M')"
python3 -c 'print("total:", sum([4, 4, 7]))' || echo "total: unknown"
"""


@contextlib.contextmanager
def second_engine(on: Context) -> Iterator[Context]:
    """Another real engine for the length of a ``with`` block: a new machine of the lab's own, resumed."""
    with engines.owned() as engine:
        session = Session(engine, on.session.lab)
        observer = Observer(session)
        try:
            yield Context(session, observer, engines.read_facts(session.docker, engine))
        finally:
            observer.close()
            session.close()


class Environments(Result):
    """The same script's answers in two people's environments, by name, and packed into an image."""

    answers: dict[str, str]
    packed: str

    def facts(self) -> str:
        said = {**self.answers, "packed into an image": self.packed}
        rows = "".join(f"{name}:\n{textwrap.indent(text, '    ')}\n" for name, text in said.items())
        return f"{rows}the same answer on both machines: {yes_no(len(set(self.answers.values())) == 1)}"


def environments(on: Context) -> Environments:
    """Run one script in two userlands, then as an image that brings its own.

    Ann's machine has Python and lives in one time zone; Bob's has no Python and lives in another. Both
    are containers here, on one kernel: what differs is the userland.
    """
    on.image(images.PYTHON)
    places = {
        "Ann's machine": (images.PYTHON, {"TZ": "CET-1"}),
        "Bob's machine": (images.BUSYBOX, {"TZ": "EST5"}),
    }
    answers: dict[str, str] = {}
    for name, (image, environment) in places.items():
        on.say(f"the report on {name}")
        # Only what the script says: a shell's complaint differs from one version to the next.
        said = on.ran(image, ["sh", "-c", SCRIPT], environment=environment, stderr=False)
        answers[name] = said.text.strip()
    # With all that it needs: Python and a time zone.
    recipe = f'FROM {images.PYTHON}\nENV TZ=CET-1\nCOPY report.sh /report.sh\nCMD ["sh", "/report.sh"]\n'
    tag = build(on, on.session.name("report") + ":1", {"Dockerfile": recipe, "report.sh": SCRIPT}).tag
    return Environments(on.facts, answers, on.ran(tag).text.strip())


class Carried(Result):
    """An image saved here, loaded on another engine, and run there. Times in seconds, size in bytes.

    ``unknown``: the other engine did not have the image before.
    """

    other: EngineFacts
    unknown: bool
    here: str
    there: str
    layers_here: list[str]
    layers_there: list[str]
    seconds: dict[str, float]
    size: int

    def facts(self) -> str:
        elsewhere = self.other.endpoint != self.engine.endpoint and self.unknown
        return (
            f"another engine, which did not know the image: {yes_no(elsewhere)}\n"
            f"the same layers there, by their diffIDs: {yes_no(self.layers_here == self.layers_there)}\n"
            f"the same answer there: {yes_no(self.here == self.there)}"
        )

    def machines(self) -> str:
        """The two machines, by their kernels: on a host engine they differ."""
        kinds = ((self.engine, "saved"), (self.other, "loaded and run"))
        return "\n".join(f"{what} on Linux {one.kernel}, {one.kind} engine" for one, what in kinds)


def carry(on: Context) -> Carried:
    """Save the sample app ``hello`` (2 MB), carry the archive to a second engine, load and run it there."""
    tag = sample_tag(on)
    with explained("one of the two engines"), second_engine(on) as other:
        # Not the image's ID: that is its configuration's digest in one store, its manifest's in another.
        layers_here = on.docker.api.inspect_image(tag)["RootFS"]["Layers"]
        here = on.ran(tag).text.strip()
        on.say("saving the image, loading it there, running it")
        seconds, began = {}, time.perf_counter()
        archive = b"".join(on.docker.api.get_image(tag))
        seconds["save"] = time.perf_counter() - began
        unknown = not other.docker.api.images(tag)
        began = time.perf_counter()
        other.docker.images.load(archive)
        seconds["load"], began = time.perf_counter() - began, time.perf_counter()
        there = other.ran(tag).text.strip()
        seconds["run"] = time.perf_counter() - began
        layers_there = other.docker.api.inspect_image(tag)["RootFS"]["Layers"]
        other.docker.api.remove_image(tag, force=True)
        return Carried(on.facts, other.facts, unknown, here, there, layers_here, layers_there, seconds, len(archive))


# Two versions of one library, as two apps need them: the function has another name in the second.
_LIBRARY = {"1": 'greet() { echo "hello $1"; }\n', "2": 'welcome() { echo "welcome $1"; }\n'}
_APPS = {"old app": ("1", "greet Ann"), "new app": ("2", "welcome Ann")}
LIBRARY = "/lib/greeting.sh"


class Conflict(Result):
    """How each app ended on one shared system, and in an image of its own."""

    shared: dict[str, Ran]
    own: dict[str, Ran]

    def facts(self) -> str:
        rows = [f"{LIBRARY} in version 1 for the old app, in version 2 for the new app"]
        for where, results in (("one shared system", self.shared), ("an image for each", self.own)):
            words = " · ".join(f"{app} works: {yes_no(run.code == 0)}" for app, run in results.items())
            rows.append(f"{where}: {words}")
        return "\n".join(rows)


def conflict(on: Context) -> Conflict:
    """Two apps need two versions of one library at one path.

    Shared: one container, into which the old app's library is installed and then the new app's, as on
    one machine; then both run. Own: an image for each; both run at the same time. Once: it ends the same
    however often it is done.
    """
    tags = {}
    for app, (version, call) in _APPS.items():
        tags[app] = f"{on.session.name('conflict')}:{version}"
        recipe = f"FROM {images.BUSYBOX}\nCOPY greeting.sh {LIBRARY}\nCMD . {LIBRARY} && {call}\n"
        build(on, tags[app], {"Dockerfile": recipe, "greeting.sh": _LIBRARY[version]})
    script = "".join(f"printf '%s\\n' '{text.strip()}' > {LIBRARY}; " for text in _LIBRARY.values())
    runs = "; ".join(f"said=$(sh -c '. {LIBRARY} && {call}' 2>&1); echo $? $said" for _, call in _APPS.values())
    with contextlib.ExitStack() as both:
        started = {app: both.enter_context(on.container(tag, None, network_mode="none")) for app, tag in tags.items()}
        lines = [line.partition(" ") for line in on.ran(images.BUSYBOX, ["sh", "-c", script + runs]).text.splitlines()]
        shared = {app: Ran(int(code), said) for app, (code, _, said) in zip(_APPS, lines)}
        codes = {app: container.wait(timeout=60)["StatusCode"] for app, container in started.items()}
        own = {app: Ran(codes[app], one.logs().decode().strip()) for app, one in started.items()}
    return Conflict(on.facts, shared, own)


#: A set-up as a handbook has it: twelve steps, each of which the next may need.
SETUP = (
    ("make the application's folder", "mkdir -p /srv/app"),
    ("make a user", "adduser -D -H clerk 2>/dev/null || echo 'clerk:x:1001:1001::/srv/app:/bin/sh' >> /etc/passwd"),
    ("make a folder for data", "mkdir -p /srv/data"),
    ("fill in the first data", "echo 4 4 7 > /srv/data/orders"),
    ("give the data to the user", "chown -R 1001 /srv/data"),
    ("write the configuration", "echo CURRENCY=coins > /etc/app.conf"),
    ("set the time zone", "echo CET-1 > /etc/TZ"),
    ("install the library", "echo 'total() { echo $(($1 + $2 + $3)); }' > /lib/total.sh"),
    ("install the application", "echo '. /lib/total.sh; . /etc/app.conf; total $(cat /srv/data/orders); echo $CURRENCY' > /srv/app/run"),
    ("make it executable", "chmod 755 /srv/app/run"),
    ("put it on the path", "ln -s /srv/app/run /usr/bin/app"),
    ("run it", "sh -eu /usr/bin/app"),
)  # fmt: skip


class SetUp(Result):
    """A written set-up against one run: seconds by step, and what the app says when a step was forgotten."""

    steps: list[float]
    run: list[float]
    forgotten: dict[str, str]
    by_hand: str
    packed: str

    @property
    def broken(self) -> dict[str, bool]:
        """Which forgotten steps break the app: it gives another answer, or none."""
        return {step: said.split() != self.by_hand.split() for step, said in self.forgotten.items()}

    def facts(self) -> str:
        fatal = sum(self.broken.values())
        return (
            f"by hand: {len(self.steps)} steps · packed: 1 run\n"
            f"the same answer: {yes_no(self.by_hand == self.packed and bool(self.packed))}\n"
            f"forgetting one step breaks the app: {fatal} of {len(self.broken)} steps"
        )


def set_up(on: Context, *, n: int | None = None) -> SetUp:
    """Do the written set-up by hand in a bare container; then run an image that has it done.

    Method: each step is one ``docker exec``, timed from request to exit, once. The packed app is timed
    from create to exit, n = 10 (3 where emulated), warm. Forgotten steps: all of it in one go but that step, in
    a new container for each.
    """
    n = rounds(on.facts, n)
    by_hand = packed = ""
    steps: list[float] = []
    run: list[float] = []
    with on.container(on.image(), ["sleep", "600"], network_mode="none") as bare:
        for name, command in SETUP:
            on.say(f"by hand: {name}")
            began = time.perf_counter()
            by_hand = bare.exec_run(["sh", "-c", command]).output.decode().strip()
            steps.append(time.perf_counter() - began)
    lines = "\n".join(command for _, command in SETUP[:-1])
    recipe = f"FROM {images.BUSYBOX}\nCOPY setup.sh /setup.sh\nRUN sh -e /setup.sh\nCMD {SETUP[-1][1]}\n"
    tag = build(on, on.session.name("packed") + ":1", {"Dockerfile": recipe, "setup.sh": lines + "\n"}).tag
    for number in range(n):
        on.say(f"packed: run {number + 1} of {n}")
        began = time.perf_counter()
        packed = on.ran(tag).text.strip()
        run.append(time.perf_counter() - began)
    forgotten = _forgotten(on)
    return SetUp(on.facts, steps, run, forgotten, by_hand, packed)


def _forgotten(on: Context) -> dict[str, str]:
    """For each step but the last: what the app says where it is left out, on one line. All in one container."""
    tests = []
    for left_out in range(len(SETUP) - 1):
        rest = "; ".join(f"({command})" for number, (_, command) in enumerate(SETUP) if number != left_out)
        clean = "rm -rf /srv /etc/app.conf /etc/TZ /lib/total.sh /usr/bin/app"
        tests.append(f"{clean}; ({rest}) 2>&1 | tr '\\n' ' '; echo")
    on.say("by hand again, each time without one step")
    lines = on.ran(images.BUSYBOX, ["sh", "-c", "\n".join(tests)]).text.splitlines()
    return {name: line.strip() for (name, _), line in zip(SETUP, lines)}
