"""The classic builder, by docker-py: for an engine without BuildKit (Podman), or where no command line can be had."""

import contextlib
import io
import re
import tarfile
import time
from collections.abc import Mapping

from docker.errors import APIError, DockerException
from docker.utils.build import PatternMatcher

from ...course.context import Context
from ...errors import NotPossibleHere
from .buildkit import Account, Step, mode

#: Instructions that BuildKit takes no step for: they only change the image's configuration.
_SETTINGS = re.compile(
    r"(ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b", re.I
)


def context_archive(files: Mapping[str, bytes], *, mtime: int) -> io.BytesIO:
    """The build context as a tar with fixed times, owners and order; without what ``.dockerignore`` names."""
    lines = [line.strip() for line in files.get(".dockerignore", b"").decode().splitlines()]
    ignored = PatternMatcher([line for line in lines if line and not line.startswith("#")])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(files):
            if name != "Dockerfile" and ignored.matches(name):
                continue
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(files[name]), mtime, mode(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    buffer.seek(0)
    return buffer


def run(
    on: Context, tag: str, files: Mapping[str, bytes], *, cache: bool, mtime: int, arguments: Mapping[str, str],
    secrets: Mapping[str, str],
) -> Account:  # fmt: skip
    """Build by the Engine API alone.

    Raises:
        NotPossibleHere: with secrets, which this builder does not know.
    """
    if secrets:
        raise NotPossibleHere("There is no BuildKit here, and a build secret is BuildKit's.")
    reader, context = _Reader(), context_archive(files, mtime=mtime)
    try:
        stream = on.docker.api.build(
            fileobj=context, custom_context=True, tag=tag, nocache=not cache,
            rm=True, forcerm=True, network_mode="none", buildargs=dict(arguments), decode=True,
        )  # fmt: skip
        for line in stream:
            reader.take(line)
    except APIError as refusal:  # what can't be read is refused before any step
        return Account([], (refusal.explanation or str(refusal)).strip())
    except BaseException:
        _forget(on, reader)
        raise
    if reader.error:
        _forget(on, reader)
        # The lab's own labels stand at the end: no step that anybody wrote.
        total = max(reader.total - len(on.docker.lab_labels) - 1, reader.number)
        return Account(reader.steps, reader.error, reader.instruction, reader.number, total, reader.output)
    reader.close()
    steps = [step for step in reader.steps if not _SETTINGS.match(step.instruction)]
    return Account(steps, context=context.getbuffer().nbytes)


class _Reader:
    """Understands the classic builder's answer, line by line."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.images: list[str] = []
        self.number = self.total = 0
        self.instruction = self.error = self.output = ""
        self.cached = False
        self.began = 0.0

    def take(self, line: dict[str, str]) -> None:
        if "error" in line:
            self.error = line["error"].strip().rstrip(".")
            return
        text = line.get("stream", "")
        found = re.match(r"step (\d+)/(\d+) ?: (.*)", text, re.I)
        if found:
            self.close()
            self.number, self.total, self.instruction = int(found[1]), int(found[2]), found[3].strip()
            self.began, self.cached, self.output = time.perf_counter(), False, ""
        elif "Using cache" in text:
            self.cached = True
        elif re.match(r" ---> [0-9a-f]{12}$", text.strip("\n")):
            self.images.append(text.split()[-1])
        elif not re.match(r" ---> |Removing intermediate|Success", text):
            self.output += text

    def close(self) -> None:
        if self.instruction:
            self.steps.append(Step(self.instruction, self.cached, time.perf_counter() - self.began, self.output))
            self.instruction = ""


def _forget(on: Context, reader: _Reader) -> None:
    """Remove what an unfinished build leaves: images without a name or label, newest first."""
    for identifier in reversed(reader.images):
        with contextlib.suppress(APIError, DockerException):
            if not on.docker.api.inspect_image(identifier)["RepoTags"]:
                on.docker.api.remove_image(identifier)
