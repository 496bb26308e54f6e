"""A pipeline's run as a Gantt chart; the shop's architectures by latency, blast radius, rebuild, scaling."""

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Look, Picture, aside, box, canvas, label, legend, named_rows, new_figure, picture
from ...units import show_time
from .pipeline import Release
from .shop import ARCHITECTURES, ENDPOINTS, BlastRadius, Latency, RebuildScope, Scaling, good

#: A stage's look by its state: colour, hatch, sign.
STATES = {
    "passed": ("green", "", "✓"),
    "failed": ("vermilion", "xx", "✗"),
    "waiting": ("orange", "..", "…"),
    "skipped": ("faint", "", "–"),
    "running": ("sky", "//", "▶"),
}
LOOKS = {"monolith": ("ink", "o"), "layered": ("orange", "s"), "microservices": ("blue", "^")}


@draws(Release)
def plot_release(release: Release) -> Picture:
    """When each stage began and how long it took; a person's wait is drawn short, and told in full."""
    figure, axes = new_figure(4.6)
    gate = release.stage("gate")
    end = max(stage.began + stage.seconds for stage in release.stages)
    waiting = gate.state == "waiting"
    # People take minutes where the machine takes seconds: what the axis leaves out of their wait.
    cut = max(0.0, gate.seconds - 0.15 * (end - gate.seconds)) if gate.state == "passed" else 0.0
    end -= cut
    room = 1.25 if waiting else 1.06
    for row, stage in enumerate(release.stages):
        colour, hatch, sign = STATES[stage.state]
        if stage.state == "skipped":
            axes.text(end * 0.004, row, "– not reached", va="center", color=COLOURS["grey"])
            continue
        width = end * 0.12 if stage.state == "waiting" else max(stage.seconds, end * 0.004)
        began = stage.began
        if cut and stage is gate:
            width, hatch = width - cut, STATES["waiting"][1]
        elif cut and began > gate.began:
            began -= cut
        axes.barh(row, width, left=began, height=0.62, color=COLOURS[colour], hatch=hatch,
                  edgecolor=COLOURS["ink"], linewidth=1)  # fmt: skip
        words = f"{sign} {stage.words if stage is gate else _brief(stage.seconds)}"
        if stage.state == "failed":
            words = f"{sign} failed after {show_time(stage.seconds)}"
        elif stage is gate and cut:
            words += f" after {show_time(stage.seconds)}"
        late = began + width > end * 0.75
        if late and began < end * 0.25:  # no room on its left, neither
            late, room = False, 1.25
        aside(axes, words, (began if late else began + width, row), -6 if late else 6, fontsize=11)
    named_rows(axes, [stage.name for stage in release.stages])
    axes.set(xlim=(0, end * room),
             xlabel="seconds since the commit" + ("; the gate has no end yet" if waiting else ""))  # fmt: skip
    caption = "n = 1 run, built without the cache"
    if release.released:
        whole = release.stage("production")
        caption += f" · from commit to production {show_time(whole.began + whole.seconds)}"
        caption += f", {show_time(gate.seconds)} of it a person's wait" if cut else ""
    if cut:
        shown = gate.began + gate.seconds - cut
        axes.axvspan(gate.began, shown, color=COLOURS["faint"], zorder=0)
        axes.xaxis.set_major_formatter(
            lambda at, _: f"{at:.1f}" if at <= gate.began else f"{at + cut:.1f}" if at >= shown else ""
        )
        caption += "\ngrey: the wait is drawn shorter than it was; the times below the axis are the true ones"
    outcome = "released" if release.released else "not released"
    axes.set_title(f"Continuous {release.mode}: {outcome}", pad=12)
    words = "; ".join(f"{stage.name} {stage.state}" for stage in release.stages)
    caption += f"\n{machine_line(release.engine)}"
    return picture(figure, f"Gantt chart of the pipeline's stages: {words}.", caption=caption)


def _brief(seconds: float) -> str:
    return show_time(seconds) if seconds >= 0.0001 else "< 0.1 ms"


