"""The memory of a whole machine while one container takes all of it."""

import math

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, aside, legend, new_figure, picture
from ...observe.rows import MachineSample
from ...units import MIB
from .oom_machine import MachineOom


@draws(MachineOom)
def plot(run: MachineOom) -> Picture:
    """Available memory and free swap against time; the kernel's kill as a mark."""
    figure, axes = new_figure(4.2)
    samples = _with_gaps(run.samples)
    times = [sample.time for sample in samples]
    axes.fill_between(times, [sample.available / MIB for sample in samples], color=COLOURS["sky"], alpha=0.5,
                      label="available to programs", linewidth=0)  # fmt: skip
    axes.plot(times, [sample.free / MIB for sample in samples], color=COLOURS["blue"], label="free")
    if any(sample.swap_free for sample in run.samples):
        axes.plot(times, [sample.swap_free / MIB for sample in samples], color=COLOURS["purple"],
                  linestyle=":", label="free in swap")  # fmt: skip
    if run.kill_time is not None:
        axes.axvline(run.kill_time, color=COLOURS["vermilion"], linestyle="--", linewidth=1.8)
        aside(axes, f"the kernel kills {run.victim}", (run.kill_time, axes.get_ylim()[1] * 0.92), -8,
              fontweight="bold", color=COLOURS["vermilion"])  # fmt: skip
    axes.set(ylim=(0, None), xlim=(0, None), xlabel="seconds", ylabel="machine's memory in MiB")
    axes.set_title("One container without a limit takes the machine's memory")
    legend(axes, ncols=3)
    alt = (
        "Area chart: the memory that the whole machine has available falls towards nothing while one container "
        "without a limit grows; a vertical line marks the moment at which the kernel kills it, and memory returns."
    )
    silent = "" if len(samples) == len(run.samples) else " · gaps: the machine was too busy to be read"
    return picture(figure, alt, caption=f"time of the kill: kernel log{silent}\n{machine_line(run.engine)}")


def _with_gaps(samples: list[MachineSample]) -> list[MachineSample]:
    """The samples, with a break wherever none came for longer than a second."""
    found: list[MachineSample] = []
    for sample in samples:
        if found and sample.time - found[-1].time > 1:
            found.append(MachineSample(found[-1].time, math.nan, math.nan, math.nan))
        found.append(sample)
    return found
