"""Figures of limits: the staircase of a quota, latency against it, two weights, a bomb, a slow disk."""

import statistics

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, label, legend, new_figure, picture
from ...units import MIB, show_size
from .cpu import LatencyCurve, Quarrel, Throttled
from .crowd import Bomb
from .disk import Written


@draws(Throttled)
def plot_throttle(run: Throttled) -> Picture:
    """Processor time against the clock: it climbs while the container runs, and is level while it is held back."""
    clock, cpu = zip(*[(1000 * x, 1000 * y) for x, y in run.round.trace])
    quota, cpus = run.round.quota, run.round.cpus
    figure, axes = new_figure(4.4)
    axes.plot([0, clock[-1]], [0, clock[-1]], color=COLOURS["grey"], linestyle=":", label="without a pause")
    if cpus is not None:
        axes.plot([0, clock[-1]], [0, cpus * clock[-1]], color=COLOURS["vermilion"], linestyle="--",
                  label=f"quota: {cpus:g} of a processor")  # fmt: skip
    axes.plot(clock, cpu, color=COLOURS["blue"], label="the container", zorder=3)
    axes.set(xlim=(0, clock[-1]), ylim=(0, cpu[-1] * 1.12), ylabel="ms on a processor", xlabel="ms by the clock")
    words = "no quota" if cpus is None else f"--cpus {cpus:g}"
    axes.set_title(f"Work inside a quota: {words}")
    legend(axes, ncols=3)
    counted = f"kernel: {quota.throttled} of {quota.periods} periods throttled, held back for {quota.stopped:.2f} s"
    stairs = "in a straight line" if cpus is None else "in steps, level where the kernel holds the container back"
    alt = f"Line chart of processor time against the clock, {words}: it climbs {stairs}."
    return picture(figure, alt, caption=f"{counted}\n{machine_line(run.engine)}")


@draws(LatencyCurve)
def plot_latency(curve: LatencyCurve) -> Picture:
    """Above, each request's length against the quota; below, how many of the kernel's periods were throttled."""
    figure, (top, low) = new_figure(6.2, nrows=2, sharex=True, height_ratios=[2.2, 1])
    rows = list(reversed(curve.rounds))
    names = ["none" if row.cpus is None else f"{row.cpus:g}" for row in rows]
    medians = [1000 * statistics.median(row.seconds) for row in rows]
    for place, row in enumerate(rows):
        top.plot([place] * len(row.seconds), [1000 * value for value in row.seconds], linestyle="none", marker="o",
                 color=COLOURS["blue"], alpha=0.35, label="one request" if not place else None)  # fmt: skip
    expected = [1000 * curve.cost / min(row.cpus or 1, 1) for row in rows]
    top.plot(range(len(rows)), expected, color=COLOURS["vermilion"], linestyle="--", marker="_", markersize=14,
             label=f"arithmetic: {1000 * curve.cost:.0f} ms / quota")  # fmt: skip
    means = [1000 * statistics.fmean(row.seconds) for row in rows]
    top.plot(range(len(rows)), means, color=COLOURS["ink"], marker="D", label="mean")
    top.set(ylabel="ms by the clock", ylim=(0, max(*means, *expected, *medians) * 1.6))
    top.set_title(f"One request of {1000 * curve.cost:.0f} ms, inside one quota after the other")
    legend(top, ncols=3)
    parts = [100 * row.quota.throttled / max(row.quota.periods, 1) for row in rows]
    low.bar(range(len(rows)), parts, color=COLOURS["orange"], hatch="//", edgecolor=COLOURS["paper"], width=0.6)
    for place, row in enumerate(rows):
        text = f"{row.quota.throttled}/{row.quota.periods}" if row.quota.periods else "not counted"
        label(low, place, parts[place] / 2 if parts[place] > 40 else parts[place] + 13, text, ha="center", fontsize=10)
    low.set(ylim=(0, 112), ylabel="% of periods", xlabel="quota in processors (--cpus)")
    low.set_xticks(range(len(rows)), names)
    low.set_title("nr_throttled of nr_periods", pad=6, fontsize=12)
    alt = (
        "Above, a dot chart of request lengths for each quota, from the smallest to none: the smaller the quota, the "
        "longer a request, near the dashed line of cost divided by quota. Below, bars: the share of throttled periods."
    )
    n = len(rows[0].seconds)
    cut = max(value for row in rows for value in row.seconds) * 1000 > top.get_ylim()[1]
    note = " · the longest are above the figure" if cut else ""
    return picture(figure, alt, caption=f"n = {n} requests a quota, warm{note}\n{machine_line(curve.engine)}")


