"""Lab 08: what its exercises ask of the engine."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, events_of, oom_killed
from ...units import MIB
from . import oom_cases

CONTENT = LabContent.beside(__file__)

#: The engine's event where somebody had it send SIGKILL.
KILLED = {("kill", "9"), ("kill", "SIGKILL")}


@CONTENT.exercise("smallest-limit")
def smallest_limit(on: Context) -> Outcome:
    job = oom_cases.job(on)
    tried = [row for row in containers(on) if row["Config"]["Cmd"] == job and row["HostConfig"]["Memory"]]
    good = [row for row in tried if row["State"]["Status"] == "exited" and row["State"]["ExitCode"] == 0]
    if not good:
        return not_yet("no container of this session has finished the job inside a limit yet.", 0)
    best = min(good, key=lambda row: row["HostConfig"]["Memory"])
    limit = best["HostConfig"]["Memory"]
    if best["HostConfig"]["MemorySwap"] != limit:
        return not_yet("the container that did it may also use swap, so its limit says little.", 2)
    # Not what was typed decides, but the engine: with a little more it must finish (a limit can be changed after the
    # run), with three MiB less it must not (two are allowed).
    if not _finishes(on, limit + MIB):
        return not_yet("the job does not finish inside that limit now: was the limit changed after the run?", 0)
    if _finishes(on, max(limit - 3 * MIB, 6 * MIB)):
        return not_yet("the job also finishes with 3 MiB less: a smaller limit is possible.", 1)
    return passed("the job finishes inside this limit, and is killed with 3 MiB less.")


def _finishes(on: Context, limit: int) -> bool:
    return on.ran(on.image(), oom_cases.job(on), timeout=60, mem_limit=limit, memswap_limit=limit).code == 0


@CONTENT.exercise("same-code")
def same_code(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited" and row["State"]["ExitCode"] == 137]
    if not ended:
        return not_yet("no container of this session has ended with exit code 137.", 0)
    # A child of the main process may have run out of memory before somebody killed the main process itself.
    causes = {oom_killed(on, row) and not KILLED & set(events_of(on, row)) for row in ended}
    if causes == {True}:
        return not_yet("all that ended with 137 ran out of memory; the other cause is missing.", 1)
    if causes == {False}:
        return not_yet("none that ended with 137 did so because it ran out of memory.", 0)
    return passed("exit code 137 twice, and only one of them ran out of memory.")


@CONTENT.exercise("survivor")
def survivor(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited"]
    killed = [row for row in ended if oom_killed(on, row)]
    if not killed:
        return not_yet("in no container of this session has the OOM killer struck.", 0)
    if not any(row["State"]["ExitCode"] == 0 for row in killed):
        # The engine hears of a kill from the shim, which may be gone before it has told: seen on a busy machine.
        return not_yet(
            "the OOM killer struck where the container did not end with 0. Its main process died too; or it ended "
            "before the engine was told of the kill: let it live a second longer.", 1,
        )  # fmt: skip
    return passed("a process was killed, and the container still ended with exit code 0.")
