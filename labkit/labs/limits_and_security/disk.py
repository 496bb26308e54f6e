"""A limit on what a container writes to the disk that holds it."""

import json
import re
from collections.abc import Sequence
from typing import Any

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput
from ...paths import data_file
from ...units import MIB, show_size, size, yes_no
from ...waiting import wait_until

#: Seconds for which a run would write at exactly its limit.
LENGTH = 2.0
#: What one write moves, in bytes.
BLOCK = 128 * 1024
#: What is written without a limit, in bytes.
FREE = 16 * MIB
#: How much faster than its limit a run may look: a period's worth may pass before the limit bites.
TOLERANCE = 1.25

# The disk by its number, and how it is called: a partition is limited by the disk that it is on. What holds the
# container's own files shows in /etc/hosts, which the engine mounts from there.
_LOOK = """
n=$(awk '$5 == "/etc/hosts" { print $3 }' /proc/self/mountinfo); d=/sys/dev/block/$n
[ -e $d/partition ] && d=$d/..
[ -e $d/dev ] && echo "$(cat $d/dev) /dev/$(sed -n s/DEVNAME=//p $d/uevent)"
"""
_FILES = {1: "blkio.throttle.write_bps_device", 2: "io.max"}


class Disk(Result):
    """The disk that holds the engine's containers: its number and path; ``why`` says why it can't be limited."""

    number: str
    path: str
    why: str

    def facts(self) -> str:
        return f"a limit on writing can be tried here: {yes_no(not self.why)}" + (f" ({self.why})" if self.why else "")


class Written(Result):
    """Runs of one writer; ``disk.why`` says why there is none.

    ``runs`` are by limit in bytes a second, None for none: (seconds, bytes so far). ``files`` has what the kernel had
    for each limit.
    """

    disk: Disk
    runs: dict[int | None, list[tuple[float, int]]]
    files: dict[int, str]

    def rate(self, limit: int | None) -> float:
        """Bytes a second of one run, from its first write to its last."""
        return self.runs[limit][-1][1] / self.runs[limit][-1][0]

    @property
    def rates(self) -> dict[int | None, int]:
        """Bytes a second of each run, by its limit."""
        return {limit: round(self.rate(limit)) for limit in self.runs}

    def facts(self) -> str:
        if self.disk.why:
            return self.disk.facts()
        kept = all(re.search(rf"\b{limit}\b", text) for limit, text in self.files.items())
        within = all(self.rate(limit) <= limit * TOLERANCE for limit in self.runs if limit)
        return (
            f"each limit is in the kernel's file ({' or '.join(_FILES.values())}): {yes_no(kept)}\n"
            f"no run was faster than its limit: {yes_no(within)}"
        )


def disk(on: Context) -> Disk:
    """Which disk holds the engine's containers, and whether what they write can be limited."""
    with on.container(images.BUSYBOX, ["sleep", "600"], network_mode="none") as container:
        number, _, path = container.exec_run(["sh", "-c", _LOOK]).output.decode().strip().partition(" ")
        name = {1: _FILES[1], 2: "io.stat"}[on.facts.cgroup_version]
        there = on.observer.cgroup_files(container.id, [name], controller="blkio")["files"]
    if not path:
        return Disk(on.facts, "", "", "the engine keeps containers on no block device of its own machine")
    return Disk(on.facts, number, path, "" if name in there else "its kernel does not limit reading and writing")


def write(on: Context, limits: Sequence[str | int | None] = ("1m", "3m", "8m", None)) -> Written:
    """Write to the disk inside several limits (``--device-write-bps``), None for none.

    Method: a container writes random bytes to its own layer, past the kernel's cache (``O_DIRECT``), in blocks of
    128 KiB, timed inside from the first write to the last; two seconds' worth at each limit, 16 MiB without; a
    container of its own each, once.

    Raises:
        BadInput: a limit below 256 KiB a second.
    """
    wanted = [None if limit is None else size(limit) for limit in limits]
    if any(limit is not None and limit < 2 * BLOCK for limit in wanted):
        raise BadInput("That limit is too small to be seen in a few seconds.", next_step="Ask for 256k or more.")
    found = disk(on)
    runs: dict[int | None, list[tuple[float, int]]] = {}
    files: dict[int, str] = {}
    program = data_file("apps", "limits", "writer.py").read_text()
    for number, limit in enumerate(wanted if not found.why else []):
        on.say("no limit" if limit is None else f"{show_size(limit)} a second", number / len(wanted))
        options: dict[str, Any] = {"network_mode": "none"}
        if limit is not None:
            options["device_write_bps"] = [{"Path": found.path, "Rate": limit}]
        whole = FREE if limit is None else int(limit * LENGTH)
        command = ["python3", "-u", "-c", program, str(whole), str(BLOCK), "/var/written"]
        with on.container(images.PYTHON, command, **options) as container:
            text = wait_until(lambda: container.logs().decode(), 120, "The writer was not done in time.", every=0.1)
            answer = json.loads(text)
            if isinstance(answer, dict):
                return Written(on.facts, Disk(on.facts, found.number, found.path, answer["error"]), {}, {})
            runs[limit] = [(when, done) for when, done in answer]
            if limit is not None:
                name = _FILES[on.facts.cgroup_version]
                files[limit] = on.observer.cgroup_files(container.id, [name], controller="blkio")["files"][name]
    return Written(on.facts, found, runs, files)
