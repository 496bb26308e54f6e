"""A pipeline's run as a Gantt chart; the shop's architectures by latency, blast radius, rebuild, scaling."""

from __future__ import annotations

import statistics

from matplotlib.patches import Patch, Rectangle

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, new_figure, picture, styled
from ...units import show_time
from .pipeline import Release
from .shop import ARCHITECTURES, ENDPOINTS, BlastRadius, Latency, RebuildScope, Scaling

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
    """When each stage began and how long it took."""
    with styled():
        figure, axes = new_figure(4.6)
        end = max(stage.began + stage.seconds for stage in release.stages)
        waiting = [stage for stage in release.stages if stage.state == "waiting"]
        for row, stage in enumerate(release.stages):
            colour, hatch, sign = STATES[stage.state]
            if stage.state == "skipped":
                axes.text(end * 0.004, row, "– not reached", va="center", color=COLOURS["grey"])
                continue
            width = end * 0.12 if stage.state == "waiting" else max(stage.seconds, end * 0.004)
            axes.barh(row, width, left=stage.began, height=0.62, color=COLOURS[colour], hatch=hatch,
                      edgecolor=COLOURS["ink"], linewidth=1)  # fmt: skip
            # A gate takes no time of the machine's: who opened it is what counts.
            timed = stage.state != "waiting" and stage.name != "gate"
            words = f"{sign} {_brief(stage.seconds)}" if timed else f"{sign} {stage.words}"
            if stage.state == "failed":
                words = f"{sign} failed after {show_time(stage.seconds)}"
            late = stage.began + width > end * 0.75
            axes.annotate(words, (stage.began if late else stage.began + width, row), va="center",
                          xytext=(-6 if late else 6, 0), ha="right" if late else "left",
                          textcoords="offset points", fontsize=11)  # fmt: skip
        axes.set_yticks(range(len(release.stages)), [stage.name for stage in release.stages])
        axes.set_ylim(len(release.stages) - 0.4, -0.6)
        axes.set_xlim(0, end * (1.25 if waiting else 1.06))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds since the commit" + ("" if not waiting else "; the gate has no end yet"))
        outcome = "released" if release.released else "not released"
        axes.set_title(f"Continuous {release.mode}: {outcome}", pad=12)
        words = "; ".join(f"{stage.name} {stage.state}" for stage in release.stages)
        caption = f"n = 1 run, built without the cache\n{machine_line(release.engine)}"
        return picture(figure, f"Gantt chart of the pipeline's stages: {words}.", caption=caption)


def _brief(seconds: float) -> str:
    return show_time(seconds) if seconds >= 0.0001 else "< 0.1 ms"


@draws(Latency)
def plot_latency(run: Latency) -> Picture:
    """Every request as a mark, medians as lines, grouped by endpoint; the number of HTTP requests beside."""
    with styled():
        figure, axes = new_figure(4.9)
        rows, ticks = [], []
        for endpoint in ENDPOINTS:
            for architecture in ARCHITECTURES:
                rows.append((endpoint, architecture))
        place = 0.0
        for number, (endpoint, architecture) in enumerate(rows):
            place += 1.6 if number and number % 3 == 0 else 1
            colour, marker = LOOKS[architecture]
            values = [value * 1000 for value in run.seconds[architecture][endpoint]]
            middle = statistics.median(values)
            axes.scatter(values, [place] * len(values), s=34, alpha=0.35, marker=marker, color=COLOURS[colour])
            axes.plot([middle, middle], [place - 0.38, place + 0.38], color=COLOURS["ink"], linewidth=2.4)
            count = run.hops[architecture][endpoint]
            axes.text(1.01, place, f"{show_time(middle / 1000)} · {count} request{'s' if count > 1 else ''}",
                      transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)  # fmt: skip
            ticks.append((place, f"{endpoint} · {architecture}"))
        axes.set_yticks([y for y, _ in ticks], [text for _, text in ticks])
        axes.tick_params(axis="y", labelsize=10.5)
        axes.set_ylim(place + 0.7, 0.3)
        everything = sorted(v * 1000 for kinds in run.seconds.values() for rows in kinds.values() for v in rows)
        axes.set_xlim(0, everything[int(len(everything) * 0.97)] * 1.15)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("milliseconds a request, seen from outside the shop")
        axes.set_title("One request from outside, and the requests behind it", pad=12)
        alt = "Request times by endpoint and architecture, medians marked. HTTP requests behind one: " + "; ".join(
            f"{architecture} {', '.join(f'{endpoint} {count}' for endpoint, count in hops.items())}"
            for architecture, hops in run.hops.items()
        )
        caption = (f"n = {run.n} requests each, one at a time, warm; the slowest 3 % may lie outside the axis"
                   f"\n{machine_line(run.engine)}")  # fmt: skip
        return picture(figure, alt + ".", caption=caption)