@draws(Quarrel)
def plot_shares(run: Quarrel) -> Picture:
    """What each got of the processor time that both had; where the lines bend, somebody came or a weight changed."""
    figure, axes = new_figure(4.6)
    both = [row[1] + row[2] for row in run.rows]
    light, heavy = run.weights
    axes.plot(
        both, [row[1] for row in run.rows], color=COLOURS["blue"], marker="o", markersize=4, label="the light one"
    )
    axes.plot(both, [row[2] for row in run.rows], color=COLOURS["orange"], marker="s", markersize=4,
              label="the heavy one")  # fmt: skip
    top = max(max(row[1:]) for row in run.rows) * 1.3
    names = (f"{light} alone", f"{light} : {heavy}", f"{heavy} : {heavy}")
    for number, (name, times) in enumerate(zip(names, run.parts)):
        since, until = (next(x for x, row in zip(both, run.rows) if row[0] == time) for time in times)
        label(axes, (since + until) / 2, top * 0.92, f"{name}\nlight: {100 * run.share(number):.0f} %", ha="center")
        axes.axvline(since if number else 0, color=COLOURS["grey"], linestyle=":", linewidth=1.4)
    axes.set(xlim=(0, both[-1]), ylim=(0, top), ylabel="seconds that each had")
    axes.set_xlabel("seconds of processor 0 that both had, together")
    axes.set_title("Two containers and one processor: --cpu-shares light : heavy")
    legend(axes)
    alt = (
        "Line chart of what each of two containers got of one processor. The light one gets all while alone, little "
        "once the heavy one has joined, and both climb alike when their weights are the same."
    )
    files = f"the kernel's weights at first: light {run.files[0]}, heavy {run.files[1]}"
    return picture(figure, alt, caption=f"{files} · {run.rows[-1][0]:.0f} s by the clock\n{machine_line(run.engine)}")


@draws(Bomb)
def plot_bomb(run: Bomb) -> Picture:
    """Processes in the group against time below their limit; beneath, the forks that the kernel refused."""
    figure, (top, low) = new_figure(5.2, nrows=2, sharex=True, height_ratios=[2, 1])
    clock = [row[0] for row in run.rows]
    top.plot(clock, [row[1] for row in run.rows], color=COLOURS["blue"], drawstyle="steps-post", label="processes")
    top.axhline(run.limit, color=COLOURS["vermilion"], linestyle="--", label=f"--pids-limit {run.limit}")
    top.set(ylim=(0, run.limit * 1.2), ylabel="processes")
    top.set_title("A fork bomb inside a limit")
    legend(top)
    low.fill_between(
        clock, [row[2] for row in run.rows], color=COLOURS["orange"], hatch="//", alpha=0.6, linewidth=0, step="post"
    )
    low.set(
        xlim=(0, clock[-1]),
        ylim=(0, max(run.rows[-1][2] * 1.15, 1)),
        ylabel="refused",
        xlabel="seconds since it went off",
    )
    low.set_title("forks refused (pids.events)", pad=6, fontsize=12)
    alt = (
        "Above, a line chart of the processes in the container: they rise to the dashed line of the limit and never "
        "above it. Below, the count of refused forks climbs all the while."
    )
    caption = f"{len(run.rows)} looks at cgroup.procs and pids.events; at the end the lab removes the container\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


@draws(Written)
def plot_written(run: Written) -> Picture:
    """Bytes on the disk against time, a line for each limit; dashed, the limit itself."""
    figure, axes = new_figure(4.6)
    looks = zip(("blue", "green", "orange", "purple", "ink"), ("o", "s", "^", "D", "v"))
    longest = max((rows[-1][0] for limit, rows in run.runs.items() if limit), default=1.0)
    for (colour, marker), (limit, rows) in zip(looks, run.runs.items()):
        name = "no limit" if limit is None else f"{show_size(limit)}/s"
        clock, done = [row[0] for row in rows], [row[1] / MIB for row in rows]
        axes.plot(clock, done, color=COLOURS[colour], marker=marker, markersize=5, markevery=max(1, len(rows) // 12),
                  label=f"{name}: {run.rate(limit) / MIB:.1f} MiB/s")  # fmt: skip
        if limit:
            axes.plot(
                [0, clock[-1]], [0, limit * clock[-1] / MIB], color=COLOURS["grey"], linestyle="--", linewidth=1.2
            )
    axes.set(xlim=(0, longest * 1.02), ylim=(0, None), xlabel="seconds", ylabel="MiB written")
    axes.set_title("Writing inside --device-write-bps" if run.runs else f"Not here: {run.disk.why}", pad=54)
    if run.runs:
        legend(axes, ncols=3)
        axes.set_title("limit: as measured", loc="right", pad=54, fontsize=10.5, fontweight="normal")
    alt = "Line chart of bytes written against time, one line for each limit, each close to or below its dashed limit."
    return picture(figure, alt, caption=f"past the cache, once each; dashed: the limits\n{machine_line(run.engine)}")
