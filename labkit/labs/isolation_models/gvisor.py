"""gVisor: between container and virtual machine, a kernel that is an ordinary program."""

import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import field

from ...course.benchmark import Benchmark, Series, Subject, check_budget, measure
from ...course.context import Context
from ...units import yes_no
from .isolation import RUNC, bundle, spawned
from .isolation_work import timed

GVISOR = "gVisor alone"

_numbers = itertools.count(1)

# Both run the same bundle. gVisor's program comes with a network and control groups of its own, which the
# workshop can't give it. Its platform is its default: systrap since mid-2023, which needs no KVM
# (google/gvisor g3doc/architecture_guide/platforms.md).
_RUN = {
    RUNC: "/usr/bin/runc run --bundle /bundle",
    GVISOR: "/usr/bin/runsc --root=/run/runsc --network=none --ignore-cgroups run --bundle /bundle",
}
_MODELS = {RUNC: "runc", GVISOR: "gVisor"}

#: Single bytes that ``dd`` copies, so that the work takes some tenths of a second in each.
_COUNTS = {RUNC: 400_000, GVISOR: 4_000}


class Sandbox(Benchmark):
    """Times to start as ``series``, microseconds per system call as ``calls``, and which kernel answered where.

    ``kernels`` has the kernel's release by place: ``machine``, and inside with runc and with gVisor.
    """

    calls: list[Series] = field(default_factory=list)
    kernels: dict[str, str] = field(default_factory=dict)

    def facts(self) -> str:
        def same(place: str) -> str:
            return yes_no(self.kernels[place] == self.kernels["machine"])

        return f"the machine's kernel answers inside: with runc: {same(RUNC)} · with gVisor: {same(GVISOR)}" + (
            " (interrupted: partial)" if self.interrupted else ""
        )


def gvisor(on: Context, budget: float = 30.0, *, n: int = 10) -> Sandbox:
    """Run one bundle with runc and with gVisor's ``runsc``, in the workshop: which kernel answers, what does it cost?

    Method: start is timed from asking until the end of ``true`` is known, no network set up, warm. A system
    call: ``dd`` copies single bytes (400,000 with runc, 4,000 with gVisor, an eighth where emulated), two
    calls each; the time, by the clock inside, is divided by their number. Neither has a seccomp filter.
    gVisor catches calls with its default platform, systrap. n = 10 starts and 10 copies each (fewer where
    emulated), in turn.

    Raises:
        NotPossibleHere: there are no Debian packages here.
        LabError: the distribution has no gVisor, or the engine's machine doesn't let it run.
    """
    check_budget(budget)
    emulated = on.facts.emulated
    on.workshop.add("runsc")
    began = time.monotonic()
    release = {"machine": on.workshop.shell("uname -r").strip()}
    release |= {tool: _inside(on, tool, "/bin/busybox uname -r").strip() for tool in _RUN}

    def start(tool: str) -> float:
        return spawned(on, f"{_RUN[tool]} start-{next(_numbers)}", 120)

    def call(tool: str) -> float:
        often = _COUNTS[tool] // (8 if emulated else 1)
        copy = f"/bin/busybox dd if=/dev/zero of=/dev/null bs=1 count={often} 2>/dev/null"
        return timed(functools.partial(_inside, on, tool), copy) / often / 2 * 1e6

    _runs(on, "true")
    starts, _, stopped = measure(_subjects(start, n, emulated), budget / 2)
    calls, _, halted = ([], 0, True) if stopped else measure(_subjects(call, n, emulated), budget / 2)
    method = (
        "One bundle, run in the workshop: start from asking until the end of `true` is known; call: dd copies single bytes, "
        "two system calls each, timed inside. gVisor on systrap, neither with a seccomp filter. Warm, in turn."
    )  # fmt: skip
    return Sandbox(
        on.facts, "gvisor", "Time to start", "s", method, starts, budget, time.monotonic() - began,
        stopped or halted, calls=calls, kernels=release,
    )  # fmt: skip


def _subjects(once: Callable[[str], float], n: int, emulated: bool) -> list[Subject]:
    return [Subject(tool, _MODELS[tool], functools.partial(once, tool), n=n, emulated=emulated) for tool in _RUN]


def _runs(on: Context, script: str) -> None:
    """What the bundle runs from now on: a line of shell."""
    bundle(on, ["/bin/busybox", "sh", "-c", script])


def _inside(on: Context, tool: str, script: str) -> str:
    _runs(on, script)
    return on.workshop.shell(f"{_RUN[tool]} call-{next(_numbers)}", timeout=120)
