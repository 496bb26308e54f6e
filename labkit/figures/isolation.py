"""Isolation models: the visibility matrix, namespaces side by side, and measured comparisons."""

from __future__ import annotations

import dataclasses

from ..experiments.benchmark import Benchmark, Published, Series, published
from ..experiments.gvisor import Sandbox
from ..experiments.result import draws, machine_line
from ..experiments.visibility import NAMESPACES, ROWS, Matrix, NamespaceView
from ..units import show_size, show_time
from .style import COLOURS, MODELS, Picture, new_figure, picture, styled

__all__ = ["others_chart"]

#: How the course's models look; runc alone stands between process and container.
LOOK = {**MODELS, "runc": ("purple", "D", "..")}


def _cells(axes, top: list[str], rows: list[list[tuple[str, str, str]]], names: list[str], first: float) -> None:
    """A table of (text, colour, hatch) cells with row names on the left."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 1, 0)
    wide = (1 - first) / len(top)
    for column, title in enumerate(top):
        axes.text(first + wide * (column + 0.5), 0.5, title, ha="center", va="center", fontweight="bold")
    for number, (name, cells) in enumerate(zip(names, rows), 1):
        axes.text(0.005, number + 0.5, name, va="center", fontsize=11)
        for column, (text, colour, hatch) in enumerate(cells):
            left = first + wide * column
            axes.fill_between([left + 0.004, left + wide - 0.004], number + 0.06, number + 0.94, facecolor=COLOURS[colour],
                              alpha=0.30, hatch=hatch, edgecolor=COLOURS["paper"], linewidth=0)  # fmt: skip
            axes.text(left + wide / 2, number + 0.5, text, ha="center", va="center", fontsize=11,
                      bbox={"boxstyle": "round,pad=0.12", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.7 if hatch else 0})  # fmt: skip


@draws(Matrix)
def plot_matrix(matrix: Matrix) -> Picture:
    """Rows of what a program sees, one column per place; plain cells equal the machine's own."""
    places = list(matrix.columns)
    metal = matrix.columns["plain process"]
    rows = []
    for key in ROWS:
        cells = []
        for place in places:
            value = matrix.columns[place].get(key, "–")
            text = show_size(int(value) * 1024) if key == "memory" and value.isdigit() else value
            text = text.split(" (")[0] if key == "system" else text
            text = text if len(text) < 27 else text[:25] + "…"
            if value == metal.get(key) and matrix.same("boot", place, "plain process"):
                cells.append((text, "faint", ""))
            else:
                colour = LOOK[place if place in LOOK else "bare metal"][0]
                cells.append((text, colour, LOOK[place][2] if place in LOOK else ""))
        rows.append(cells)
    with styled():
        figure, axes = new_figure(0.40 * (len(rows) + 1) + 0.9)
        _cells(axes, places, rows, list(ROWS.values()), 0.215)
        axes.set_title("What the same program sees (grey: the machine's; coloured: its own)", pad=8, fontsize=12.5)
        alt = (
            "Table of what one program sees as a plain process, in a container and in a virtual machine. The container "
            "has the machine's kernel, boot, processors and memory; its processes, host name, mounts, devices, network "
            "interfaces and users are its own. In the virtual machine everything is its own."
        )
        where = "The virtual machine's processor is emulated in software.\n" if matrix.vm_emulated else ""
        return picture(figure, alt, caption=where + machine_line(matrix.engine))


@draws(NamespaceView)
def plot_namespaces(view: NamespaceView) -> Picture:
    """Namespaces by place: the same colour where the machine's own is shared."""
    places = list(view.columns)
    rows = []
    for name in NAMESPACES:
        cells = []
        for place in places:
            number = view.columns[place].get(name) or "–"
            if place == "plain process":
                cells.append((number, "faint", ""))
            elif place == "virtual machine":
                cells.append((f"another kernel's {number}", "orange", "xx"))
            elif number == view.columns["plain process"].get(name):
                cells.append((f"{number}  shared", "faint", ""))
            else:
                cells.append((f"{number}  own", "blue", "//"))
        rows.append(cells)
    flags = " ".join(view.flags)
    with styled():
        figure, axes = new_figure(0.42 * (len(rows) + 1) + 0.8)
        _cells(axes, places, rows, list(NAMESPACES), 0.10)
        axes.set_title(f"docker run {flags}".strip() + ": which namespaces are its own?", pad=8)
        alt = (
            f"Table of namespace numbers of a plain process and of a container started with {flags or 'no flag'}: "
            "shared with the machine, or the container's own."
        )
        return picture(
            figure, alt, caption=f"Numbers name a namespace within one kernel only.\n{machine_line(view.engine)}"
        )


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
    "MiB": "Emulated: QEMU also holds the code that it translates; with KVM or HVF it takes less.",
    "instances": "Emulated: QEMU also holds the code that it translates; with KVM or HVF more would fit.",
}


def _caption(result: Benchmark, *more: Series) -> str:
    lines = [_wrap("Method: " + result.method)]
    lines += [_wrap(result.note)] if result.note else []
    # What belongs together stays on one line.
    counts = [f"{row.label}:~n~=~{row.n}{'~(partial)' if row.partial else ''}" for row in (more or result.series)]
    counts.append(f"budget~{result.budget:g}~s, took~{result.seconds:.0f}~s")
    if result.interrupted:
        counts.append("interrupted: partial")
    lines.append(_wrap(" · ".join(counts).replace("~", "\N{NO-BREAK SPACE}")))
    if any(row.emulated for row in result.series):
        fast = "Emulated: that processor is software here; with KVM or HVF it would be several times faster."
        lines.append(_EMULATED.get(result.unit, fast))
    return "\n".join([*lines, machine_line(result.engine)])


