"""The memory curve of a growing process, its limit and its end."""

import bisect
import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, aside, legend, new_figure, picture, render, styled, table
from ...observe.rows import Sample
from ...units import MIB, show_size
from .oom import OomRun
from .oom_cases import FlagsView, Series, SharedRun

KILLED, STOPPED, ENDED = "killed by the OOM killer", "stopped by docker kill", "ended by itself"


def how_it_ended(run: OomRun) -> str:
    """In words, for legend and text alternative."""
    if run.verdict.killed:
        return KILLED if run.verdict.exit_code == 137 else "child killed by the OOM killer"
    return STOPPED if run.verdict.exit_code == 137 else ENDED


def draw_curve(
    axes: Axes, samples: Sequence[Sample], limit: int, *, stats: Sequence[Sample] = (), highest: int = 0
) -> Line2D:
    """Curve, limit line and ``docker stats`` marks on given axes; returns the curve."""
    times = [s.time for s in samples]
    [curve] = axes.plot(times, [s.usage / MIB for s in samples], color=COLOURS["blue"], drawstyle="steps-post",
                        label="charged to the cgroup", zorder=3)  # fmt: skip
    if any(s.swap for s in samples):
        axes.plot(times, [s.swap / MIB for s in samples], color=COLOURS["purple"], linestyle=":", label="swapped out")
    axes.axhline(limit / MIB, color=COLOURS["vermilion"], linestyle="--", linewidth=1.8,
                 label=f"limit {show_size(limit)}", zorder=2)  # fmt: skip
    if stats:
        axes.plot([s.time for s in stats], [s.usage / MIB for s in stats], linestyle="none", marker="D",
                  markersize=8, color=COLOURS["orange"], markeredgecolor=COLOURS["ink"],
                  label="what docker stats saw", zorder=5)  # fmt: skip
    axes.set_ylim(0, max(limit, highest) / MIB * 1.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the container's cgroup appeared")
    axes.set_ylabel("memory in MiB")
    return curve


@draws(OomRun)
def plot(run: OomRun) -> Picture:
    """Memory against time, the limit as a line, the kill as a mark; and what ``docker stats`` saw of the same run."""
    ending = how_it_ended(run)
    figure, axes = new_figure(4.6)
    # What stats saw after the kill would stand right below its mark, as if it were the kill's own.
    ends = float("inf") if run.kill_time is None else run.kill_time
    seen = [one for one in run.stats if one.time <= ends]
    draw_curve(axes, run.samples, run.limit, stats=seen, highest=run.sampled_peak)
    if run.kill_time is not None:
        _mark(axes, run.kill_time, run.limit / MIB, "the kernel kills", "X")
    elif run.samples:
        last = _last_high(run.samples)
        _mark(axes, last.time, last.usage / MIB, ending, "o", above=run.sampled_peak / MIB)
    axes.set_title(f"A process grows inside {show_size(run.limit)}: {ending}")
    legend(axes, ncols=4)
    alt = (
        f"Line chart of memory against time. The curve climbs in steps of {show_size(run.step)} "
        f"towards the limit of {show_size(run.limit)}, drawn as a dashed line; {ending}."
    )
    return picture(figure, alt, caption=_caption(run))


def _mark(axes: Axes, x: float, y: float, text: str, marker: str, above: float = 0.0) -> None:
    """A mark at a point of the curve; its words stand above that point, or above a higher one of the curve."""
    axes.plot([x], [y], marker=marker, markersize=13, color=COLOURS["vermilion"],
              markeredgecolor=COLOURS["ink"], zorder=6, linestyle="none")  # fmt: skip
    patch = {"boxstyle": "round,pad=0.05", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.85}
    aside(axes, text, (x, max(y, above)), 4, 13, ha="right", va="baseline", fontweight="bold",
          color=COLOURS["vermilion"], bbox=patch, zorder=5)  # fmt: skip


def _caption(run: OomRun) -> str:
    gaps = sorted(run.intervals)
    rhythm = f"{len(run.samples)} samples, one every {gaps[len(gaps) // 2] * 1000:.1f} ms (median)" if gaps else ""
    kill = f" · time of the kill: {run.kill_seen_by}; docker stats until then" if run.kill_time is not None else ""
    return f"{rhythm}{kill}\n{machine_line(run.engine)}"


class LiveCurve:
    """The same curve inside a limit (bytes), drawn again and again while it grows; gives PNG bytes for an image widget."""

    @styled()
    def __init__(self, limit: int):
        self._seconds = 3.0  # how wide the time axis is at first
        self._figure, self._axes = new_figure(4.2)
        self._curve = draw_curve(self._axes, [], limit)
        self._axes.set_xlim(0, self._seconds)
        self._axes.set_title(f"Growing inside {show_size(limit)}", pad=30)
        legend(self._axes, ncols=4)
        self._figure.canvas.draw()
        self._figure.set_layout_engine("none")  # laid out once: each further drawing is twice as fast

    @styled()
    def draw(self, samples: list[Sample]) -> bytes:
        """The curve so far."""
        # A screen has fewer columns than a long run has samples.
        every = max(1, len(samples) // 1500)
        shown = samples[::every]
        self._curve.set_data([s.time for s in shown], [s.usage / MIB for s in shown])
        if samples and samples[-1].time > self._seconds * 0.95:
            self._seconds = samples[-1].time * 1.5
            self._axes.set_xlim(0, self._seconds)
        return render(self._figure, scale=1.0)


SHARED_LOOK = {"small": ("green", "//"), "middle": ("sky", ".."), "greedy": ("orange", "xx")}


@draws(SharedRun)
def plot_shared(run: SharedRun) -> Picture:
    """The containers' memory stacked below their parent's limit; ends are marked."""
    figure, axes = new_figure(4.6)
    end = max(rows[-1].time for rows in run.samples.values() if rows)
    grid = [end * step / 400 for step in range(401)]
    base = [0.0] * len(grid)
    for who, rows in run.samples.items():
        colour, hatch = SHARED_LOOK[who]
        top = [low + _at(rows, moment) / MIB for low, moment in zip(base, grid)]
        axes.fill_between(grid, base, top, step="post", facecolor=COLOURS[colour], alpha=0.75, hatch=hatch,
                          edgecolor=COLOURS["paper"], linewidth=0, label=who)  # fmt: skip
        if who in run.killed and rows:
            dead = _last_high(rows)
            height = next(t for t, x in zip(reversed(top), reversed(grid)) if x <= dead.time)
            _mark(axes, dead.time, height, f"{who} is killed", "X")
        base = top
    axes.axhline(run.limit / MIB, color=COLOURS["vermilion"], linestyle="--", linewidth=1.8,
                 label=f"the parent's limit {show_size(run.limit)}")  # fmt: skip
    axes.set_ylim(0, run.limit / MIB * 1.25)
    axes.set_xlim(0, end)
    axes.set_xlabel("seconds since the first container's cgroup appeared")
    axes.set_ylabel("memory in MiB, stacked")
    axes.set_title(f"Three containers share {show_size(run.limit)}; oom_score_adj of small: {run.adjust}")
    legend(axes, ncols=4)
    first = run.killed[0] if run.killed else "nobody"
    alt = (
        "Stacked area chart of three containers' memory below their parent's limit. "
        f"When the sum reaches the limit, the kernel first kills: {first}."
    )
    caption = f"After the kill, the lab itself stops what still runs.\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


def _at(rows: list[Sample], moment: float) -> int:
    """The last reading at or before a time; 0 before the first and after the last."""
    index = bisect.bisect_right(rows, moment, key=lambda row: row.time)
    return rows[index - 1].usage if index and moment <= rows[-1].time + 0.01 else 0


def _last_high(rows: list[Sample]) -> Sample:
    """The last sample before the memory was given back."""
    half = max(sample.usage for sample in rows) / 2
    return next(sample for sample in reversed(rows) if sample.usage >= half)


@draws(FlagsView)
def plot_flags(view: FlagsView) -> Picture:
    """Both names of each file side by side; the column of this engine is lit and holds what was read."""
    ours = view.engine.cgroup_version
    lit = {name: "sky" if number == ours else "paper" for number, name in ((1, "v1"), (2, "v2"))}
    rows = {
        row.flag: [(row.v1, lit["v1"], ""), (row.v2, lit["v2"], ""), (row.value, "paper", "")] for row in view.flags
    }
    alt = (
        "Table of Docker's memory flags: the kernel file each one is written to on cgroup version 1 and on "
        "version 2, with the values read on this engine; the column of this engine's version is shaded."
    )
    top = ("cgroup v1", "cgroup v2", "read on this engine")
    return table("", top, rows, alt, machine_line(view.engine), first=0.24, height=0.42, more=0.9)


@draws(Series)
def plot_series(series: Series) -> Picture:
    """One dot a run: how long the container outlived its victim; the median as a line."""
    figure, axes = new_figure(2.5)
    milliseconds = sorted(value * 1000 for value in series.afterlife)
    if milliseconds:
        middle = statistics.median(milliseconds)
        axes.scatter(milliseconds, [0] * len(milliseconds), s=90, alpha=0.55, color=COLOURS["blue"], marker="o")
        axes.plot([middle, middle], [-0.45, 0.45], color=COLOURS["ink"], linewidth=2.5)
        axes.annotate(f"median {middle:.0f} ms", (middle, 0.5), ha="center", va="bottom")
        axes.set_xlim(0, milliseconds[-1] * 1.1)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("milliseconds from the kill to the end of the container's cgroup")
    axes.set_title("How long a container outlives its victim", pad=10)
    alt = (
        "Dot plot: the time from the kernel's kill to the removal of the container's cgroup, "
        "one dot a run, with the median."
    )
    caption = f"n = {len(milliseconds)} runs, limit {show_size(series.limit)}, warm\n{machine_line(series.engine)}"
    return picture(figure, alt, caption=caption)
