"""The memory curve of a growing process, its limit and its end."""

from __future__ import annotations

from ..experiments.oom import OomRun, Sample
from ..experiments.result import draws, machine_line
from ..units import MIB, show_size
from .style import COLOURS, Picture, new_figure, picture, styled

KILLED, STOPPED, ENDED = "killed by the OOM killer", "stopped by docker kill", "ended by itself"


def how_it_ended(run: OomRun) -> str:
    """In words, for legend and text alternative."""
    if run.verdict.cgroup_kills:
        return KILLED if run.verdict.exit_code == 137 else "child killed by the OOM killer"
    return STOPPED if run.verdict.exit_code == 137 else ENDED


def draw_curve(axes, samples: list[Sample], limit: int, *, stats: list[Sample] = (), highest: int = 0) -> dict:
    """Curve, limit line and ``docker stats`` marks on given axes; returns the artists by name."""
    artists = {}
    times, sizes = [s.time for s in samples], [s.usage / MIB for s in samples]
    artists["curve"] = axes.plot(times, sizes, color=COLOURS["blue"], drawstyle="steps-post",
                                 label="charged to the cgroup", zorder=3)[0]  # fmt: skip
    if any(s.swap for s in samples):
        axes.plot(times, [s.swap / MIB for s in samples], color=COLOURS["purple"], linestyle=":", label="swapped out")
    artists["limit"] = axes.axhline(limit / MIB, color=COLOURS["vermilion"], linestyle="--", linewidth=1.8,
                                    label=f"limit {show_size(limit)}", zorder=2)  # fmt: skip
    if stats:
        axes.plot([s.time for s in stats], [s.usage / MIB for s in stats], linestyle="none", marker="D",
                  markersize=8, color=COLOURS["orange"], markeredgecolor=COLOURS["ink"],
                  label="what docker stats saw", zorder=5)  # fmt: skip
    axes.set_ylim(0, max(limit, highest) / MIB * 1.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the container's cgroup appeared")
    axes.set_ylabel("memory in MiB")
    return artists


@draws(OomRun)
def plot(run: OomRun, *, stats: bool = True) -> Picture:
    """Memory against time, the limit as a line, the kill as a mark.

    Args:
        run: the run to draw.
        stats: also mark what ``docker stats`` saw of the same run.
    """
    ending = how_it_ended(run)
    with styled():
        figure, axes = new_figure(4.6)
        seen = run.stats if stats else []
        draw_curve(axes, run.samples, run.limit, stats=seen, highest=run.sampled_peak)
        if run.kill_time is not None:
            _mark(axes, run.kill_time, run.limit / MIB, "the kernel kills", "X")
        elif run.samples:
            last = _last_high(run)
            _mark(axes, last.time, last.usage / MIB, ending, "o")
        axes.set_title(f"A process grows inside {show_size(run.limit)}: {ending}")
        axes.legend(loc="lower left", ncols=4, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        alt = (
            f"Line chart of memory against time. The curve climbs in steps of {show_size(run.step)} "
            f"towards the limit of {show_size(run.limit)}, drawn as a dashed line; {ending}."
        )
        return picture(figure, alt, caption=_caption(run))


def _last_high(run: OomRun) -> Sample:
    """The last sample before the memory was given back."""
    half = run.sampled_peak / 2
    return next((sample for sample in reversed(run.samples) if sample.usage >= half), run.samples[-1])


def _mark(axes, x: float, y: float, text: str, marker: str) -> None:
    axes.plot([x], [y], marker=marker, markersize=13, color=COLOURS["vermilion"],
              markeredgecolor=COLOURS["ink"], zorder=6, linestyle="none")  # fmt: skip
    axes.annotate(text, (x, y), xytext=(4, 11), textcoords="offset points", ha="right",
                  fontweight="bold", color=COLOURS["vermilion"],
                  bbox={"boxstyle": "round,pad=0.25", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.85}, zorder=7)  # fmt: skip


def _caption(run: OomRun) -> str:
    gaps = sorted(run.intervals)
    rhythm = f"{len(run.samples)} samples, one every {gaps[len(gaps) // 2] * 1000:.1f} ms (median)" if gaps else ""
    kill = f" · time of the kill: {run.kill_seen_by}" if run.kill_time is not None else ""
    return f"{rhythm}{kill}\n{machine_line(run.engine)}"
