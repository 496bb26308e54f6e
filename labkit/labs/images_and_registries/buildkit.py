"""BuildKit, as a learner calls it: ``docker build``, and its own account of each step, read line by line."""

import base64
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from ...course.context import Context
from ...engine.client import build_labels
from ...files import Temporary

#: Its command: no network, and one manifest for one platform (buildx adds attestations otherwise, and an index).
_COMMAND = ("build", "--progress=rawjson", "--network=none", "--provenance=false")

#: A step's name in the account: ``[stage 2/5] COPY a /a``; the stage is left out where there is only one.
_STEP = re.compile(r"\[\s*(?:(\S+)\s+)?(\d+)/(\d+)\] (.*)", re.S)


@dataclass(frozen=True)
class Step:
    """One step of a build: an instruction that works on the file system, as the engine worked on it.

    FROM, RUN, COPY, ADD and WORKDIR are steps. ENV, CMD, LABEL and the like only change the image's
    configuration, and BuildKit takes none for them.

    ``cached``: the engine reused an earlier result; ``seconds``: how long it worked on it; ``output``: what the
    step's program wrote.
    """

    instruction: str
    cached: bool
    seconds: float
    output: str = ""


@dataclass(frozen=True)
class Account:
    """What a builder said: the steps in the Dockerfile's order, and where it failed, how.

    ``error`` is "" where it did not fail; ``failed`` then names the step, ``number`` of ``total`` in its stage,
    and ``output`` is what that step wrote. ``failed`` is "" where it was no step that failed. ``context`` are the bytes
    of the build context that were sent.
    """

    steps: list[Step]
    error: str = ""
    failed: str = ""
    number: int = 0
    total: int = 0
    output: str = ""
    context: int = 0


def command_line(on: Context) -> str | None:
    """The ``docker`` program that builds with BuildKit on this engine; None where there is none.

    Podman's compatible API has no BuildKit; a ``docker`` may have come without buildx.
    """
    engine = on.session.engine
    program = None if on.facts.compatible_api else engine.cli_path()
    return program if program and _has_buildx(program, engine.process_environment()["DOCKER_CONFIG"]) else None


@lru_cache
def _has_buildx(program: str, settings: str) -> bool:
    done = subprocess.run(
        [program, "build", "--help"], env={**os.environ, "DOCKER_CONFIG": settings}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=60,
    )  # fmt: skip
    return "rawjson" in done.stdout


def run(
    on: Context, tag: str, files: Mapping[str, bytes], *,
    program: str, cache: bool, mtime: int, arguments: Mapping[str, str], secrets: Mapping[str, str],
) -> Account:  # fmt: skip
    """Build with the command line: the files in a folder, each with this time stamp.

    What is reused is found by content, whoever built it: the newest of equal results.
    """
    on.session.show_life()
    words = [program, *_COMMAND, "--tag", tag, *([] if cache else ["--no-cache"])]
    for option, pairs in (("--label", build_labels(on.docker.lab_labels)), ("--build-arg", arguments)):
        words += [word for key, value in pairs.items() for word in (option, f"{key}={value}")]
    # A secret's way is the client's environment: neither a file nor a word that the process list shows.
    hidden = {f"LABKIT_BUILD_SECRET_{place}": text for place, text in enumerate(secrets.values())}
    words += [word for key, name in zip(secrets, hidden) for word in ("--secret", f"id={key},env={name}")]
    environment = {**on.session.engine.process_environment(), "DOCKER_BUILDKIT": "1", **hidden}
    with _folder(files, mtime) as folder:
        # In a session of its own: an interrupt reaches it once, by way of this process.
        client = subprocess.Popen(
            [*words, folder], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        with client:
            try:
                account = read(client.stderr or (), _stages(files["Dockerfile"].decode("utf-8", "replace")))
            except BaseException:
                client.terminate()
                raise
    if client.returncode and not account.error:
        return Account(account.steps, f"{' '.join(words[:2])} ended with status {client.returncode}")
    return account


@contextlib.contextmanager
def _folder(files: Mapping[str, bytes], mtime: int) -> Iterator[str]:
    with Temporary() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode(content))
        for root, _, names in os.walk(folder, topdown=False):
            for name in [*names, "."]:
                os.utime(os.path.join(root, name), (mtime, mtime))
            if root != folder:
                os.chmod(root, 0o755)
        yield folder


