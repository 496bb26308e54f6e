"""Figures of measured comparisons: a row of marks or a curve for each subject, with method, rounds and machine."""

import textwrap

from matplotlib.axes import Axes

from ..units import show_time
from .benchmark import Benchmark, Series, published
from .result import draws, machine_line
from .style import COLOURS, MODELS, Picture, new_figure, picture

#: How the course's models look; runc alone stands between process and container.
LOOK = {**MODELS, "runc": ("purple", "D", "..")}


def value_text(value: float, unit: str) -> str:
    """A value with its unit as a person reads it."""
    if unit == "s":
        return show_time(value)
    if unit == "instances":
        return f"{value:,.0f}"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _name(row: Series) -> str:
    return row.label + (" (emulated)" if row.emulated else "")


#: What emulation means for the numbers, by unit.
_EMULATED = {
    "MiB": "Emulated, so n is small: QEMU also holds the code that it translates; with KVM or HVF it takes less.",
    "instances": "Emulated, so n is small: QEMU also holds the code that it translates; with KVM or HVF more would fit.",
}


def caption_of(result: Benchmark, *more: Series) -> str:
    """Method, rounds, budget and machine; ``more`` are series to count beside or in place of the result's own."""
    lines = [_wrap("Method: " + result.method)]
    lines += [_wrap(result.note)] if result.note else []
    # What belongs together stays on one line.
    counts = [f"{_name(row)}:~n~=~{row.n}{'~(partial)' if row.partial else ''}" for row in (more or result.series)]
    counts.append(f"budget~{result.budget:g}~s, took~{result.seconds:.0f}~s")
    if result.interrupted:
        counts.append("interrupted: partial")
    lines.append(_wrap(" · ".join(counts).replace("~", "\N{NO-BREAK SPACE}")))
    if any(row.emulated for row in result.series):
        fast = "Emulated: that processor is software here, so n is small; with KVM or HVF it would be several times faster."
        lines.append(_EMULATED.get(result.unit, fast))
    return "\n".join([*lines, f"Again: {result.again}", machine_line(result.engine)])


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 136, break_on_hyphens=False))


@draws(Benchmark, "ecdf")
def plot_ecdf(result: Benchmark) -> Picture:
    """The share of runs that were done after a time, on a logarithmic axis; published figures as stars below."""
    found = published(result.name)
    figure, axes = new_figure(5.4 + (1.4 if found else 0))
    for row in result.series:
        colour, marker, _ = LOOK[row.model]
        values = sorted(row.values)
        shares = [(number + 1) / len(values) for number in range(len(values))]
        axes.step([values[0], *values], [0, *shares], where="post", color=COLOURS[colour], zorder=3,
                  linestyle="--" if row.emulated else "-")  # fmt: skip
        axes.plot(values, shares, linestyle="none", marker=marker, markersize=6, color=COLOURS[colour], zorder=4,
                  label=f"{_name(row)}: {value_text(row.median, result.unit)}")  # fmt: skip
    low = -0.12 - 0.095 * len(found) if found else 0
    values = [value for row in result.series for value in row.values]
    middle = (min(values) * max(values)) ** 0.5
    for number, item in enumerate(sorted(found, key=lambda item: item.value)):
        height = -0.12 - 0.095 * number
        axes.plot([item.value], [height], marker="*", markersize=12, color=COLOURS["grey"], linestyle="none",
                  label="published, other machines" if number == 0 else None)  # fmt: skip
        right = item.value < middle
        axes.annotate(f"{item.label} ({item.source})", (item.value, height), xytext=(9 if right else -9, 0),
                      textcoords="offset points", va="center", ha="left" if right else "right", fontsize=9.5,
                      color=COLOURS["grey"])  # fmt: skip
    axes.set_xscale("log")
    if found:
        axes.axhline(0, color=COLOURS["grey"], linewidth=1)
    axes.xaxis.set_major_formatter(lambda value, _: show_time(value) if result.unit == "s" else f"{value:g}")
    axes.set_ylim(low, 1.05)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set(ylabel="runs that were done", xlabel=f"{result.title.lower()} (logarithmic)")
    axes.set_title(f"{result.title}: medians in the legend", pad=58)
    axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0)
    alt = (
        f"Step chart, {result.title.lower()} on a logarithmic axis: one curve each for "
        f"{result.subjects}; the further left, the faster."
    )
    return picture(figure, alt, caption=caption_of(result))


def draw_rows(axes: Axes, rows: list[Series], unit: str) -> list[str]:
    """One row of marks for each series, its median as a line with its value; returns the rows' names."""
    for number, row in enumerate(rows):
        colour, marker, _ = LOOK[row.model]
        if row.n > 1:
            axes.plot(
                [*row.spread], [number, number], color=COLOURS[colour], linewidth=9, alpha=0.25, solid_capstyle="butt"
            )
            axes.plot([row.median] * 2, [number - 0.3, number + 0.3], color=COLOURS["ink"], linewidth=2.5)
        axes.plot(row.values, [number] * row.n, linestyle="none", marker=marker, markersize=8, alpha=0.65,
                  color=COLOURS[colour], markerfacecolor="none" if row.emulated else COLOURS[colour])  # fmt: skip
        axes.annotate(value_text(row.median, unit), (max(row.values), number), xytext=(10, 0),
                      textcoords="offset points", va="center", fontweight="bold")  # fmt: skip
    return [_name(row) for row in rows]


@draws(Benchmark)
def plot_dots(result: Benchmark) -> Picture:
    """One row per subject: each run as a mark, the median as a line with its value; published figures below as stars.

    The axis is logarithmic where the medians differ more than twentyfold.
    """
    found = published(result.name)
    rows = result.series
    medians = [row.median for row in rows] + [item.value for item in found]
    log = max(medians) > 20 * max(min(medians), 1e-12)
    count = len(rows) + len(found)
    figure, axes = new_figure(0.62 * len(rows) + 0.42 * len(found) + 2.6)
    names = draw_rows(axes, rows, result.unit)
    for number, item in enumerate(found, len(rows)):
        axes.plot([item.value], [number], marker="*", markersize=13, color=COLOURS["grey"], linestyle="none")
        axes.annotate(value_text(item.value, item.unit), (item.value, number), xytext=(10, 0),
                      textcoords="offset points", va="center", color=COLOURS["grey"])  # fmt: skip
        names.append(f"{item.label} ★ {item.source}")
    if found:
        axes.axhline(len(rows) - 0.5, color=COLOURS["grey"], linewidth=1)
    axes.set_yticks(range(count), names)
    for label in axes.get_yticklabels()[len(rows) :]:
        label.set(color=COLOURS["grey"], fontsize=9.5)
    axes.set_ylim(count - 0.4, -0.6)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        left, right = axes.get_xlim()
        axes.set_xlim(left, right * (right / left) ** 0.2)
    else:
        axes.set_xlim(
            0,
            max(max(row.values) for row in rows) * 1.35
            if not found
            else max(medians + [max(row.values) for row in rows]) * 1.3,
        )
    axes.grid(axis="y", visible=False)
    better = "less is better" if result.less_is_better else "more is better"
    axes.set_xlabel(f"{result.unit}, {better}" + (" (logarithmic)" if log else ""))
    axes.set_title(result.title, pad=10)
    stars = " Stars below the line: published figures." if found else ""
    alt = f"Dot chart, {result.title.lower()}: one row each for {result.subjects}.{stars}"
    notes = "★ published by others on other machines\n" if found else ""
    return picture(figure, alt, caption=notes + caption_of(result))
