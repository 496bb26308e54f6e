"""The X-ray of one ``docker run`` as a swimlane, and of many as stacked bars."""

from __future__ import annotations

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..errors import BadInput
from ..experiments.result import draws, machine_line
from ..experiments.xray import CLIENT, ENGINE, KERNEL, LANES, SEGMENTS, TAP, Mark, Series, Span, Xray
from .style import COLOURS, Picture, new_figure, picture, styled

LANE_COLOURS = {
    "client": "grey", "dockerd": "blue", "containerd": "sky", "shim": "green", "runc": "orange",
    "kernel": "vermilion", "program": "purple",
}  # fmt: skip
HATCHES = {KERNEL: "", TAP: "//", CLIENT: ".."}
SEGMENT_LOOK = (
    ("grey", ""), ("blue", "//"), ("green", ""), ("orange", "xx"), ("yellow", ""), ("vermilion", "++"),
    ("sky", ".."), ("purple", ""), ("faint", "\\\\"),
)  # fmt: skip
#: A light ground behind words on a coloured bar.
BEHIND = {"boxstyle": "round,pad=0.12", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.85}


@draws(Xray)
def plot(run: Xray, *, zoom: str | tuple[float, float] | None = None) -> Picture:
    """A lane each for client, dockerd, containerd, shim, runc, kernel and the program.

    Args:
        run: the run.
        zoom: the name of a span, such as ``"runc init"``, or (from, to) in milliseconds; all by default.

    Raises:
        BadInput: this run has no span of that name.
    """
    start, end = _window(run, zoom)
    with styled():
        rows = _rows(run)
        height = sum(len(lane) for lane in rows.values())
        figure, axes = new_figure(1.9 + 0.42 * height)
        y, centres = 0.0, []
        for name, lane in rows.items():
            axes.axhspan(y - 0.5, y + len(lane) - 0.5, color=COLOURS["faint"], alpha=0.0 if len(centres) % 2 else 0.45)
            centres.append(y + (len(lane) - 1) / 2)
            for offset, spans in enumerate(lane):
                for span in spans:
                    _bar(axes, span, y + offset, start, end)
            _marks(axes, [m for m in run.marks if m.lane == name], y + len(lane) - 1, start, end, name == "dockerd")
            y += len(lane)
        axes.set_yticks(centres, list(rows))
        axes.set_ylim(y - 0.5, -0.5)
        axes.set_xlim(start, end)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("milliseconds since the client was started")
        axes.set_title(f"{run.command}", fontsize=12.5, pad=32)
        axes.legend(handles=_legend(run), loc="lower left", ncols=4, bbox_to_anchor=(-0.01, 0.995), borderaxespad=0)
        where = f", zoomed to {zoom}" if isinstance(zoom, str) else ""
        alt = (
            f"Swimlane chart of one docker run{where}, with a lane each for {', '.join(rows)}. "
            "Bars show how long each process or call lasted, diamonds mark events."
        )
        return picture(figure, alt, caption=_caption(run))


def _window(run: Xray, zoom) -> tuple[float, float]:
    whole = max([run.total, *(span.end for span in run.spans)]) * 1000
    if zoom is None:
        return 0.0, whole * 1.14  # room for the last words
    if isinstance(zoom, str):
        span = next((one for one in run.spans if one.name == zoom), None)
        if span is None:
            names = ", ".join(sorted({one.name for one in run.spans}))
            raise BadInput(f"This run has no span {zoom!r}.", next_step=f"It has: {names}.")
        margin = (span.end - span.start) * 60
        return span.start * 1000 - margin, span.end * 1000 + margin
    return zoom


def _rows(run: Xray) -> dict[str, list[list[Span]]]:
    """The spans of each lane in as few rows as they fit without touching."""
    found: dict[str, list[list[Span]]] = {}
    for name in LANES:
        lane: list[list[Span]] = []
        room = run.total * 0.17  # a short bar's label stands beside it
        for span in sorted((one for one in run.spans if one.lane == name), key=lambda one: one.start):
            free = next((row for row in lane if _right(row[-1], room) <= span.start), None)
            if free is None:
                lane.append([span])
            else:
                free.append(span)
        marks = any(mark.lane == name for mark in run.marks)
        if lane or marks:
            found[name] = lane + [[]] * (marks and (2 if name == "dockerd" else 1))  # events below the spans
    return found


def _right(span: Span, room: float) -> float:
    return span.end if span.end - span.start > room else span.end + room


