"""Read-only below, writable above: what containers on one image share, and what a first write costs."""

import json
import re
from dataclasses import dataclass

from docker.models.containers import Container

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...units import MIB, at_least_one, yes_no
from .anatomy import sample_tag
from .building import build

KINDS = {0: "changed", 1: "added", 2: "deleted"}

# One file of the image is appended to, one is new, one is deleted.
_WRITES = "echo changed >> /lib/greeting.sh; echo new > /new.txt; rm /app/app.sh; sleep 600"


@dataclass(frozen=True)
class Side:
    """One of two containers: its changes (path to kind), its mount options and sizes in bytes."""

    name: str
    changes: dict[str, str]
    lower: list[str]
    upper: str
    written: int
    image_size: int


class TwoContainers(Result):
    """Two containers on one image, of which only the first wrote anything."""

    writer: Side
    reader: Side
    reader_sees: str
    mount_line: str

    def facts(self) -> str:
        # The writable layer's files; the folders that hold them count as changed, too.
        changed = [f"{kind} {path}" for path, kind in sorted(self.writer.changes.items()) if "." in path]
        # Below the image's layers lies one more: the engine's own, with /etc/hosts and the like.
        same = set(self.writer.lower[1:]) == set(self.reader.lower[1:]) and len(self.writer.lower) > 1
        return "\n".join(
            [
                f"the writer: {', '.join(changed)}",
                f"the reader: {', '.join(self.reader.changes) or 'no change'}",
                f"the same read-only layers below: {yes_no(same)}",
                f"a writable layer each: {yes_no(self.writer.upper != self.reader.upper and bool(self.writer.upper))}",
                f"the reader still runs the image's own app: {yes_no('container' in self.reader_sees)}",
            ]
        )

    def mount(self) -> str:
        """The writer's root mount, as the kernel tells it, one option a line."""
        return self.mount_line.replace(",", ",\n    ")


def two_containers(on: Context) -> TwoContainers:
    """Start two containers of the sample image; one changes, adds and deletes a file, one only reads.

    Changes come from the engine (``GET /containers/…/changes``), mount options from each container's
    ``/proc/mounts``, sizes from ``GET /containers/json?size=1``.
    """
    tag = sample_tag(on)
    with (
        on.container(tag, ["sh", "-c", _WRITES], network_mode="none") as writer,
        on.container(tag, ["sleep", "600"], network_mode="none") as reader,
    ):
        writer.exec_run(["sh", "-c", "until ! test -e /app/app.sh; do usleep 10000; done"])
        sees = reader.exec_run("/app/app.sh").output.decode()
        return TwoContainers(
            on.facts, _side(on, writer, "writer"), _side(on, reader, "reader"), sees, _root_mount(writer).strip()
        )


def _root_mount(container: Container) -> str:
    return str(container.exec_run(["grep", " / ", "/proc/mounts"]).output.decode())


def _side(on: Context, container: Container, name: str) -> Side:
    line = _root_mount(container)
    lower = re.search(r"lowerdir=([^,\s]+)", line)
    upper = re.search(r"upperdir=([^,\s]+)", line)
    api = on.docker.api
    changes = {row["Path"]: KINDS[row["Kind"]] for row in api.diff(container.id) or []}
    [row] = api.containers(size=True, filters={"id": container.id})
    written = row.get("SizeRw", 0)
    return Side(
        name, changes, lower[1].split(":") if lower else [], upper[1] if upper else "", written,
        row.get("SizeRootFs", 0) - written,
    )  # fmt: skip


class CopyUp(Result):
    """Seconds for writing one byte into a file of the image: the first time and the second, by file size in bytes.

    ``size_rw`` is what the engine says that the last container's writable layer holds, in bytes.
    """

    first: dict[int, list[float]]
    second: dict[int, list[float]]
    size_rw: int

    def facts(self) -> str:
        whole = self.size_rw >= sum(self.first)
        return f"one byte written · the whole file is now in the writable layer: {yes_no(whole)}"


_TIMED = """
import json, os, time
for size in {sizes}:
    row = []
    for turn in 1, 2:
        begin = time.perf_counter()
        with open(f"/data/{{size}}", "r+b", buffering=0) as file:
            file.write(b"x")
        row.append(time.perf_counter() - begin)
    print(json.dumps([size, *row]))
"""


def copy_up(on: Context, sizes: tuple[int, ...] = (1, 8, 32), *, n: int | None = None) -> CopyUp:
    """Time the first and the second write of one byte into files (MiB) that lie in the image.

    Method: a new container each round; inside it a Python program opens each file, writes one byte
    and closes it, twice; ``time.perf_counter`` around the three. Files were made by a build just
    before, so they are in the page cache (warm). n rounds, 5 or, emulated, 2.
    """
    n = (2 if on.facts.emulated else 5) if n is None else n
    at_least_one(n=n)
    made = "; ".join(f"dd if=/dev/zero of=/data/{size} bs=1M count={size} 2>/dev/null" for size in sizes)
    tag = f"{on.session.name('copyup')}:1"
    build(on, tag, {"Dockerfile": f"FROM {images.PYTHON}\nRUN mkdir /data; {made}\n"})
    first: dict[int, list[float]] = {size * MIB: [] for size in sizes}
    second: dict[int, list[float]] = {size * MIB: [] for size in sizes}
    for _ in range(n):
        with on.container(tag, ["python3", "-c", _TIMED.format(sizes=list(sizes))], network_mode="none") as box:
            box.wait(timeout=120)
            rows = [json.loads(line) for line in box.logs().decode().splitlines()]
            [sizes_now] = on.docker.api.containers(all=True, size=True, filters={"id": box.id})
        for size, one, two in rows:
            first[size * MIB].append(one)
            second[size * MIB].append(two)
    on.docker.api.remove_image(tag)
    return CopyUp(on.facts, first, second, sizes_now.get("SizeRw", 0))
