"""Docker on the machine itself against Docker in a virtual machine: two engines, one container."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import psutil

from ...course.benchmark import Benchmark, Subject
from ...course.context import Context
from ...engine import EngineFacts, require_owned
from ...engine.faults import explained
from ...errors import BadInput
from ...units import MIB, yes_no
from .isolation import docker_run

# The container that shares all it can with its engine's machine, and looks how far that reaches.
_LOOK = "cat /proc/sys/kernel/random/boot_id; uname -r; ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm"
# What the engine's processes have of their own, in KiB: without pages of files, which the kernel can drop.
_DAEMONS = (
    "for place in /proc/[0-9]*; do case $(cat $place/comm 2>/dev/null) in dockerd|containerd) "
    "sed -n 's/^Pss_Anon: *\\([0-9]*\\) kB/\\1/p' $place/smaps_rollup 2>/dev/null;; esac; done"
)
_ALL_SHARED: dict[str, Any] = {"pid_mode": "host", "network_mode": "host", "ipc_mode": "host", "uts_mode": "host"}


class TwoEngines(Benchmark):
    """How long the same container takes on each engine, and what one that owns its engine's machine sees.

    ``inside`` is the engine in the virtual machine; ``outer_boot`` and ``inner_boot`` are boot ids of the
    notebook's machine ("" where it doesn't tell) and of the machine that the container saw. ``memory`` is MiB: what
    the second engine's own processes hold, and the whole process of the machine around them.
    """

    inside: EngineFacts | None = None
    outer_boot: str = ""
    inner_boot: str = ""
    inner_kernel: str = ""
    memory: tuple[float, float] = (0.0, 0.0)

    @property
    def subjects(self) -> str:
        return "the engine in a VM, and the one on the machine where there is one"

    def facts(self) -> str:
        return (
            "a container in the virtual machine that shares pid, net, ipc and uts with its engine's machine\n"
            f"sees the virtual machine's kernel: {yes_no(self.inside is not None and self.inner_kernel == self.inside.kernel)}"
            f" · sees the notebook's machine: {yes_no(self.inner_boot == self.outer_boot)}\n"
            f"dockerd and containerd take less memory than the machine around them: {yes_no(self.memory[0] < self.memory[1])}"
        )


def two_engines(on: Context, other: Context, budget: float = 60.0, *, n: int = 10) -> TwoEngines:
    """Run the same container on this engine and on one that the lab owns (``lab.own()``), and compare.

    Method: timed is create, start and wait of ``true`` over the API, without a network; warm,
    in turn, n = 10 on each engine (fewer where emulated). Weighed once, after that, is the engine in the virtual
    machine: what dockerd and containerd hold in there (Pss_Anon), and the resident set of QEMU, which has the guest's
    memory as far as it was touched; on the machine itself an engine needs only the first. The virtual machine's kernel runs without mitigations
    and hardening, whatever the notebook's machine has. Where the lab itself runs on the
    engine in the virtual machine, only that one is measured.

    Raises:
        BadInput: the other engine isn't one in a virtual machine of the lab's own.
    """
    other = getattr(other, "context", other)
    if not other.facts.owned:
        raise BadInput("The second engine must be one that the lab owns.", next_step="Pass lab.own().")
    pairs = [(other, "docker run, engine in a VM", "virtual machine")]
    if other is not on and not on.facts.owned:
        pairs.insert(0, (on, "docker run, engine on the machine", "container"))
    subjects = [
        Subject(label, model, functools.partial(docker_run, context, network_mode="none"), n=n, emulated=context.facts.emulated)
        for context, label, model in pairs
    ]  # fmt: skip
    with explained(other.session.engine.endpoint):
        for context, _, _ in pairs:
            context.image()
        boot, kernel, *_ = other.ran(other.image(), ["sh", "-c", _LOOK], **_ALL_SHARED).text.split()
        own = Path("/proc/sys/kernel/random/boot_id")
        found = TwoEngines.of(
            on.facts, "two-engines", "The same container on two engines", "s",
            "Create, start and wait of `true` over the API, without a network. Warm, in turn.", subjects, budget,
            note="The kernel in the VM boots with mitigations=off and without hardening; the machine's is as it is.",
            inside=other.facts, outer_boot=own.read_text().strip() if own.exists() else "", inner_boot=boot,
            inner_kernel=kernel,
        )  # fmt: skip
        engine = require_owned(other.session.engine)
        inside = sum(int(kib) for kib in engine.shell(_DAEMONS).split()) / 1024
        outside = psutil.Process(engine.pid()).memory_info().rss / MIB
        weighed = (
            f"In the VM the engine's own processes hold {inside:.0f} MiB, the machine around them {outside:.0f} MiB."
        )
        return dataclasses.replace(found, memory=(inside, outside), note=f"{found.note} {weighed}")
