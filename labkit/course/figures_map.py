"""The map of the course: its labs as a path, with what this learner has done."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from . import LabEntry
from .progress import Standing
from .style import COLOURS, Picture, new_figure, picture, styled

# How a lab stands, as edge colour, edge style and the word that says the same.
STATES = {"done": ("green", "-", "✓ done"), "begun": ("orange", "-", "… begun"), "open": ("grey", "--", "○ open")}


@styled()
def course_map(labs: list[LabEntry], standings: dict[str, Standing], follows: str | None = None) -> Picture:
    """Draw the map, three labs a row; ``follows`` is the lab to take next, None when all are done."""
    rows = -(-len(labs) // 3)
    figure, axes = new_figure(1.73 * rows)
    axes.set_axis_off()
    axes.set(xlim=(0, 3), ylim=(rows, 0))
    centres = []
    for number, entry in enumerate(labs):
        row, column = divmod(number, 3)
        column = column if row % 2 == 0 else 2 - column  # a path that turns at each end
        centres.append((column + 0.5, row + 0.5))
        _box(axes, column, row, entry, standings[entry.lab], entry.lab == follows)
    for start, end in zip(centres, centres[1:]):
        _arrow(axes, start, end)
    words = "; ".join(f"{entry.number} {entry.title}" for entry in labs)
    done = [f"{entry.number} {_words(standings[entry.lab], entry.lab == follows)}" for entry in labs]
    return picture(figure, f"Map of the course, a path through {len(labs)} labs: {words}.", state="; ".join(done) + ".")


def _words(standing: Standing, follows: bool) -> str:
    count = f" {standing.passed}/{len(standing.exercises)}" if standing.state == "begun" else ""
    return STATES[standing.state][2] + count + (" → next" if follows else "")


def _box(axes: Axes, column: int, row: int, entry: LabEntry, standing: Standing, follows: bool) -> None:
    colour, line, _ = STATES[standing.state]
    box = FancyBboxPatch(
        (column + 0.05, row + 0.1), 0.9, 0.8, boxstyle="round,pad=0,rounding_size=0.05", linewidth=3 if follows else 2,
        edgecolor=COLOURS["blue" if follows else colour], facecolor=COLOURS["paper"],
        linestyle="-" if follows else line, mutation_aspect=0.6,
    )  # fmt: skip
    axes.add_patch(box)
    left = column + 0.085
    axes.text(left, row + 0.27, entry.number, fontsize=17, fontweight="bold", color=COLOURS["blue"], va="center")
    axes.text(column + 0.215, row + 0.275, entry.title, fontsize=11.5, fontweight="bold", va="center")
    axes.text(left, row + 0.42, textwrap.fill(entry.line, 32), fontsize=10, va="top", linespacing=1.35)
    axes.text(left, row + 0.83, _words(standing, follows), fontsize=9.5, va="bottom",
              fontweight="bold" if follows else "normal", color=COLOURS["blue" if follows else "ink"])  # fmt: skip
    axes.text(column + 0.92, row + 0.83, f"{entry.minutes} min", fontsize=9.5, color=COLOURS["grey"],
              ha="right", va="bottom")  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = start, end
    if y0 == y1:
        step = 0.455 if x1 > x0 else -0.455
        ends = (x0 + step, y0), (x1 - step, y1)
    else:
        ends = (x0, y0 + 0.4), (x1, y1 - 0.4)
    axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14, color=COLOURS["ink"], linewidth=1.8))
