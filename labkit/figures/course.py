"""The map of the course: nine labs as a path, with what this learner has done."""

from __future__ import annotations

import textwrap

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ..course import LabEntry
from .style import COLOURS, Picture, new_figure, picture, styled

# How a lab stands, as colour, edge style and the word that says the same.
STATES = {"done": ("green", "-", "✓ done"), "begun": ("orange", "-", "… begun"), "open": ("faint", "--", "")}


def course_map(labs: list[LabEntry], states: dict[str, str]) -> Picture:
    """Draw the map.

    Args:
        labs: in order; nine of them make three rows.
        states: lab to ``"done"`` or ``"begun"``; missing means open.
    """
    with styled():
        figure, axes = new_figure(4.9)
        axes.set_axis_off()
        axes.set_xlim(0, 3)
        axes.set_ylim(3, 0)
        centres = []
        for number, entry in enumerate(labs):
            row, column = divmod(number, 3)
            column = column if row % 2 == 0 else 2 - column  # a path that turns at each end
            centres.append((column + 0.5, row + 0.5))
            _box(axes, column, row, entry, states.get(entry.lab, "open"))
        for start, end in zip(centres, centres[1:]):
            _arrow(axes, start, end)
        words = "; ".join(f"{entry.number} {entry.title}" for entry in labs)
        return picture(figure, f"Map of the course, a path through nine labs: {words}.")


def _box(axes, column: int, row: int, entry: LabEntry, state: str) -> None:
    colour, line, word = STATES[state]
    box = FancyBboxPatch(
        (column + 0.05, row + 0.12), 0.9, 0.76, boxstyle="round,pad=0,rounding_size=0.05", linewidth=2,
        edgecolor=COLOURS["ink" if state == "open" else colour], facecolor=COLOURS["paper"], linestyle=line,
        mutation_aspect=0.6,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(
        column + 0.085, row + 0.3, entry.number, fontsize=17, fontweight="bold", color=COLOURS["blue"], va="center"
    )
    axes.text(column + 0.215, row + 0.305, entry.title, fontsize=11.5, fontweight="bold", va="center")
    axes.text(column + 0.085, row + 0.46, textwrap.fill(entry.line, 32), fontsize=10, va="top", linespacing=1.35)
    note = f"{entry.minutes} min" + (f"   {word}" if word else "")
    axes.text(column + 0.92, row + 0.84, note, fontsize=9.5, color=COLOURS["grey"], ha="right", va="bottom")


def _arrow(axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = start, end
    if y0 == y1:
        step = 0.455 if x1 > x0 else -0.455
        ends = (x0 + step, y0), (x1 - step, y1)
    else:
        ends = (x0, y0 + 0.385), (x1, y1 - 0.385)
    axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14, color=COLOURS["ink"], linewidth=1.8))
