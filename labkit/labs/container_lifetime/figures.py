"""A container's states, its events in time, and how long its endings take."""

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, aside, canvas, label, legend, named_rows, new_figure, picture, styled
from .endings import Restarts, Stops
from .lifetime import Moment, Walk, in_words

#: Each state's colour and hatch; the words are always beside it.
STATE_LOOK = {
    "gone": ("faint", ""), "created": ("sky", ".."), "running": ("green", ""), "paused": ("orange", "//"),
    "restarting": ("yellow", "++"), "exited": ("grey", "xx"), "removing": ("purple", ""), "dead": ("vermilion", ""),
}  # fmt: skip

_PLACES = {"gone": (0.6, 1.0), "created": (2.6, 1.0), "running": (4.9, 1.0), "paused": (7.2, 1.0), "exited": (4.9, 2.6)}
# Where each arrow starts and ends, its bend, its words and where they stand.
_ARROWS = (
    ((1.22, 1.0), (1.98, 1.0), 0.0, "create", (1.6, 0.82)),
    ((3.22, 1.0), (4.28, 1.0), 0.0, "start", (3.75, 0.82)),
    ((5.4, 0.76), (6.7, 0.76), -0.3, "pause", (6.05, 0.42)),
    ((6.7, 1.24), (5.4, 1.24), -0.3, "unpause", (6.05, 1.6)),
    ((5.12, 1.24), (5.12, 2.36), 0.0, "stop · kill ·\nits program ends", (5.95, 1.98)),
    ((4.68, 2.36), (4.68, 1.24), 0.0, "start · restart", (3.93, 1.98)),
    ((7.35, 1.24), (5.52, 2.6), -0.35, "stop · kill", (7.5, 2.3)),
    ((4.28, 2.6), (0.6, 1.24), -0.25, "remove (forced\nwhile it runs)", (1.75, 2.72)),
)


@styled()
def state_machine(now: str) -> Picture:
    """The states and what leads from one to the other; the present one, in the engine's word or ``gone``, is lit."""
    figure, axes = canvas(3.5, (-0.2, 8.1), (3.1, 0.2))
    for start, end, bend, words, place in _ARROWS:
        axes.add_patch(FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=15,
            shrinkA=1, shrinkB=1, color=COLOURS["grey"], linewidth=1.6,
        ))  # fmt: skip
        axes.text(*place, words, ha="center", va="center", fontsize=10.5, linespacing=1.2)
    for state, (x, y) in _PLACES.items():
        lit = state == now
        colour, hatch = STATE_LOOK[state]
        axes.add_patch(FancyBboxPatch(
            (x - 0.62, y - 0.24), 1.24, 0.48, boxstyle="round,pad=0,rounding_size=0.14", zorder=3,
            facecolor=COLOURS[colour if lit else "paper"], hatch=hatch if lit else "",
            edgecolor=COLOURS["ink" if lit else "grey"], linewidth=3 if lit else 1.5,
            linestyle="--" if state == "gone" and not lit else "-",
        ))  # fmt: skip
        label(axes, x, y, "no container" if state == "gone" else state, pad=0.12, alpha=0.8 if lit else 0, ha="center",
              fontsize=11.5, zorder=4, fontweight="bold" if lit else "normal")  # fmt: skip
    axes.set_title("The states of a container", pad=6)
    alt = (
        "State diagram: create leads from no container to created, start to running, pause and unpause between "
        "running and paused, stop or kill or the program's end to exited, start back to running, remove to none."
    )
    return picture(figure, alt)


def _rows(moments: list[Moment], end: float) -> list[list[tuple[float, str]]]:
    """The events in as few rows as they fit with their words beside them."""
    rows: list[list[tuple[float, str]]] = []
    free: list[float] = []
    for at, word in sorted((at, word) for one in moments for at, word in one.events):
        row = next((number for number, since in enumerate(free) if at >= since), len(free))
        if row == len(free):
            rows.append([])
            free.append(0.0)
        rows[row].append((at, word))
        free[row] = at + end * (0.03 + 0.0115 * len(word))
    return rows


def _draw_timeline(axes: Axes, moments: list[Moment], rows: Sequence[list[tuple[float, str]]], end: float) -> None:
    """States as a coloured band, the engine's events as marks with their names."""
    done = [one.time + one.took for one in moments] + [end]
    named: set[str] = set()
    for one, start, stop in zip(moments, done, done[1:]):
        colour, hatch = STATE_LOOK.get(one.status, ("faint", ""))
        axes.barh(0, stop - start, left=start, height=0.5, color=COLOURS[colour], hatch=hatch, edgecolor=COLOURS["ink"],
                  linewidth=0.8, label=None if one.status in named else one.status, zorder=3)  # fmt: skip
        named.add(one.status)
    for number, row in enumerate(rows):
        level = 0.95 + 0.5 * number
        for at, word in row:
            axes.plot([at, at], [0.27, level], color=COLOURS["grey"], linewidth=0.9, zorder=2)
            axes.plot([at], [level], marker="D", markersize=6, color=COLOURS["blue"], markeredgecolor=COLOURS["ink"],
                      zorder=5)  # fmt: skip
            aside(axes, word, (at, level), 8, fontsize=10, zorder=4,
                  bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"})  # fmt: skip
    last = 0.95 + 0.5 * (len(rows) - 1)
    named_rows(axes, ["state", "engine's\nevents"], [0, (0.95 + last) / 2])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, end * 1.04), ylim=(last + 0.45, -0.5), xlabel="seconds since the first action")


