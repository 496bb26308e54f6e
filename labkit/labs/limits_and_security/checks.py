"""Lab 09: what its exercises ask of the engine."""

import re
from typing import Any

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, running
from . import cpu, flags

CONTENT = LabContent.beside(__file__)

#: What Docker leaves to root, by its default: moby ``oci/caps/defaults.go``.
DEFAULT_CAPABILITIES = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT".split()
)

#: What the job of the second exercise takes.
NEEDED = {"CHOWN", "SYS_CHROOT"}


@CONTENT.exercise("quarter")
def quarter(on: Context) -> Outcome:
    quotas = [cpu.read_quota(on, row["Id"]) for row in running(on)]
    limited = [row for row in quotas if row.quota is not None]
    if not limited:
        return not_yet("no container of this session runs inside a quota.", 0 if not quotas else 1)
    right = [row for row in limited if row.quota and row.quota * 4 == row.period]
    if not right:
        return not_yet("a container runs inside a quota, but not inside a quarter of a processor.", 1)
    if not any(row.throttled for row in right):
        return not_yet("a container has that quota, and the kernel has not had to stop it yet.", 2)
    return passed("the kernel has a quarter of a processor for it, and has stopped it at that.")


def capabilities_of(row: dict[str, Any]) -> set[str]:
    """What an inspected container's root starts with, without ``CAP_``; ``{"ALL"}`` for everything."""
    host = row["HostConfig"]
    if host["Privileged"]:
        return {"ALL"}
    drop, add = ({name.upper().removeprefix("CAP_") for name in host[key] or ()} for key in ("CapDrop", "CapAdd"))
    return {"ALL"} if "ALL" in add else (set() if "ALL" in drop else set(DEFAULT_CAPABILITIES - drop)) | add


@CONTENT.exercise("fewest")
def fewest(on: Context) -> Outcome:
    jobs = [row for row in containers(on) if row["Config"]["Cmd"] == flags.job()]
    good = [row for row in jobs if row["State"]["Status"] == "exited" and row["State"]["ExitCode"] == 0]
    if not good:
        return not_yet("no container of this session has done the job yet.", 2 if jobs else 0)
    least = min((capabilities_of(row) for row in good), key=lambda names: len(names) + 99 * ("ALL" in names))
    if least > NEEDED or "ALL" in least:
        count = "all" if "ALL" in least else len(least)
        return not_yet(f"the job is done, with {count} capabilities: fewer are enough.", 1)
    return passed("the job is done with two capabilities, and with fewer it can't be.")


@CONTENT.exercise("hardened")
def hardened(on: Context) -> Outcome:
    rows = [row for row in running(on) if row["HostConfig"]["ReadonlyRootfs"]]
    if not rows:
        return not_yet("no container of this session runs on a read-only file system.", 0)
    found = [on.docker.containers.get(row["Id"]) for row in rows]
    # Process 1 by the kernel's words, whatever flag made it so.
    words = [
        dict(re.findall(r"(\w+):\s+(\d+)", one.exec_run(["cat", "/proc/1/status"]).output.decode())) for one in found
    ]
    ordinary = [(one, word) for one, word in zip(found, words) if word.get("Uid", "0") != "0"]
    if not ordinary:
        return not_yet("its file system is read-only, but its process is root's.", 1)
    able = [word for one, word in ordinary if one.exec_run(["touch", "/scratch/new"]).exit_code == 0]
    if not able:
        return not_yet("its own user can't write to /scratch.", 2)
    if not any(word["NoNewPrivs"] == "1" for word in able):
        return not_yet("it may still gain rights by a setuid program.", 3)
    return passed("an ordinary user, a file system that can't be written, one place that can, and no way up.")