def mode(content: bytes) -> int:
    """A file's mode in a build context: a program may be executed."""
    return 0o755 if content[:4] == b"\x7fELF" else 0o644


def _stages(recipe: str) -> list[str]:
    """The stages' names as BuildKit calls them, in order."""
    found = re.findall(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*\S+(?:[ \t]+AS[ \t]+(\S+))?", recipe, re.M | re.I)
    return [name.lower() or f"stage-{number}" for number, name in enumerate(found)]


@dataclass
class _Vertex:
    name: str
    seconds: float = 0.0
    cached: bool = False
    error: str = ""
    output: bytes = field(default=b"")


def read(lines: Iterable[str], stages: list[str]) -> Account:
    """Understand what ``docker build --progress=rawjson`` writes: a line of JSON for each change of a step."""
    seen: dict[str, _Vertex] = {}
    last, context = "", 0
    for line in lines:
        if not line.startswith("{"):
            last = line.removeprefix("ERROR: ").strip() if line.startswith("ERROR: ") else last
            continue
        change = json.loads(line)
        for row in change.get("vertexes") or []:
            vertex = seen.setdefault(row["digest"], _Vertex(row["name"]))
            vertex.cached = row.get("cached", False)
            vertex.error = row.get("error", "")
            if "completed" in row:
                vertex.seconds = _time(row["completed"]) - _time(row["started"])
        for row in change.get("statuses") or []:
            if row["id"].startswith("transferring context"):
                context = max(context, row.get("current", 0))
        for row in change.get("logs") or []:
            seen[row["vertex"]].output += base64.b64decode(row.get("data") or "")
    return replace(_account(list(seen.values()), stages, last), context=context)


def _time(text: str) -> float:
    """An RFC 3339 time with any number of digits, in seconds."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).timestamp() + float(f"0.{rest or 0}")


def _account(vertices: list[_Vertex], stages: list[str], last: str) -> Account:
    placed = []
    failed, where = None, None
    for vertex in vertices:
        step = _STEP.fullmatch(vertex.name)
        # What was given up because another one failed is not the cause.
        if vertex.error and "context canceled" not in vertex.error and failed is None:
            failed, where = vertex, step
        if step:
            stage = stages.index(step[1]) if step[1] in stages else 0
            # The base is there before: whether BuildKit calls it cached is another word from version to version.
            base = step[4].startswith("FROM ")
            placed.append(((stage, int(step[2])), Step(
                _written(step[4]), vertex.cached and not base, 0.0 if vertex.cached else vertex.seconds,
                vertex.output.decode("utf-8", "replace"),
            )))  # fmt: skip
    steps = [step for _, step in sorted(placed, key=lambda pair: pair[0])]
    if failed is None:
        return Account(steps, _plain(last))
    if where is None:
        return Account(steps, _plain(failed.error))
    output = failed.output.decode("utf-8", "replace")
    return Account(steps, _plain(failed.error), _written(where[4]), int(where[2]), int(where[3]), output)


def _written(words: str) -> str:
    """An instruction as it was written: BuildKit spells a base's name out."""
    return re.sub(r"^FROM docker\.io/(?:library/)?([^\s@]+)(?:@\S+)?", r"FROM \1", words)


def _plain(error: str) -> str:
    """BuildKit's words without the layers of its own that they came through."""
    error = re.sub(r"^(failed to build: |failed to solve: |rpc error: code = \w+ desc = )+", "", error)
    error = re.sub(r"^failed to solve with frontend \S+: failed to create LLB definition: ", "", error)
    error = re.sub(r"failed to (?:compute cache key: failed to )?calculate checksum of ref \S+ ", "", error)
    return error.strip().rstrip(".")