@styled()
def timeline(moments: list[Moment], *, caption: str = "") -> Picture:
    """The life so far: states and events against time."""
    title = "A container's life, by the engine's own events"
    if not moments:
        figure, axes = canvas(1.2, (0, 1), (0, 1))
        axes.set_title(title, pad=8)
        axes.text(0, 0.5, "Nothing has happened yet.", color=COLOURS["grey"])
        return picture(figure, "Timeline of one container: nothing has happened yet.", caption=caption)
    end = max(moments[-1].time + moments[-1].took, *(at for one in moments for at, _ in one.events), 0.1) * 1.06
    rows = _rows(moments, end)
    figure, axes = new_figure(2.4 + 0.3 * len(rows))
    _draw_timeline(axes, moments, rows, end)
    axes.set_title(title, pad=30)
    legend(axes, ncols=6, height=0.99)
    words = in_words(list(dict.fromkeys(word for one in moments for _, word in one.events)))
    alt = f"Timeline of one container: its state as a coloured band, the engine's events below it: {words}."
    return picture(figure, alt, caption=caption)


@draws(Walk)
def plot(walk: Walk) -> Picture:
    """States as a band and the engine's events below it."""
    return timeline(walk.moments, caption=f"one container\n{machine_line(walk.engine)}")


@draws(Walk, "states")
def plot_states(walk: Walk) -> Picture:
    """The state diagram with the last state lit."""
    return state_machine(walk.moments[-1].status if walk.moments else "gone")


@draws(Stops)
def plot_stops(run: Stops) -> Picture:
    """Every ``docker stop`` as a dot, the grace period as a line."""
    figure, axes = new_figure(3.7)
    for row, (way, values) in enumerate(run.seconds.items()):
        killed = all(code == 137 for code in run.codes[way])
        colour, marker = ("vermilion", "X") if killed else ("green", "o")
        axes.scatter(values, [row] * len(values), s=95, marker=marker, alpha=0.6, color=COLOURS[colour], zorder=4,
                     edgecolor=COLOURS["ink"], linewidth=0.8)  # fmt: skip
        middle = statistics.median(values)
        words = f"median {middle:.1f} s, exit code {run.codes[way][0]}"
        right = middle < run.grace * 0.6
        aside(axes, words, (middle if right else run.grace, row), 14 if right else -8, fontsize=10.5)
    axes.axvline(run.grace, color=COLOURS["vermilion"], linestyle="--", linewidth=1.6,
                 label=f"grace period {run.grace:.0f} s, then SIGKILL")  # fmt: skip
    named_rows(axes, list(run.seconds), below=0.5)
    axes.set(xlim=(0, max(run.grace * 1.12, *(max(values) for values in run.seconds.values()))),
             xlabel="seconds from docker stop to its answer")  # fmt: skip
    axes.set_title("How long docker stop takes", pad=30)
    legend(axes, height=0.99)
    alt = "Dot plot of stop times: two ways of starting wait out the grace period and are killed, two leave at once."
    n = min(len(values) for values in run.seconds.values())
    return picture(figure, alt, caption=f"n = {n} each, all stopped at the same time\n{machine_line(run.engine)}")


@draws(Restarts)
def plot_restarts(run: Restarts) -> Picture:
    """The pause before each restart as a bar, and what the engine means to wait as a mark."""
    figure, axes = new_figure(4.1)
    numbers = list(range(1, len(run.pauses) + 1))
    axes.bar(numbers, run.pauses, width=0.6, color=COLOURS["sky"], hatch="//", edgecolor=COLOURS["ink"],
             linewidth=0.8, label="measured: from die to start, the start included", zorder=3)  # fmt: skip
    axes.plot(numbers, run.rule, marker="D", markersize=9, color=COLOURS["vermilion"], linestyle="--",
              markeredgecolor=COLOURS["ink"], label="the rule: 100 ms, doubled each time", zorder=5)  # fmt: skip
    for number, pause, meant in zip(numbers, run.pauses, run.rule):  # above both, so that no line crosses the words
        patch = {"boxstyle": "square,pad=0.1", "fc": COLOURS["paper"], "ec": "none"}
        aside(axes, f"{pause * 1000:.0f} ms", (number, max(pause, meant)), 0, 12, va="baseline", ha="center", bbox=patch,
              zorder=6)  # fmt: skip
    axes.set(xticks=numbers, ylim=(0, max([*run.pauses, *run.rule, 0.1]) * 1.2), xlabel="restart", ylabel="seconds")
    axes.grid(axis="x", visible=False)
    axes.set_title(f"Restart back-off, policy {run.policy}", pad=30)
    legend(axes, height=0.99)
    alt = "Bar chart: the pause before each restart grows; a dashed line marks the rule, 100 ms doubled each time."
    return picture(figure, alt, caption=f"one container, n = {len(run.pauses)} pauses\n{machine_line(run.engine)}")