def _wrap(text: str, width: int = 124) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


@draws(Benchmark, "ecdf")
def plot_ecdf(result: Benchmark, *, others: bool = True) -> Picture:
    """The share of runs that were done after a time, on a logarithmic axis.

    Args:
        result: the benchmark.
        others: also mark published figures, as stars below the curves.
    """
    found = published(result.name) if others else []
    with styled():
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
        axes.set_ylabel("runs that were done")
        axes.set_xlabel(f"{result.title.lower()} (logarithmic)")
        axes.set_title(f"{result.title}: medians in the legend", pad=58)
        axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0)
        alt = (
            f"Step chart, {result.title.lower()} on a logarithmic axis: one curve each for "
            f"{result.subjects}; the further left, the faster."
        )
        return picture(figure, alt, caption=_caption(result))


def _draw_rows(axes, rows: list[Series], unit: str) -> list[str]:
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


@draws(Sandbox)
def plot_sandbox(result: Sandbox) -> Picture:
    """runc beside gVisor: time to start, and time per system call."""
    calls = [dataclasses.replace(row, label=f"{row.label}, call") for row in result.calls]
    panels = [(result.series, "s", "Time to start"), (result.calls, "µs", "Time per system call")]
    with styled():
        figure, both = new_figure(4.3, ncols=2, gridspec_kw={"wspace": 0.08})
        for axes, (rows, unit, title) in zip(both, panels):
            names = _draw_rows(axes, rows, unit)
            axes.set_yticks(range(len(rows)), [name.replace(" (", "\n(") for name in names])
            axes.set_ylim(len(rows) - 0.4, -0.6)
            values = [value for row in rows for value in row.values] or [1.0]
            if unit == "s":
                axes.set_xlim(0, max(values) * 1.45)
                axes.set_xlabel(f"{unit}, less is better")
            else:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
                axes.xaxis.set_minor_formatter(lambda value, _: "")
                axes.set_xlim(min(values) / 2, max(values) * 25)
                axes.set_xlabel(f"{unit}, less is better (logarithmic)")
            axes.grid(axis="y", visible=False)
            axes.set_title(title, pad=10)
        alt = "Two dot charts with runc beside gVisor: the time to start, and the time that one system call takes."
        return picture(figure, alt, caption=_caption(result, *result.series, *calls))


@draws(Benchmark)
def plot_dots(result: Benchmark, *, others: bool = True, log: bool | None = None) -> Picture:
    """One row per subject: each run as a mark, the median as a line with its value; published figures below.

    Args:
        result: the benchmark.
        others: also show published figures, as stars in rows of their own.
        log: a logarithmic axis; by default where the medians differ more than twentyfold.
    """
    found: list[Published] = published(result.name) if others else []
    rows = list(result.series)
    medians = [row.median for row in rows] + [item.value for item in found]
    log = log if log is not None else max(medians) > 20 * max(min(medians), 1e-12)
    with styled():
        count = len(rows) + len(found)
        figure, axes = new_figure(0.62 * len(rows) + 0.42 * len(found) + 2.6)
        names = _draw_rows(axes, rows, result.unit)
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
        return picture(figure, alt, caption=notes + _caption(result))


def others_chart(*names: str) -> Picture:
    """Published comparisons alone, each relative to its own native value; nothing here is ours."""
    titles = {
        "linpack": "Linpack",
        "stream": "STREAM triad",
        "random-read": "random read",
        "random-write": "random write",
    }
    with styled():
        figure, axes = new_figure(4.4)
        ticks, labels, place = [], [], 0.0
        for name in names or titles:
            rows = published(name)
            native = next(row.value for row in rows if row.model == "bare metal")
            for row in rows:
                colour, _, hatch = LOOK[row.model]
                share = row.value / native * 100
                axes.barh(place, share, height=0.78, color=COLOURS[colour], alpha=0.35, hatch="**" if not hatch else hatch,
                          edgecolor=COLOURS["grey"], linewidth=0.8)  # fmt: skip
                axes.annotate(f"{share:.0f} %", (share, place), xytext=(6, 0), textcoords="offset points", va="center")
                ticks.append(place)
                labels.append(f"{titles[name]}: {row.label}")
                place += 1
            place += 0.5
        axes.set_yticks(ticks, labels, fontsize=10)
        axes.set_ylim(place, -0.8)
        axes.set_xlim(0, 115)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("percent of the same machine without virtualization, more is better")
        axes.set_title("Published, not measured here: Felter et al. 2014", pad=10)
        alt = (
            "Bar chart of published results relative to native. Docker is at 100 percent everywhere; a tuned KVM at 98 for "
            "Linpack and 99 for STREAM, and at about 55 for random disk access; an untuned KVM at 45 for Linpack."
        )
        return picture(
            figure,
            alt,
            caption="Two sockets; Linpack and STREAM n = 10; random access 4 KiB, queue depth 128. Data: github.com/thewmf/kvm-docker-comparison",
        )