def _bar(axes, span: Span, y: float, start: float, end: float) -> None:
    left, right = span.start * 1000, span.end * 1000
    if right < start or left > end:
        return
    width = max(right - left, (end - start) * 0.0016)  # what is too short to be seen gets a hairline
    axes.barh(y, width, left=left, height=0.62, color=COLOURS[LANE_COLOURS[span.lane]], hatch=HATCHES[span.source],
              edgecolor=COLOURS["ink"], linewidth=0.7, zorder=3)  # fmt: skip
    shown = min(right, end) - max(left, start)
    name = f"{span.name} ({span.detail})" if span.detail else span.name
    text = f"{name} · {_time(right - left)}"
    if shown > (end - start) * 0.011 * len(text):
        axes.text((max(left, start) + min(right, end)) / 2, y, text, ha="center", va="center", fontsize=9.5, zorder=5,
                  bbox=BEHIND)  # fmt: skip
    elif right > start + (end - start) * 0.84:
        axes.text(max(left, start) - (end - start) * 0.006, y, text, ha="right", va="center", fontsize=9.5, zorder=5)
    else:
        axes.text(min(right, end) + (end - start) * 0.006, y, text, ha="left", va="center", fontsize=9.5, zorder=5)


def _time(milliseconds: float) -> str:
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def _marks(axes, marks: list[Mark], y: float, start: float, end: float, many: bool) -> None:
    """Events as diamonds or triangles with their names; where two are close, one below the other."""
    levels = (-0.95, -0.5, -0.05, 0.32) if many else (-0.15, 0.3)
    free = dict.fromkeys(levels, -1e9)
    for mark in sorted(marks, key=lambda one: one.time):
        x = mark.time * 1000
        if not start <= x <= end:
            continue
        place = next((level for level in levels if x >= free[level]), levels[-1])
        shape = "D" if mark.source == ENGINE else "v"
        axes.plot([x], [y + place], marker=shape, markersize=6, color=COLOURS[LANE_COLOURS[mark.lane]],
                  markeredgecolor=COLOURS["ink"], linestyle="none", zorder=6)  # fmt: skip
        axes.annotate(mark.name, (x, y + place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8.5)
        free[place] = x + (end - start) * (0.022 + 0.0088 * len(mark.name))


def _legend(run: Xray) -> list:
    """Which source each kind of thing comes from; only what is drawn."""
    sources = {span.source for span in run.spans}
    found: list = [
        Patch(facecolor=COLOURS["paper"], edgecolor=COLOURS["ink"], hatch=HATCHES[source], label=f"span: {source}")
        for source in (KERNEL, TAP, CLIENT) if source in sources
    ]  # fmt: skip
    if any(mark.source == ENGINE for mark in run.marks):
        found.append(Line2D([], [], marker="D", linestyle="none", color=COLOURS["blue"], label=ENGINE))
    return found


def _caption(run: Xray) -> str:
    lost = f" · trace events lost: {run.lost}" if run.traced else f" · kernel not traced: {run.why}"
    return f"one run, warm; triangles are kernel tracepoints{lost}\n{machine_line(run.engine)}"


@draws(Series)
def plot_series(series: Series) -> Picture:
    """Where the time goes: one stacked bar of medians for each set of flags."""
    medians = series.medians()
    with styled():
        figure, axes = new_figure(2.55 + 0.62 * len(medians))
        for row, segments in enumerate(medians.values()):
            left = 0.0
            for (name, seconds), (colour, hatch) in zip(segments.items(), SEGMENT_LOOK):
                width = seconds * 1000
                axes.barh(row, width, left=left, height=0.6, color=COLOURS[colour], hatch=hatch, zorder=3,
                          edgecolor=COLOURS["ink"], linewidth=0.7, label=name if row == 0 else None)  # fmt: skip
                left += width
            axes.text(left, row, f"  {left:.0f} ms", va="center", fontweight="bold")
        longest = max((sum(one.values()) for one in medians.values()), default=0.1) * 1000
        for row, segments in enumerate(medians.values()):
            left = 0.0
            for seconds in segments.values():
                if seconds * 1000 > longest * 0.035:
                    axes.text((left + seconds * 500), row, f"{seconds * 1000:.0f}", ha="center", va="center",
                              fontsize=10, zorder=5, bbox=BEHIND)  # fmt: skip
                left += seconds * 1000
        names = [flags or "(no flags)" for flags in medians]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, longest * 1.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("milliseconds, medians of each segment")
        axes.set_title("Where the time of docker run goes", pad=12)
        figure.legend(loc="outside upper left", ncols=5, columnspacing=1.2, fontsize=10.5)
        n = min((len(runs) for runs in series.runs.values()), default=0)
        alt = (
            f"Stacked bars of one docker run by flags: {', '.join(names)}. Segments, in order: "
            f"{', '.join(name for name, _ in SEGMENTS)}."
        )
        return picture(figure, alt, caption=f"n = {n} runs each, in turn, warm\n{machine_line(series.engine)}")
