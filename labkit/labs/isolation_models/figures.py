"""Isolation models: the visibility matrix, namespaces side by side, and measured comparisons."""

from __future__ import annotations

import dataclasses

from ...course.benchmark import published
from ...course.figures_benchmark import LOOK, caption_of, draw_rows
from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, new_figure, picture, styled
from ...units import show_size
from .gvisor import Sandbox
from .visibility import NAMESPACES, ROWS, Matrix, NamespaceView


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


@draws(Sandbox)
def plot_sandbox(result: Sandbox) -> Picture:
    """runc beside gVisor: time to start, and time per system call."""
    calls = [dataclasses.replace(row, label=f"{row.label}, call") for row in result.calls]
    panels = [(result.series, "s", "Time to start"), (result.calls, "µs", "Time per system call")]
    with styled():
        figure, both = new_figure(4.3, ncols=2, gridspec_kw={"wspace": 0.08})
        for axes, (rows, unit, title) in zip(both, panels):
            names = draw_rows(axes, rows, unit)
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
        return picture(figure, alt, caption=caption_of(result, *result.series, *calls))


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
