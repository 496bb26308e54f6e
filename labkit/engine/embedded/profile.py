"""Where the seconds of one ``docker run`` go on labkit's own engine: on the notebook's side, and by program inside."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import docker
import psutil

from ...errors import NotPossibleHere
from ..base import OwnedEngine

_TRACING = "/sys/kernel/tracing"
_EVENTS = ("sched_switch", "sched_process_exec")

#: Begins with an empty buffer that holds one run, and lets it go afterwards.
_BEGIN = "cd {0}; echo 0 >tracing_on; echo 30000 >buffer_size_kb; {1}; echo >trace; echo 1 >tracing_on"
_END = "cd {0}; echo 0 >tracing_on; cat trace; {1}; echo 1408 >buffer_size_kb"

#: One line of the kernel's trace: processor, time (s), event, and what it says.
_LINE = re.compile(r"\[(\d+)\] \S+ +([\d.]+): (\w+): (.*)")


def profile(engine: OwnedEngine, client: docker.DockerClient, image: str, n: int) -> dict[str, Any]:
    """Run ``docker run IMAGE true`` through a client of the engine, warm, ``n`` times; then once more under the kernel's trace.

    Returns:
        Lists of ``n`` values: seconds of each request by name (``create``, ``start``, ``wait``, ``logs``, ``remove``),
        of ``all`` together, and ``processor``: seconds of QEMU's own processor time. By program, from the one traced
        run: ``on_processor`` (s), ``switches_to`` and ``started``, how often it was; ``per_run`` has what the machine's
        kernel counted: interrupts, context switches, page faults.

    Raises:
        NotPossibleHere: the engine isn't in a machine of this lab's own.
    """
    if engine.kind != "embedded":
        raise NotPossibleHere(
            "Only labkit's own engine is profiled, from inside its machine.",
            next_step="Add --engine embedded",
            engine=engine.endpoint,
        )
    machine = psutil.Process(engine.pid())

    def once() -> dict[str, float]:
        used, begun = machine.cpu_times(), time.perf_counter()
        taken: dict[str, float] = {}

        def timed(name: str, request: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            answer = request()
            taken[name] = time.perf_counter() - began
            return answer

        container = timed("create", lambda: client.containers.create(image, ["true"]))
        for name in ("start", "wait", "logs", "remove"):
            timed(name, getattr(container, name))
        taken["all"] = time.perf_counter() - begun
        now = machine.cpu_times()
        taken["processor"] = now.user + now.system - used.user - used.system
        return taken

    for _ in range(2):
        once()
    before = _counted(engine)
    runs = [once() for _ in range(n)]
    after = _counted(engine)
    engine.shell(_BEGIN.format(_TRACING, _switch(1)))
    try:
        once()
    finally:
        trace = engine.shell(_END.format(_TRACING, _switch(0)), timeout=300)
    return {
        **{name: [run[name] for run in runs] for name in runs[0]},
        **read_trace(trace),
        "per_run": {name: round((after[name] - before[name]) / n) for name in before},
    }


def _switch(on: int) -> str:
    return "; ".join(f"echo {on} >events/sched/{name}/enable" for name in _EVENTS)


def _counted(engine: OwnedEngine) -> dict[str, int]:
    said = engine.shell("grep -E '^(ctxt|intr) ' /proc/stat; grep '^pgfault ' /proc/vmstat")
    names = {"intr": "interrupts", "ctxt": "context switches", "pgfault": "page faults"}
    return {names[line.split()[0]]: int(line.split()[1]) for line in said.splitlines()}


def read_trace(trace: str) -> dict[str, dict[str, float]]:
    """Who was on a processor for how long (s), how often each got one, and how often each program was started."""
    runs: dict[str, tuple[str, float]] = {}
    spent: defaultdict[str, float] = defaultdict(float)
    switches: Counter[str] = Counter()
    started: Counter[str] = Counter()
    for processor, at, event, words in _LINE.findall(trace):
        if event == "sched_process_exec":
            started[re.sub(r".*/", "", re.sub(r"^filename=(\S+) .*", r"\1", words))] += 1
            continue
        name = re.sub(r".*next_comm=(.*) next_pid=.*", r"\1", words)
        if processor in runs:
            last, since = runs[processor]
            spent[last] += float(at) - since
        runs[processor] = (name, float(at))
        switches[name] += 1
    busy = {name: spent[name] for name in sorted(spent, key=spent.__getitem__, reverse=True) if "swapper/" not in name}
    return {"on_processor": busy, "switches_to": dict(switches), "started": dict(started)}
