"""Isolation models: the visibility matrix, namespaces side by side, and measured comparisons."""

import dataclasses

from ...course.benchmark import published
from ...course.figures_benchmark import LOOK, caption_of, draw_rows
from ...course.result import draws, machine_line
from ...course.style import COLOURS, Cell, Picture, aside, named_rows, new_figure, picture, styled, table
from ...units import show_size
from .gvisor import Sandbox
from .visibility import NAMESPACES, ROWS, Matrix, NamespaceView


@draws(Matrix)
def plot_matrix(matrix: Matrix) -> Picture:
    """Rows of what a program sees, one column per place; plain cells equal the machine's own."""
    metal = matrix.columns["plain process"]

    def cell(key: str, place: str) -> Cell:
        value = matrix.columns[place].get(key, "–")
        text = show_size(int(value) * 1024) if key == "memory" and value.isdigit() else value
        text = text.split(" (")[0] if key == "system" else text
        text = text if len(text) < 27 else text[:25] + "…"
        if value == metal.get(key) and matrix.same("boot", place, "plain process"):
            return text, "faint", ""
        colour, _, hatch = LOOK.get(place, ("ink", "", ""))
        return text, colour, hatch

    alt = (
        "Table of what one program sees as a plain process, in a container and in a virtual machine. The container "
        "has the machine's kernel, boot, processors and memory; its processes, host name, mounts, devices, network "
        "interfaces and users are its own. In the virtual machine everything is its own."
    )
    where = "The virtual machine's processor is emulated in software.\n" if matrix.vm_emulated else ""
    return table(
        "What the same program sees (grey: the machine's; coloured: its own)", list(matrix.columns),
        {name: [cell(key, place) for place in matrix.columns] for key, name in ROWS.items()},
        alt, where + machine_line(matrix.engine), first=0.215, height=0.40, more=0.9, fontsize=12.5,
    )  # fmt: skip


@draws(NamespaceView)
def plot_namespaces(view: NamespaceView) -> Picture:
    """Namespaces by place: the same colour where the machine's own is shared."""

    def cell(name: str, place: str) -> Cell:
        number = view.columns[place].get(name) or "–"
        if place == "plain process":
            return number, "faint", ""
        if place == "virtual machine":
            return f"another kernel's {number}", "orange", "xx"
        shared = number == view.columns["plain process"].get(name)
        return (f"{number}  shared", "faint", "") if shared else (f"{number}  own", "blue", "//")

    flags = " ".join(view.flags)
    alt = (
        f"Table of namespace numbers of a plain process and of a container started with {flags or 'no flag'}: "
        "shared with the machine, or the container's own."
    )
    return table(
        f"docker run {flags}".strip() + ": which namespaces are its own?", list(view.columns),
        {name: [cell(name, place) for place in view.columns] for name in NAMESPACES},
        alt, f"Numbers name a namespace within one kernel only.\n{machine_line(view.engine)}", first=0.10, height=0.42,
    )  # fmt: skip


@draws(Sandbox)
def plot_sandbox(result: Sandbox) -> Picture:
    """runc beside gVisor: time to start, and time per system call."""
    calls = [dataclasses.replace(row, label=f"{row.label}, call") for row in result.calls]
    panels = [(result.series, "s", "Time to start"), (result.calls, "µs", "Time per system call")]
    figure, both = new_figure(4.3, ncols=2, gridspec_kw={"wspace": 0.08})
    for axes, (rows, unit, title) in zip(both, panels):
        names = draw_rows(axes, rows, unit)
        named_rows(axes, [name.replace(" (", "\n(") for name in names])
        values = [value for row in rows for value in row.values] or [1.0]
        if unit == "s":
            axes.set(xlim=(0, max(values) * 1.45), xlabel=f"{unit}, less is better")
        else:
            axes.set(
                xscale="log", xlim=(min(values) / 2, max(values) * 25), xlabel=f"{unit}, less is better (logarithmic)"
            )
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
            axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_title(title, pad=10)
    alt = "Two dot charts with runc beside gVisor: the time to start, and the time that one system call takes."
    return picture(figure, alt, caption=caption_of(result, *result.series, *calls))


@styled()
def others_chart(*names: str) -> Picture:
    """Published comparisons alone, each relative to its own native value; nothing here is ours."""
    titles = {
        "linpack": "Linpack",
        "stream": "STREAM triad",
        "random-read": "random read",
        "random-write": "random write",
    }
    figure, axes = new_figure(4.4)
    bars: dict[float, str] = {}
    place = 0.0
    for name in names or titles:
        rows = published(name)
        native = next(row.value for row in rows if row.model == "bare metal")
        for row in rows:
            colour, _, hatch = LOOK[row.model]
            share = row.value / native * 100
            axes.barh(place, share, height=0.78, color=COLOURS[colour], alpha=0.35, hatch=hatch or "**",
                      edgecolor=COLOURS["grey"], linewidth=0.8)  # fmt: skip
            aside(axes, f"{share:.0f} %", (share, place))
            bars[place] = f"{titles[name]}: {row.label}"
            place += 1
        place += 0.5
    named_rows(axes, list(bars.values()), list(bars))
    axes.tick_params(axis="y", labelsize=10)
    axes.set(
        ylim=(place, -0.8), xlim=(0, 115), xlabel="percent of the same machine without virtualization, more is better"
    )
    axes.set_title("Published, not measured here: Felter et al. 2014", pad=10)
    alt = (
        "Bar chart of published results relative to native. Docker is at 100 percent everywhere; a tuned KVM at 98 for "
        "Linpack and 99 for STREAM, and at about 55 for random disk access; an untuned KVM at 45 for Linpack."
    )
    caption = "Two sockets; Linpack and STREAM n = 10; random access 4 KiB, queue depth 128. Data: github.com/thewmf/kvm-docker-comparison"
    return picture(figure, alt, caption=caption)