@draws(Latency)
def plot_latency(run: Latency) -> Picture:
    """Every request as a mark, medians as lines, grouped by endpoint; the number of HTTP requests beside."""
    figure, axes = new_figure(4.9)
    places, names = [], []
    for group, endpoint in enumerate(ENDPOINTS):
        for number, architecture in enumerate(ARCHITECTURES, 1):
            places.append(place := number + 3.6 * group)
            names.append(f"{endpoint} · {architecture}")
            count = len(run.hops[architecture][endpoint])
            values = [value * 1000 for value in run.seconds[architecture][endpoint]]
            words = f"{show_time(statistics.median(values) / 1000)} · {count} request{'s' if count > 1 else ''}"
            strip(axes, place, values, LOOKS[architecture], words, 34)
    named_rows(axes, names, places, below=0.7)
    axes.tick_params(axis="y", labelsize=10.5)
    everything = sorted(v * 1000 for kinds in run.seconds.values() for rows in kinds.values() for v in rows)
    axes.set(ylim=(places[-1] + 0.7, 0.3), xlim=(0, everything[int(len(everything) * 0.97)] * 1.15),
             xlabel="milliseconds a request, seen from outside the shop")  # fmt: skip
    axes.set_title("One request from outside, and the requests behind it", pad=12)
    alt = "Request times by endpoint and architecture, medians marked. HTTP requests behind one: " + "; ".join(
        f"{architecture} {', '.join(f'{endpoint} {len(chain)}' for endpoint, chain in hops.items())}"
        for architecture, hops in run.hops.items()
    )
    caption = (f"n = {run.n} requests each, one at a time, warm; the slowest 3 % may lie outside the axis"
               f"\n{machine_line(run.engine)}")  # fmt: skip
    return picture(figure, alt + ".", caption=caption)


@draws(BlastRadius)
def plot_blast(run: BlastRadius) -> Picture:
    """A cell a request: the stopped piece down, the endpoints across."""
    count = sum(len(stops) for stops in run.replies.values())
    gaps = 0.45 * (len(run.replies) - 1)
    figure, axes = canvas(0.42 * count + 1.9, (0, 10), (count + gaps + 0.8, -0.3))
    for column, endpoint in enumerate(ENDPOINTS):
        axes.text(5.15 + column * 1.7, 0.15, f"/{endpoint}", ha="center", va="center", fontweight="bold")
    axes.text(2.2, 0.15, "stopped piece", va="center", fontweight="bold")
    y = 0.0
    for architecture, stops in run.replies.items():
        y += 0.45 if y else 0
        axes.text(0.05, y + 1, architecture, va="center", fontweight="bold", fontsize=11.5)
        for piece, replies in stops.items():
            y += 1
            axes.text(2.2, y, piece, va="center")
            for column, endpoint in enumerate(ENDPOINTS):
                works(axes, 4.3 + column * 1.7, y - 0.45, 1.64, good(replies[endpoint]), ("answers", "down"),
                      fontsize=11)  # fmt: skip
    axes.set_title("Blast radius: stop one piece, ask every endpoint", pad=6)
    told = "; ".join(f"{architecture} without {piece}: {left} answers" for architecture, piece, left in run.rows())
    alt = f"Heat map of stopped pieces against endpoints. {told}."
    caption = f"Each cell is one real request while that piece was stopped\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


@draws(RebuildScope)
def plot_rebuild_scope(run: RebuildScope) -> Picture:
    """The images of each architecture as boxes; those that are new are filled and hatched."""
    figure, axes = canvas(3.3, (0, 10), (len(run.rebuilt), -0.1))
    for row, (architecture, pieces) in enumerate(run.rebuilt.items()):
        axes.text(0.02, row + 0.5, architecture, va="center", fontweight="bold")
        layout = ARCHITECTURES[architecture]
        count = sum(len(layout[piece]) for piece in pieces)
        left = 2.1
        for piece, new in pieces.items():
            modules = layout[piece]
            width = 7.8 * len(modules) / count
            colour, hatch = ("vermilion", "//") if new else ("faint", "")
            box(axes, left, row + 0.08, width - 0.08, 0.8, colour, hatch, alpha=0.4 if new else 1, edge=1, outline=1.4)
            lines = ", ".join(modules) if width > 3 else "\n".join(modules)
            label(axes, left + width / 2 - 0.04, row + 0.48, lines, pad=0.2, alpha=0.85, ha="center", fontsize=9.5)
            left += width
    marks = [
        Patch(facecolor=COLOURS["vermilion"], alpha=0.4, hatch="//", edgecolor=COLOURS["vermilion"],
              label="a new image: build, test, push, deploy"),
        Patch(facecolor=COLOURS["faint"], edgecolor=COLOURS["ink"], label="the same image as before"),
    ]  # fmt: skip
    legend(axes, handles=marks)
    axes.set_title(f"{run.changed} changed: which images are new?")
    alt = f"Images of each architecture as boxes with their modules, after {run.changed} changed. " + "; ".join(
        f"{a}: {sum(map(bool, pieces.values()))} of {len(pieces)} new" for a, pieces in run.rebuilt.items()
    )
    return picture(figure, alt + ".", caption=f"Compared by layers\n{machine_line(run.engine)}")


