"""The X-ray of one ``docker run`` as a swimlane, and of many as stacked bars."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, aside, label, legend, named_rows, new_figure, picture
from ...errors import BadInput
from .xray import Series, Xray
from .xray_evidence import CLIENT, ENGINE, KERNEL, LANES, SCAN, TAP, Mark, Span

LANE_COLOURS = {
    "client": "grey", "dockerd": "blue", "containerd": "sky", "shim": "green", "runc": "orange",
    "kernel": "vermilion", "program": "purple",
}  # fmt: skip
HATCHES = {KERNEL: "", TAP: "//", CLIENT: "..", SCAN: "xx"}
#: By name: where the network comes differs by engine.
SEGMENT_LOOK = {
    "client and create": ("grey", ""), "dockerd prepares": ("blue", "//"), "shim starts": ("green", ""),
    "cgroup and namespaces": ("orange", "xx"), "network": ("yellow", ""), "root filesystem": ("vermilion", "++"),
    "runc start": ("sky", ".."), "the program": ("purple", ""), "clean up": ("faint", "\\\\"),
    # Where the kernel is not traced:
    "start": ("blue", "//"), "until the program has ended": ("purple", ""),
}  # fmt: skip

#: A letter's width as a share of the axes, and the gap between a bar and the words beside it.
LETTER, GAP = 0.0104, 0.007
#: Heights of a row of bars and of one of marks.
BAR_ROW, MARK_ROW = 1.0, 0.52


@draws(Xray)
def plot(run: Xray, *, zoom: str | tuple[float, float] | None = None) -> Picture:
    """A lane each for client, dockerd, containerd, shim, runc, kernel and the program.

    Args:
        run: the run.
        zoom: the name of a span, such as ``"runc init"``, or of a lane (all its spans), or (from, to) in
            milliseconds; all by default, and where a lane has no span.

    Raises:
        BadInput: this run has no span of that name.
    """
    start, end = _window(run, zoom)
    used = {one.lane for one in run.spans} | {one.lane for one in run.marks}
    rows = {name: _lane(run, name, start, end) for name in LANES if name in used}
    height = sum(_height(lane) for lane in rows.values())
    figure, axes = new_figure(2.0 + 0.42 * height)
    y, centres = -0.5, list[float]()
    for bars, marks in rows.values():
        high = _height((bars, marks))
        axes.axhspan(y, y + high, color=COLOURS["faint"], alpha=0.0 if len(centres) % 2 else 0.45)
        centres.append(y + high / 2)
        for row, placed in enumerate([*bars, *marks]):
            below = row - len(bars)
            at = (row + 0.5) * BAR_ROW if below < 0 else len(bars) * BAR_ROW + (below + 0.6) * MARK_ROW
            for one in placed:
                _draw(axes, one, y + at, start, end)
        y += high
    named_rows(axes, list(rows), centres)
    axes.set(ylim=(y, -0.5), xlim=(start, end))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("milliseconds since the client was started")
    part = f"  ({_time(end - start)} of {_time(run.total * 1000)})" if zoom else ""
    axes.set_title(run.command + part + ("" if run.traced else "  (kernel not traced)"), fontsize=12.5, pad=32)
    legend(axes, handles=_legend(run), ncols=4, height=0.995)
    where = f", zoomed to {zoom}" if isinstance(zoom, str) else ""
    alt = (
        f"Swimlane chart of one docker run{where}, with a lane each for {', '.join(rows)}. "
        "Bars show how long each process or call lasted, diamonds mark events."
    )
    return picture(figure, alt, caption=_caption(run))


def _window(run: Xray, zoom: str | tuple[float, float] | None) -> tuple[float, float]:
    whole = max([run.total, *(span.end for span in run.spans)]) * 1000
    if zoom is None:
        return 0.0, whole * 1.14  # room for the last words
    if isinstance(zoom, str):
        found = [one for one in run.spans if zoom == one.name][:1] or [one for one in run.spans if zoom == one.lane]
        if not found and zoom not in LANES:
            names = ", ".join(sorted({one.name for one in run.spans}))
            raise BadInput(f"This run has no span {zoom!r}.", next_step=f"It has: {names}.")
        if not found:
            return _window(run, None)  # a kernel that may not be traced leaves its lane empty
        start, end = min(one.start for one in found), max(one.end for one in found)
        margin = (end - start) * 60
        return start * 1000 - margin, end * 1000 + margin
    return zoom


class _Placed(NamedTuple):
    """A span or a mark with its words: where they stand, and from where to where all of it reaches (ms)."""

    thing: Span | Mark
    text: str
    side: str
    left: float
    right: float


#: A lane's bars and marks, each in as few rows as they fit without touching.
_Lane = tuple[list[list[_Placed]], list[list[_Placed]]]


def _place(thing: Span | Mark, start: float, end: float) -> _Placed | None:
    """Words inside the bar where they fit, else on its right, else on its left; None outside the window."""
    if isinstance(thing, Span):
        left, right = thing.start * 1000, thing.end * 1000
        name = f"{thing.name} ({thing.detail})" if thing.detail else thing.name
        text, letter = f"{name} · {_time(right - left)}", LETTER
    else:
        left = right = thing.start * 1000
        text, letter = thing.name, LETTER * 0.92
    if right < start or left > end:
        return None
    left, right, gap = max(left, start), min(right, end), GAP * (end - start)
    needs = letter * (end - start) * len(text)
    if right - left > needs + gap:
        return _Placed(thing, text, "inside", left, right)
    if right + gap + needs <= end:
        return _Placed(thing, text, "right", left, right + gap + needs)
    return _Placed(thing, text, "left", left - gap - needs, right)


def _lane(run: Xray, name: str, start: float, end: float) -> _Lane:
    return _packed(run.spans, name, start, end), _packed(run.marks, name, start, end)


def _packed(things: Sequence[Span | Mark], lane: str, start: float, end: float) -> list[list[_Placed]]:
    rows: list[list[_Placed]] = []
    placed = [found for one in things if one.lane == lane and (found := _place(one, start, end))]
    for one in sorted(placed, key=lambda one: one.left):
        free = next((row for row in rows if row[-1].right + GAP * (end - start) <= one.left), None)
        if free is None:
            rows.append(free := [])
        free.append(one)
    return rows


def _height(lane: _Lane) -> float:
    bars, marks = lane
    return max(1.0, len(bars) * BAR_ROW + len(marks) * MARK_ROW + (0.12 if marks else 0))


def _draw(axes: Axes, placed: _Placed, y: float, start: float, end: float) -> None:
    """A span as a bar, a mark as a marker, and its words."""
    thing, side = placed.thing, placed.side
    colour = COLOURS[LANE_COLOURS[thing.lane]]
    if isinstance(thing, Mark):
        axes.plot([thing.start * 1000], [y], marker="D" if thing.source == ENGINE else "v", markersize=6, zorder=6,
                  linestyle="none", clip_on=False, color=colour, markeredgecolor=COLOURS["ink"])  # fmt: skip
        aside(axes, placed.text, (thing.start * 1000, y), 6 if side == "right" else -6, fontsize=8.5)
        return
    left, right, gap = thing.start * 1000, thing.end * 1000, GAP * (end - start)
    width = max(right - left, (end - start) * 0.0016)  # what is too short to be seen gets a hairline
    axes.barh(y, width, left=left, height=0.62, color=colour, hatch=HATCHES[thing.source],
              edgecolor=COLOURS["ink"], linewidth=0.7, zorder=3)  # fmt: skip
    left, right = max(left, start), min(right, end)
    if side == "inside":
        label(axes, (left + right) / 2, y, placed.text, ha="center", fontsize=9.5, zorder=5, pad=0.12, alpha=0.85)
    else:
        x, where = (right + gap, "left") if side == "right" else (left - gap, "right")
        axes.text(x, y, placed.text, ha=where, va="center", fontsize=9.5, zorder=5)


def _time(milliseconds: float) -> str:
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def _legend(run: Xray) -> list[Artist]:
    """Which source each kind of thing comes from; only what is drawn."""
    sources = {span.source for span in run.spans}
    found: list[Artist] = [
        Patch(facecolor=COLOURS["paper"], edgecolor=COLOURS["ink"], hatch=HATCHES[source], label=f"span: {source}")
        for source in (KERNEL, SCAN, TAP, CLIENT) if source in sources
    ]  # fmt: skip
    if any(mark.source == ENGINE for mark in run.marks):
        found.append(Line2D([], [], marker="D", linestyle="none", color=COLOURS["blue"], label=ENGINE))
    return found


def _caption(run: Xray) -> str:
    if run.traced:
        said = f"one run, warm; triangles are kernel tracepoints · trace events lost: {run.lost}"
        if run.lacking:
            said += f"\nthis kernel has no tracepoint {', '.join(run.lacking)}"
    else:
        said = f"NOT TRACED: {textwrap.fill(run.why, 120)}\n"
        if run.looks:
            said += (
                f"instead, /proc was looked through {run.looks} times, at most {_time(run.longest * 1000)} apart: "
                "what is shorter can be missing"
            )
        else:
            said += "processes could not be scanned either"
    return f"{said}\n{machine_line(run.engine)}"


@draws(Series)
def plot_series(series: Series) -> Picture:
    """Where the time goes: one stacked bar of medians for each set of flags."""
    medians = series.medians()
    # What took no time in any run is not there, such as the network of --network host.
    drawn = {name for segments in medians.values() for name, seconds in segments.items() if seconds}
    legend_rows = -(-len(drawn) // 4)
    figure, axes = new_figure(2.25 + 0.25 * legend_rows + 0.62 * len(medians))
    for row, segments in enumerate(medians.values()):
        left = 0.0
        for name, seconds in segments.items():
            colour, hatch = SEGMENT_LOOK[name]
            width = seconds * 1000
            axes.barh(row, width, left=left, height=0.6, color=COLOURS[colour], hatch=hatch, zorder=3,
                      edgecolor=COLOURS["ink"], linewidth=0.7, label=name if row == 0 and name in drawn else None)  # fmt: skip
            left += width
        axes.text(left, row, f"  {left:.0f} ms", va="center", fontweight="bold")
    longest = max((sum(one.values()) for one in medians.values()), default=0.1) * 1000
    for row, segments in enumerate(medians.values()):
        left = 0.0
        for seconds in segments.values():
            if seconds * 1000 > longest * 0.035:
                label(axes, left + seconds * 500, row, f"{seconds * 1000:.0f}", ha="center", fontsize=10, zorder=5,
                      pad=0.12, alpha=0.85)  # fmt: skip
            left += seconds * 1000
    names = [flags or "(no flags)" for flags in medians]
    named_rows(axes, names)
    axes.set(xlim=(0, longest * 1.12), xlabel="milliseconds, medians of each segment")
    axes.set_title("Where the time of docker run goes", pad=14 + 18 * legend_rows)
    legend(axes, ncols=4, columnspacing=1.2, fontsize=10.5)
    counted = [sum(bool(one.segments) for one in runs) for runs in series.runs.values()]
    parts = [name for name in SEGMENT_LOOK if name in next(iter(medians.values()), {})]
    alt = f"Stacked bars of one docker run by flags: {', '.join(names)}. Segments: {', '.join(parts)}."
    return picture(figure, alt, caption=_series_caption(series, min(counted, default=0)))


def _series_caption(series: Series, n: int) -> str:
    runs = [one for several in series.runs.values() for one in several]
    said = f"n = {n} runs each, in turn, warm"
    if not all(one.traced for one in runs):
        said += " · NOT TRACED: only what the wiretap and the engine's events tell"
    elif any(one.lost for one in runs):
        said += f" · trace events lost: {max(one.lost for one in runs)}"
    return f"{said}\n{machine_line(series.engine)}"
