"""``labkit bench``: measure, and record with the machine's facts."""

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from ..course import benchmark
from ..course.context import Context
from ..engine.base import require_owned
from ..engine.dockercli import command_line
from ..engine.faults import explained
from ..errors import BadInput
from ..labs.engine_architecture import xray
from ..labs.isolation_models import gvisor, isolation_disk
from ..labs.isolation_models.two_engines import two_engines as two_engines_of
from ..labs.out_of_memory import oom
from ..labs.start_here import first
from ..labs.what_docker_solves.promises import second_engine
from .common import add_engine, add_json, opened, say, tell

#: What a benchmark found: a row of numbers, or rows by name.
Rows = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; default: all of {', '.join(BENCHMARKS)}")
    parser.add_argument("-n", type=int, default=10, help="rounds; default: 10")
    add_engine(parser)
    add_json(parser)


def import_time(on: Context, n: int) -> Rows:
    """Seconds that ``import labkit`` adds to a fresh interpreter, pair by pair against an empty one."""

    def wall(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    pairs = [(wall("import labkit"), wall("pass")) for _ in range(n)]
    return _row([a - b for a, b in pairs], unit="s")


def run_against_cli(on: Context, n: int) -> Rows:
    """One warm ``docker run`` through labkit and through the CLI, in turn; the ratio pair by pair.

    Timed from the call to the container's removal, no network, same image and command.
    """
    same = ["--runtime", on.facts.runtime] if on.facts.stock else []
    words = ["docker", "run", "--rm", "--network", "none", *same, on.image(), *first.COMMAND]
    line = command_line(on.session, words)

    def cli() -> float:
        began = time.perf_counter()
        subprocess.run(line, env=on.session.engine.process_environment(), check=True, capture_output=True)
        return time.perf_counter() - began

    first.timed_run(on), cli()  # warm both
    pairs = [(first.timed_run(on), cli()) for _ in range(n)]
    return {
        "labkit": _row([a for a, _ in pairs], unit="s"),
        "cli": _row([b for _, b in pairs], unit="s"),
        "ratio": _row([a / b for a, b in pairs], unit="×"),
    }


def oom_sampler(on: Context, n: int) -> Rows:
    """Samples a second, and the sampled peak against the kernel's own, over growing runs."""
    runs = [oom.grow(on, "32m") for _ in range(max(3, n // 2))]
    return {
        "samples_per_second": _row([run.samples_per_second for run in runs], unit="1/s"),
        "peak_difference": _row([abs(run.sampled_peak - (run.peak or 0)) for run in runs], unit="bytes"),
    }


def xray_cost(on: Context, n: int) -> Rows:
    """What the X-ray costs a ``docker run``, and whether it saw the whole chain each time.

    Five pairs a round (50 by default), two on an emulated machine (20); see :func:`xray.overhead`.
    """
    found = xray.overhead(on, n * (2 if on.facts.emulated else 5))
    whole = sum(one.complete for one in found.runs)
    return {
        "untraced": _row(found.untraced, unit="s"),
        "traced": _row(found.traced, unit="s"),
        "ratio, pair by pair": _row([a / b for a, b in zip(found.traced, found.untraced)], unit="×"),
        "ratio of the medians": _row([found.ratio], unit="×"),
        "other": {
            "the whole chain was seen": f"{whole} of {len(found.runs)}",
            "links missing": sorted({name for one in found.runs for name in one.missing}),
            "trace events lost": sum(one.lost for one in found.runs),
        },
    }


BENCHMARKS: dict[str, Callable[[Context, int], Rows]] = {
    "import": import_time,
    "run-against-cli": run_against_cli,
    "oom-sampler": oom_sampler,
    "xray": xray_cost,
}


def two_engines(on: Context, budget: float, n: int) -> benchmark.Benchmark:
    """The same container on the engine and on one in a virtual machine."""
    with second_engine(on) as other:
        return two_engines_of(on, other, budget, n=n)


COMPARISONS: dict[str, Callable[..., benchmark.Benchmark]] = {
    **isolation_disk.BENCHMARKS, "gvisor": gvisor.gvisor, "two-engines": two_engines,
}  # fmt: skip


def _isolation(name: str) -> Callable[[Context, int], Rows]:
    """A comparison of the isolation lab: its summary, within a budget that grows with the rounds."""

    def run(on: Context, n: int) -> Rows:
        emulated = 4 if on.facts.emulated else 1
        result = COMPARISONS[name](on, 30.0 * n * emulated, n=n)
        say(f"  kept in {benchmark.record(result)}")
        say(f"  {result}")
        rows = {row.label: {**_row(row.values, result.unit), "emulated": row.emulated} for row in result.series}
        return {**rows, "partial": result.partial} if result.partial else rows

    return run


BENCHMARKS |= {name: _isolation(name) for name in COMPARISONS}


def embedded_engine(on: Context, n: int) -> Rows:
    """What labkit's own engine costs: cold boot, resume and a container run in one session, memory, idle.

    Method: :func:`labkit.engine.embedded.measure.measure`. The engine that the other benchmarks use is
    not concerned.
    """
    from .. import images
    from ..engine.embedded.measure import measure

    found = measure(runs=n, images=images.archives)
    boots, resumes = statistics.median(found["cold_boot"]), statistics.median(found["resume"])
    return {
        "cold boot": _row(found["cold_boot"], unit="s"),
        "resume": _row(found["resume"], unit="s"),
        "docker run": _row(found["docker_run"], unit="s"),
        "cold boot / resume": _row([boots / resumes], unit="×"),
        "other": {key: value for key, value in found.items() if not isinstance(value, list)},
    }


BENCHMARKS["embedded-engine"] = embedded_engine


def profile(on: Context, n: int) -> Rows:
    """Where the seconds of a ``docker run`` go on labkit's own engine; see :func:`labkit.engine.embedded.profile`."""
    from ..engine.embedded.profile import profile as profile_of

    found = profile_of(require_owned(on.session.engine), on.docker, on.image(), n)
    spent = found.pop("on_processor")
    whole = sum(spent.values())
    switches, started = found.pop("switches_to"), found.pop("started")
    inside = {
        f"{name}, on a processor": f"{seconds:.3f} s, {seconds / whole:.0%}, on it {switches[name]} times"
        for name, seconds in spent.items()
        if seconds >= 0.01 * whole
    }
    programs = ", ".join(f"{name} {times}" for name, times in sorted(started.items()))
    others = {
        **inside,
        "programs started": programs,
        **{f"{name} a run": count for name, count in found.pop("per_run").items()},
    }
    return {**{name: _row(values, unit="s") for name, values in found.items()}, "other": others}


BENCHMARKS["profile"] = profile


def _row(values: list[float], unit: str) -> Rows:
    ordered = sorted(values)
    return {"unit": unit, "n": len(values), "min": ordered[0], "median": statistics.median(ordered), "max": ordered[-1]}


def main(options: argparse.Namespace) -> int:
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        raise BadInput(f"There is no benchmark {unknown[0]!r}.", next_step=f"Known: {', '.join(BENCHMARKS)}.")
    with opened("bench", options.engine) as lab, explained(lab.engine.endpoint):
        results = {}
        for name in options.names or BENCHMARKS:
            say(f"Measuring {name}")
            results[name] = BENCHMARKS[name](lab.context, options.n)
        report = {"engine": dataclasses.asdict(lab.facts), "results": results}
    lines = []
    for name, result in results.items():
        found = {name: result} if "median" in result else {f"{name} {key}": row for key, row in result.items()}
        lines += [f"{key.replace('_', ' ')}: {value}" for key, value in result.get("other", {}).items()]
        for label, row in found.items():
            if isinstance(row, dict) and "median" in row:
                spread = f"{row['min']:.4g} to {row['max']:.4g}, n={row['n']}"
                lines.append(f"{label:<34} median {row['median']:.4g} {row['unit']}  ({spread})")
    tell(options, report, "\n".join(lines))
    return 0