@draws(BlastRadius)
def plot_blast(run: BlastRadius) -> Picture:
    """A cell a request: the stopped piece down, the endpoints across."""
    rows = [(a, piece, answers) for a, stops in run.answered.items() for piece, answers in stops.items()]
    with styled():
        figure, axes = new_figure(0.42 * len(rows) + 1.9)
        axes.set_axis_off()
        height, y = 0.0, []
        for number, (architecture, _, _) in enumerate(rows):
            height += 1.45 if number and rows[number - 1][0] != architecture else 1
            y.append(height)
        axes.set_xlim(0, 10)
        axes.set_ylim(height + 0.8, -0.3)
        for column, endpoint in enumerate(ENDPOINTS):
            axes.text(5.15 + column * 1.7, 0.15, f"/{endpoint}", ha="center", va="center", fontweight="bold")
        axes.text(2.2, 0.15, "stopped piece", va="center", fontweight="bold")
        for number, (architecture, piece, answers) in enumerate(rows):
            if not number or rows[number - 1][0] != architecture:
                axes.text(0.05, y[number], architecture, va="center", fontweight="bold", fontsize=11.5)
            axes.text(2.2, y[number], piece, va="center")
            for column, endpoint in enumerate(ENDPOINTS):
                good = answers[endpoint]
                colour, hatch, sign = STATES["passed" if good else "failed"]
                x = 4.3 + column * 1.7
                axes.add_patch(Rectangle((x, y[number] - 0.45), 1.64, 0.9, facecolor=COLOURS[colour], alpha=0.35,
                                         hatch="" if good else "//", edgecolor=COLOURS[colour], linewidth=0.8))  # fmt: skip
                axes.text(x + 0.82, y[number], f"{sign} {'answers' if good else 'down'}", ha="center", va="center",
                          fontsize=11, fontweight="bold",
                          bbox={"boxstyle": "round,pad=0.15", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.8})  # fmt: skip
        axes.set_title("Blast radius: stop one piece, ask every endpoint", pad=6)
        alt = "Heat map of stopped pieces against endpoints. " + "; ".join(
            f"{a} without {piece}: {', '.join(e for e in ENDPOINTS if answers[e]) or 'nothing'} answers"
            for a, piece, answers in rows
        )
        caption = f"Each cell is one real request while that piece was stopped\n{machine_line(run.engine)}"
        return picture(figure, alt + ".", caption=caption)


@draws(RebuildScope)
def plot_rebuild_scope(run: RebuildScope) -> Picture:
    """The images of each architecture as boxes; those that are new are filled and hatched."""
    with styled():
        figure, axes = new_figure(3.3)
        axes.set_axis_off()
        axes.set_xlim(0, 10)
        axes.set_ylim(len(run.rebuilt), -0.1)
        for row, (architecture, pieces) in enumerate(run.rebuilt.items()):
            axes.text(0.02, row + 0.5, architecture, va="center", fontweight="bold")
            count = sum(len(ARCHITECTURES[architecture][piece]) for piece in pieces)
            left = 2.1
            for piece, new in pieces.items():
                modules = ARCHITECTURES[architecture][piece]
                width = 7.8 * len(modules) / count
                colour, hatch = ("vermilion", "//") if new else ("faint", "")
                axes.add_patch(Rectangle((left, row + 0.08), width - 0.08, 0.8, facecolor=COLOURS[colour],
                                         alpha=0.4 if new else 1, hatch=hatch, edgecolor=COLOURS[colour]))  # fmt: skip
                axes.add_patch(Rectangle((left, row + 0.08), width - 0.08, 0.8, fill=False, edgecolor=COLOURS["ink"],
                                         linewidth=1.4))  # fmt: skip
                lines = ", ".join(modules) if width > 3 else "\n".join(modules)
                axes.text(left + width / 2 - 0.04, row + 0.48, lines, ha="center", va="center", fontsize=9.5,
                          bbox={"boxstyle": "round,pad=0.2", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.85})  # fmt: skip
                left += width
        marks = [
            Patch(facecolor=COLOURS["vermilion"], alpha=0.4, hatch="//", edgecolor=COLOURS["vermilion"],
                  label="a new image: build, test, push, deploy"),
            Patch(facecolor=COLOURS["faint"], edgecolor=COLOURS["ink"], label="the same image as before"),
        ]  # fmt: skip
        axes.legend(handles=marks, loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        axes.set_title(f"{run.changed} changed: which images are new?")
        alt = f"Images of each architecture as boxes with their modules, after {run.changed} changed. " + "; ".join(
            f"{a}: {sum(pieces.values())} of {len(pieces)} new" for a, pieces in run.rebuilt.items()
        )
        return picture(figure, alt + ".", caption=f"Compared by layers\n{machine_line(run.engine)}")


@draws(Scaling)
def plot_scaling(run: Scaling) -> Picture:
    """Good answers a second against the number of copies, every batch as a mark."""
    with styled():
        figure, axes = new_figure(4.2)
        copies = sorted(run.per_second)
        for count in copies:
            axes.scatter([count] * len(run.per_second[count]), run.per_second[count], s=60, alpha=0.5,
                         color=COLOURS["blue"], marker="o")  # fmt: skip
        middle = [statistics.median(run.per_second[count]) for count in copies]
        axes.plot(copies, middle, color=COLOURS["blue"], marker="o", label="median of the batches")
        limit = [count / run.work for count in copies]
        axes.plot(copies, limit, color=COLOURS["grey"], linestyle="--", marker="", linewidth=1.6,
                  label=f"copies ÷ {run.work:g} s: what the bottleneck allows")  # fmt: skip
        for count, value in zip(copies, middle):
            axes.annotate(f"{value:.0f}/s", (count, value), xytext=(9, -14), textcoords="offset points")
        axes.set_xticks(copies)
        axes.set_xlim(copies[0] - 0.25, copies[-1] + 0.35)
        axes.set_ylim(0, max([*limit, *(v for rows in run.per_second.values() for v in rows)]) * 1.1)
        axes.set_xlabel("copies of the catalogue; all else unchanged")
        axes.set_ylabel("answers a second")
        axes.set_title("Scaling one piece alone")
        axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        n = len(run.per_second[copies[0]])
        alt = (
            "Line chart of answers a second against the number of copies of the catalogue, beside a dashed line that "
            "shows what the bottleneck allows."
        )
        caption = f"n = {n} batches at each number, eight requests at a time, warm\n{machine_line(run.engine)}"
        return picture(figure, alt, caption=caption)