@draws(Scaling)
def plot_scaling(run: Scaling) -> Picture:
    """Good answers a second against the number of copies, every batch as a mark."""
    figure, axes = new_figure(4.2)
    copies = per_second(
        axes, run.per_second, run.work, "median of the batches", "copies", ": what the bottleneck allows"
    )
    top = max([copies[-1] / run.work, *(value for rows in run.per_second.values() for value in rows)])
    axes.set(xticks=copies, xlim=(copies[0] - 0.25, copies[-1] + 0.35), ylim=(0, top * 1.1),
             xlabel="copies of the catalogue; all else unchanged")  # fmt: skip
    axes.set_title("Scaling one piece alone")
    alt = (
        "Line chart of answers a second against the number of copies of the catalogue, beside a dashed line that "
        "shows what the bottleneck allows."
    )
    n = len(run.per_second[copies[0]])
    caption = f"n = {n} warm batches at each number, {LOADED}\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


#: How copies of a service are loaded (``shop.loaded``, ``data/apps/shop/serve.py``).
LOADED = "16 requests each, eight at a time, to a copy by chance; the work is a sleep under a lock"


def per_second(
    axes: Axes, batches: dict[int, list[float]], work: float, measured: str, what: str, why: str
) -> list[int]:
    """Answers a second against a number of copies: batches as marks, medians as a line, dashed what could be.

    Returns:
        The numbers, smallest first.
    """
    numbers = sorted(batches)
    for number in numbers:
        axes.scatter([number] * len(batches[number]), batches[number], s=60, alpha=0.5, color=COLOURS["blue"])
    middle = [statistics.median(batches[number]) for number in numbers]
    axes.plot(numbers, middle, marker="o", color=COLOURS["blue"], label=measured)
    axes.plot(numbers, [number / work for number in numbers], linestyle="--", color=COLOURS["grey"], linewidth=1.6,
              label=f"{what} ÷ {work:g} s{why}")  # fmt: skip
    for number, value in zip(numbers, middle):
        axes.annotate(f"{value:.0f}/s", (number, value), xytext=(9, -15), textcoords="offset points")
    axes.set_ylabel("answers a second")
    legend(axes)
    return numbers


def strip(axes: Axes, row: float, values: Sequence[float], look: Look, words: str, size: int = 75) -> None:
    """A row of marks, one a value, the median as a line, its words at the right edge."""
    colour, marker, *_ = look
    axes.scatter(values, [row] * len(values), s=size, alpha=0.45, marker=marker, color=COLOURS[colour])
    middle = statistics.median(values)
    axes.plot([middle, middle], [row - 0.33, row + 0.33], color=COLOURS["ink"], linewidth=2.5)
    axes.text(1.01, row, words, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)


def works(axes: Axes, x: float, y: float, width: float, good: bool, words: tuple[str, str], fontsize: float) -> None:
    """A cell that says whether something worked: in colour, hatch, sign and word."""
    colour, _, sign = STATES["passed" if good else "failed"]
    box(axes, x, y, width, 0.9, colour, "" if good else "//")
    label(axes, x + width / 2, y + 0.45, f"{sign} {words[0 if good else 1]}", pad=0.15, alpha=0.8, ha="center",
             fontsize=fontsize, fontweight="bold")  # fmt: skip
