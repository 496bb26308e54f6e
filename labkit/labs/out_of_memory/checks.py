"""Lab 08: predictions, exercises and quiz."""

from __future__ import annotations

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import containers, oom_killed
from ...engine.faults import explained
from ...units import MIB
from . import oom_cases

CONTENT = LabContent("08-out-of-memory")

CONTENT.prediction(
    "full",
    "A process keeps growing inside a limit of 32 MiB, on a machine with plenty of free memory. "
    "What happens at 32 MiB?",
    (
        "Its next allocation fails and the program can react",
        "The kernel kills a process in the container",
        "The machine slows down until everything is full",
    ),
    1,
    "The limit is the cgroup's, so the cgroup runs out of memory while the machine is nearly idle. "
    "Linux hands out memory when it is touched, so no allocation is left that could fail: the OOM killer ends it.",
)
CONTENT.prediction(
    "child",
    "Now a child of the main process grows. What becomes of the container when the child is killed?",
    (
        "It ends at once with exit code 137",
        "It goes on, and ends when its main process ends",
        "The engine restarts it",
    ),
    1,
    "A container lives as long as its main process. The kernel chose the child, the biggest one; process 1 lives on.",
)
CONTENT.prediction(
    "code",
    "A container ended with exit code 137. What do you know for sure?",
    (
        "It ran out of memory",
        "Its main process got SIGKILL, from whomever",
        "It used 137 MiB",
    ),
    1,
    "137 is 128 + 9, and 9 is SIGKILL. `docker kill` sends it just as well as the OOM killer does.",
)
CONTENT.prediction(
    "parent",
    "Three containers have no limit of their own, but share a parent with one. "
    "`greedy` fills it; `small` was offered to the killer with a high `--oom-score-adj`. Who is killed?",
    ("greedy, it is the biggest", "small, it was offered", "all three, the limit is theirs together"),
    1,
    "The kernel compares scores: memory in use plus the adjustment. "
    "800 of 1000 adds four fifths of the limit to small's score.",
)

CONTENT.ask(
    "flag",
    "A container's State.OOMKilled is true and its exit code is 0. Is that possible?",
    (
        "No, a killed container has exit code 137",
        "Yes: a child was killed, the main process ended well",
        "Only on cgroup v1",
    ),
    1,
    "The flag says that a process in the container was killed since its last start, not which one.",
)
CONTENT.ask(
    "swap",
    "What does `--memory 64m --memory-swap 64m` mean?",
    ("64 MiB of memory and 64 MiB of swap", "64 MiB of memory and no swap", "128 MiB of memory"),
    1,
    "--memory-swap is the sum of both. The same number for both leaves nothing for swap.",
)
CONTENT.ask(
    "trust",
    "Flag, exit code, event, cgroup counter, kernel log: two of them disagree. Which one decides?",
    ("State.OOMKilled", "The exit code", "The cgroup's oom_kill counter"),
    2,
    "The kernel itself counts there. The engine's flag has been wrong on some versions, and 137 has many senders.",
)
CONTENT.ask(
    "stats",
    "Why can a container be OOM-killed while `docker stats` never showed it near its limit?",
    (
        "docker stats leaves out the page cache",
        "docker stats looks once a second; a process can grow and die in between",
        "docker stats shows the machine's memory",
    ),
    1,
    "One look a second: a run of a few hundred milliseconds may get none at all.",
)
CONTENT.ask(
    "inspect",
    "`docker inspect busybox -f '{{.State.OOMKilled}}'` — what must busybox be for this to work?",
    ("An image", "A container", "Either"),
    1,
    "Only a container has a State; an image is a template and never ran.",
)


@CONTENT.exercise(
    "smallest-limit",
    "The smallest limit",
    "Run `lab.oom.job()` as a container's command with some `mem_limit`, and look at its exit code. "
    "Keep the container: no `remove=True`.",
    "Halve the gap: a limit that works is the upper end, one that fails is the lower end.",
    "Give `memswap_limit` the same value as `mem_limit`, or swap may help the job on machines that have it.",
)
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
    # Not what was typed decides, but the engine: two MiB less must not be enough.
    less = max(limit - 2 * MIB, 6 * MIB)
    options = {"mem_limit": less, "memswap_limit": less, "network_mode": "none"}
    with explained(on.session.engine.endpoint), on.container(on.image(), job, **options) as container:
        status = container.wait(timeout=60)["StatusCode"]
    if status == 0:
        return not_yet("the job also finishes with 2 MiB less: a smaller limit is possible.", 1)
    return passed("the job finishes inside this limit, and is killed with 2 MiB less.")


@CONTENT.exercise(
    "same-code",
    "One code, two causes",
    "One container must be killed by the OOM killer, the other by you.",
    "For the second one, start something that sleeps, then call its `kill()`.",
    "Keep both containers: `lab.docker.containers.run(…, detach=True)`, and no `remove=True`.",
)
def same_code(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited" and row["State"]["ExitCode"] == 137]
    if not ended:
        return not_yet("no container of this session has ended with exit code 137.", 0)
    causes = {oom_killed(on, row) for row in ended}
    if causes == {True}:
        return not_yet("all that ended with 137 ran out of memory; the other cause is missing.", 1)
    if causes == {False}:
        return not_yet("all that ended with 137 were killed by hand; the OOM killer is missing.", 0)
    return passed("exit code 137 twice, and only one of them ran out of memory.")


@CONTENT.exercise(
    "survivor",
    "The survivor",
    "A child must be killed, so the main process has to be a small one that waits: a shell.",
    'In `sh -c "big thing; echo still here"`, the shell is the main process and the big thing its child.',
    "`tail /dev/zero` grows without end: `sh -c 'tail /dev/zero; true'` with `mem_limit=memswap_limit='16m'`.",
)
def survivor(on: Context) -> Outcome:
    ended = [row for row in containers(on) if row["State"]["Status"] == "exited"]
    killed = [row for row in ended if oom_killed(on, row)]
    if not killed:
        return not_yet("in no container of this session has the OOM killer struck.", 0)
    if not any(row["State"]["ExitCode"] == 0 for row in killed):
        return not_yet("the OOM killer struck, but the container did not end with 0: its main process died too.", 1)
    return passed("a process was killed, and the container still ended with exit code 0.")
