"""Two figures: the system as it should be, and the card of an incident, with what was done when."""

import textwrap

from matplotlib.axes import Axes

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, box, canvas, label, legend, new_figure, picture
from .incidents import Report
from .system import Manual

#: Left edge, name, words and colour of each part, and what the arrow to it says.
_BOXES = (
    (0.0, "customer", "asks at the\npublished port", "grey", ""),
    (2.5, "web", "the page\nlistens on 8080", "sky", "127.0.0.1:PORT"),
    (5.0, "api", "the rules\nlistens on 8000", "blue", "http://api:8000"),
    (7.5, "store", "the data\nlistens on 8000", "green", "http://store:8000"),
)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], style: str = "-|>") -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": style, "color": COLOURS["ink"], "linewidth": 1.8})


@draws(Manual)
def plot_manual(found: Manual) -> Picture:
    """The parts from the customer to the book, who asks whom, and where the book and the token are."""
    figure, axes = canvas(4.5, (-0.1, 9.3), (4.6, 0))
    box(axes, 2.2, 0.55, 7.05, 2.15, "faint", outline=1, linestyle="--")
    label(axes, 2.35, 2.48, "network: counter", fontsize=10.5)
    for x, name, words, colour, asks in _BOXES:
        box(axes, x, 1.0, 1.6, 1.3, colour, alpha=0.25, edge=2)
        axes.text(x + 0.8, 1.32, name, ha="center", va="center", fontsize=13, fontweight="bold")
        axes.text(x + 0.8, 1.85, words, ha="center", va="center", fontsize=10, linespacing=1.3)
        if asks:
            _arrow(axes, (x - 0.88, 1.65), (x - 0.02, 1.65))
            label(axes, x - (0.9 if name == "web" else 0.45), 0.8, asks, ha="center", fontsize=9.5)
    for x, name, words in ((5.0, "volume: secret", "the token"), (7.5, "volume: orders", "the book")):
        box(axes, x, 3.35, 1.6, 0.9, "orange", "//", alpha=0.3, edge=2)
        label(axes, x + 0.8, 3.62, name, ha="center", fontsize=10.5, fontweight="bold")
        label(axes, x + 0.8, 3.98, words, ha="center", fontsize=10)
        _arrow(axes, (x + 0.8, 2.3), (x + 0.8, 3.33), "-")
    _arrow(axes, (7.65, 2.3), (6.62, 3.5), "-")
    axes.set_title("The tea counter, as it should be", pad=6)
    alt = (
        "Diagram: a customer asks the web at a published port, the web asks the api, the api asks the store, all three in "
        "one network; the store keeps its book in a volume, and api and store read the token from another."
    )
    return picture(figure, alt, caption=machine_line(found.engine))


@draws(Report)
def plot_report(report: Report) -> Picture:
    """When commands were typed, hints taken and checks made; and, once mended, the shortest way beside."""
    way = [line for text in report.way for line in textwrap.wrap(f"$ {text}", 96, subsequent_indent="    ")]
    lines = way if report.mended else []
    figure, (axes, below) = new_figure(
        2.9 + 0.24 * len(lines), nrows=2, height_ratios=[2.0, max(0.05, 0.24 * len(lines) + 0.2)]
    )
    unit, one = ("minutes", 60) if report.seconds >= 120 else ("seconds", 1)
    whole = max(report.seconds, 1) / one
    rows = {
        "commands": ("blue", "|", [when for when, _ in report.commands]),
        "hints": ("orange", "^", report.hints),
        "checks": ("vermilion", "x", [when for when, good in report.checks if not good]),
    }
    for place, (name, (colour, mark, times)) in enumerate(rows.items()):
        axes.plot([when / one for when in times], [place] * len(times), linestyle="", marker=mark, markersize=13,
                  markeredgewidth=2.4, color=COLOURS[colour], label=name if name != "checks" else "check: not yet")  # fmt: skip
    good = [when / one for when, good in report.checks if good]
    axes.plot(
        good, [2] * len(good), linestyle="", marker="o", markersize=12, color=COLOURS["green"], label="check: mended"
    )
    axes.set_yticks(
        range(3),
        [f"{name}: {len(times) + (len(good) if name == 'checks' else 0)}" for name, (_, _, times) in rows.items()],
    )
    axes.set(ylim=(2.6, -0.6), xlim=(-0.02 * whole, whole * 1.04), xlabel=f"{unit} since the report")
    state = (
        f"mended after {report.seconds / one:.{0 if one == 1 and report.seconds >= 10 else 1}f} {unit}"
        if report.mended
        else "not mended yet"
    )
    axes.set_title(f"Incident {report.number}: {report.title if report.mended else '…'} – {state}")
    legend(axes, ncols=4, height=1.0)
    below.set_axis_off()
    if lines:
        below.text(0, 1, f"The shortest way: {len(report.way)} commands", va="top", fontweight="bold", fontsize=11.5,
                   transform=below.transAxes)  # fmt: skip
        below.text(0, 1 - 1.4 / (len(lines) + 2), "\n".join(lines), va="top", family="monospace", fontsize=8.8, linespacing=1.35,
                   transform=below.transAxes)  # fmt: skip
    alt = "Card of an incident: a time line with a mark for each command, hint and check" + (
        ", and below it the commands of the shortest way." if report.mended else "."
    )
    caption = f"changes to containers that the engine's events tell of: {report.changes}\n{machine_line(report.engine)}"
    return picture(figure, alt, caption=caption)
