"""A pipeline that really builds, tests, pushes, stages, gates and releases a small service.

Each stage is a call on the engine or the registry; a stage that fails stops those behind it.
The artifact is an image, and from the push on it is known by its digest only.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from docker.errors import NotFound

from ...course.context import Context
from ...course.result import Result
from ...engine.faults import explained
from ...errors import BadInput, LabError
from ...images.archive import sha256
from ...observe.visitor import Reply
from ...units import yes_no
from ...waiting import wait_until
from ..images_and_registries import registry as registries
from ..images_and_registries.building import build
from ..images_and_registries.samples import source

STAGES = ("source", "build", "test", "push", "staging", "smoke", "gate", "production")
REPOSITORY = "tea"
MODES = ("delivery", "deployment")

Watch = Callable[["StageRun"], None]


@dataclass(frozen=True)
class StageRun:
    """One stage: ``state`` is passed, failed, waiting, skipped or running; times in seconds since the commit."""

    name: str
    state: str
    began: float = 0.0
    seconds: float = 0.0
    words: str = ""


class Release(Result):
    """One run of the pipeline.

    ``digest`` is the artifact's in the registry ("" when none was pushed); ``staging`` and
    ``production`` are the digests that the running containers were made from. ``committed`` is when it
    began, in seconds of ``time.perf_counter``: a person's wait at the gate is part of the lead time.
    """

    mode: str
    source_digest: str
    stages: list[StageRun]
    digest: str = ""
    staging: str = ""
    production: str = ""
    committed: float = 0.0

    def stage(self, name: str) -> StageRun:
        """One stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def released(self) -> bool:
        """Whether it reached production."""
        return self.stage("production").state == "passed"

    def facts(self) -> str:
        rows = [
            f"{stage.name:<11} {stage.state}"
            + (f" ({stage.words})" if stage.state in ("failed", "waiting") and stage.words else "")
            for stage in self.stages
        ]
        rows.append(f"an artifact reached the registry: {yes_no(bool(self.digest))}")
        if self.released:
            same = self.digest == self.staging == self.production
            rows.append(f"one digest in registry, staging and production: {yes_no(same)}")
        return "\n".join(rows)


def tea(version: str = "1", **changed: str) -> dict[str, str]:
    """The sample service's files, with this version in its code; change any before you run the pipeline."""
    files = source("tea", **changed)
    files["app.py"] = files["app.py"].replace('VERSION = "1"', f'VERSION = "{version}"')
    return files


def broken(version: str = "2") -> dict[str, str]:
    """The same service with a mistake that its tests find: the tenth cup is no longer free."""
    files = tea(version)
    files["app.py"] = files["app.py"].replace("count - count // 10", "count")
    return files


class _Stopped(Exception):
    """A stage failed: what is behind it is skipped."""


class _Run:
    """One run in progress: calls the stages in order and keeps what each did."""

    def __init__(self, on: Context, files: Mapping[str, str], mode: str, watch: Watch | None):
        self.on, self.files, self.mode = on, dict(files), mode
        self.watch = watch or (lambda stage: None)
        self.began = time.perf_counter()
        self.stages: dict[str, StageRun] = {name: StageRun(name, "skipped") for name in STAGES}
        self.source_digest = self.digest = self.staging = self.production = ""

    def say(self, stage: StageRun) -> None:
        self.stages[stage.name] = stage
        self.watch(stage)

    def do(self, name: str, action: Callable[[], str]) -> None:
        start = time.perf_counter()
        self.on.say(f"stage {STAGES.index(name) + 1} of {len(STAGES)}: {name}")
        self.say(StageRun(name, "running", start - self.began))
        try:
            with explained(self.on.session.engine.endpoint):
                words, state = action(), "passed"
        except LabError as fault:
            words, state = fault.what, "failed"
        seconds = time.perf_counter() - start
        self.say(StageRun(name, state, start - self.began, seconds, words))
        if state == "failed":
            raise _Stopped

    def result(self) -> Release:
        return Release(
            self.on.facts, self.mode, self.source_digest, list(self.stages.values()), self.digest, self.staging,
            self.production, self.began,
        )  # fmt: skip

    # The stages.

    def read_source(self) -> str:
        whole = "".join(f"{name}\0{len(text)}\0{text}" for name, text in sorted(self.files.items()))
        self.source_digest = sha256(whole.encode())
        self.tag = f"{self.on.session.name('tea')}:{self.source_digest[7:19]}"
        return "the files' digest"

    def build(self) -> str:
        build(self.on, self.tag, self.files, cache=False)
        return "an image"

    def test(self) -> str:
        code, text = self.on.ran(self.tag, ["python3", "-m", "unittest", "-q"])
        lines = [line for line in text.splitlines() if line.startswith(("FAIL", "ERROR"))]
        if code:
            raise LabError("; ".join(lines) or f"the tests ended with status {code}")
        return "tests inside the artifact"

    def integrate(self) -> None:
        """The stages of continuous integration."""
        self.do("source", self.read_source)
        self.do("build", self.build)
        self.do("test", self.test)

    def push(self) -> str:
        registry = registries.start(self.on)
        self.digest = registry.push(self.tag, REPOSITORY, "candidate").digest
        return "known by its digest from here on"

    def deploy(self, place: str) -> str:
        reference = registries.start(self.on).pull(REPOSITORY, self.digest)
        deploy(self.on, place, reference)
        running = running_digest(self.on, place)
        setattr(self, place, running)
        return "the same digest"

    def smoke(self) -> str:
        reply = call(self.on, "staging", "/price?count=10")
        if reply.status != 200 or reply.json()["total"] != 36:
            said = reply.text().strip() if reply.status == 200 else reply.status or reply.error
            raise LabError(f"ten cups should cost 36; staging answered {said}")
        return "it answers, and rightly"


def run(
    on: Context, files: Mapping[str, str] | None = None, *, mode: str = "delivery", watch: Watch | None = None
) -> Release:
    """Run the pipeline: source, build, test, push, staging, smoke test, gate, production.

    Args:
        files: the service's source; :func:`tea` by default.
        mode: ``"delivery"`` stops at the gate until a person approves; ``"deployment"`` goes on by itself.
        watch: called with each stage as it begins and ends.

    Raises:
        BadInput: no such mode.
    """
    if mode not in MODES:
        raise BadInput(f"{mode!r} is no mode.", next_step=f"Choose one of: {', '.join(MODES)}.")
    with contextlib.suppress(_Stopped):
        registries.start(on)  # it runs before any commit: its start is no part of a stage
        on.visitor(place_network(on))
        ours = _Run(on, tea() if files is None else files, mode, watch)
        ours.integrate()
        ours.do("push", ours.push)
        ours.do("staging", lambda: ours.deploy("staging"))
        ours.do("smoke", ours.smoke)
        if mode == "delivery":
            ours.say(StageRun("gate", "waiting", time.perf_counter() - ours.began, words="for a person"))
        else:
            ours.do("gate", lambda: "open: released automatically")
            ours.do("production", lambda: ours.deploy("production"))
    return ours.result()


def checked(on: Context, files: Mapping[str, str]) -> Release:
    """Run the first three stages only, source, build and test: what continuous integration does with every merge."""
    ours = _Run(on, files, "delivery", None)
    with contextlib.suppress(_Stopped):
        ours.integrate()
    return ours.result()


def approve(on: Context, release: Release, *, watch: Watch | None = None) -> Release:
    """A person says yes: the digest that was staged goes to production.

    Raises:
        BadInput: nothing waits at this release's gate.
    """
    if release.stage("gate").state != "waiting":
        raise BadInput("Nothing waits at the gate.", next_step="Run the pipeline with mode='delivery' first.")
    ours = _Run(on, {}, release.mode, watch)
    ours.stages = {stage.name: stage for stage in release.stages}
    ours.source_digest, ours.digest, ours.staging = release.source_digest, release.digest, release.staging
    waited = release.stage("gate")
    ours.began = release.committed
    waits = time.perf_counter() - ours.began - waited.began
    ours.say(replace(waited, state="passed", seconds=waits, words="a person approved"))
    with contextlib.suppress(_Stopped):
        ours.do("production", lambda: ours.deploy("production"))
    return ours.result()


class Rebuilt(Result):
    """The same source built once more: is it the same artifact? Digests of both artifacts and of both sources."""

    staged: str
    again: str
    staged_source: str
    again_source: str

    @property
    def same_source(self) -> bool:
        """Whether both were built from the same files."""
        return self.staged_source == self.again_source

    def facts(self) -> str:
        return (
            f"same source: {yes_no(self.same_source)} · "
            f"same digest as the tested artifact: {yes_no(self.staged == self.again)}"
        )


def rebuilt(on: Context, release: Release, files: Mapping[str, str] | None = None) -> Rebuilt:
    """Build the same source again, push it, and compare its digest with the one that was tested."""
    second = _Run(on, tea() if files is None else files, release.mode, None)
    second.read_source()
    second.build()
    again = registries.start(on).push(second.tag, REPOSITORY, "rebuilt").digest
    return Rebuilt(on.facts, release.digest, again, release.source_digest, second.source_digest)


# The places where it runs.


def place_network(on: Context) -> str:
    """The network of staging and production; made when missing."""
    name = on.session.name("delivery-net")
    try:
        on.docker.api.inspect_network(name)
    except NotFound:
        on.docker.networks.create(name)
    return name


def deploy(on: Context, place: str, reference: str) -> None:
    """Replace what runs in a place by a container of this image, and wait until it is healthy.

    Raises:
        LabError: it ended at once or does not answer.
    """
    name = on.session.name(place)
    on.free(name)
    container = on.docker.containers.create(reference, name=name, hostname=place, network=place_network(on))
    container.start()

    def healthy() -> bool:
        if call(on, place, "/health").status == 200:
            return True
        container.reload()
        if container.status == "exited":
            last = container.logs(tail=1).decode("utf-8", "replace").strip()
            raise LabError(f"{place} ended at once: {last}")
        return False

    wait_until(healthy, 60, f"{place} does not answer /health")


def call(on: Context, place: str, path: str) -> Reply:
    """An HTTP GET to what runs in a place, from inside its network."""
    network = place_network(on)
    try:
        container = on.docker.containers.get(on.session.name(place))
    except NotFound:
        return Reply(0, {}, b"", 0.0, f"nothing runs in {place}")
    address = container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    if not address:  # what has ended has none
        return Reply(0, {}, b"", 0.0, f"{place} is {container.status}")
    return on.visitor(network).get(f"http://{address}:8000{path}", timeout=10)


def running_digest(on: Context, place: str) -> str:
    """The digest that the container in a place was made from; "" where nothing runs or it was made from a tag."""
    try:
        row = on.docker.api.inspect_container(on.session.name(place))
    except NotFound:
        return ""
    return row["Config"]["Image"].partition("@")[2] if row["State"]["Running"] else ""
