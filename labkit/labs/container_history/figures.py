"""Container history: the timeline, the comparisons, and what your own container could do."""

from __future__ import annotations

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, new_figure, picture, styled
from ..isolation_models.figures import _cells
from .history import GroupRun, Jail, NamespaceSteps
from .lxc import Comparison
from .own_container import PARTS, ROWS, Built
from .timeline import Timeline


@draws(Timeline)
def plot_timeline(timeline: Timeline) -> Picture:
    """Years from top to bottom; filled where the step runs live here, a ring where it is only drawn."""
    events = timeline.events
    with styled():
        figure, axes = new_figure(0.40 * len(events) + 1.3)
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(len(events) + 0.3, -1.3)
        axes.plot([0.115, 0.115], [0, len(events) - 1], color=COLOURS["grey"], linewidth=2, zorder=1)
        for column, title in ((0.145, "step"), (0.52, "what it brought"), (0.81, "in this lab")):
            axes.text(column, -0.8, title, fontweight="bold", va="center")
        for number, event in enumerate(events):
            live = event.shown == "live"
            colour = COLOURS["blue" if live else "grey"]
            axes.plot([0.115], [number], marker="o", markersize=12, color=colour, zorder=2,
                      markerfacecolor=colour if live else COLOURS["paper"], markeredgewidth=2.2)  # fmt: skip
            axes.text(0.085, number, str(event.year), ha="right", va="center", fontweight="bold")
            axes.text(
                0.145, number, event.name, va="center", fontsize=11.5, style="normal" if event.in_notes else "italic"
            )
            axes.text(0.52, number, event.brought, va="center", fontsize=10.5)
            axes.text(0.81, number, event.shown, va="center", fontsize=10.5, color=colour)
        axes.text(
            0.0,
            len(events) + 0.1,
            "Italic: steps that the notes leave out.",
            fontsize=10,
            color=COLOURS["grey"],
            va="center",
        )
        axes.set_title("Forty years of containers", pad=8)
        alt = (
            "Timeline from chroot in 1979 over FreeBSD jails, namespaces, cgroups, LXC and Docker to containerd and CRI-O. "
            "Filled marks run live in this lab, rings are only drawn; steps that the notes leave out are in italics."
        )
        return picture(
            figure,
            alt,
            caption="Sources: man-pages clone(2), cgroups(7); FreeBSD jail paper; changelogs of Docker; years of the others from their projects.",
        )


def _yes(value: bool, good: bool) -> tuple[str, str, str]:
    # Vermilion and hatched where the prisoner can, green where not.
    return ("yes" if value else "no", "green" if good else "vermilion", "" if good else "//")


@draws(Jail)
def plot_jail(jail: Jail) -> Picture:
    """What chroot hides, and what not."""
    rows = [
        ("the machine's files", jail.inside["outside"] == "no"),
        ("other processes", jail.inside["neighbour"] == "no"),
        ("host name", jail.inside["hostname"] != jail.outside["hostname"]),
        ("network", jail.inside["net"] != jail.outside["net"]),
        ("memory", jail.inside["memory"] != jail.outside["memory"]),
    ]
    with styled():
        figure, axes = new_figure(0.46 * (len(rows) + 1) + 0.8)
        _cells(
            axes,
            ["isolated by chroot?"],
            [[_yes(hidden, hidden)] for _, hidden in rows],
            [name for name, _ in rows],
            0.35,
        )
        axes.set_title("chroot: another view of the files, and nothing else", pad=8)
        return picture(
            figure,
            "Table: chroot isolates files; processes, host name, network and memory it does not.",
            caption=machine_line(jail.engine),
        )


@draws(NamespaceSteps)
def plot_steps(result: NamespaceSteps) -> Picture:
    """Each namespace alone: the same question inside and outside."""
    rows, names = [], []
    for step in result.steps:
        look = lambda text: (text.replace("\n", " ") or "–") if len(text) < 34 else text[:16] + "…" + text[-8:]  # noqa: E731
        rows.append([(step.flag, "faint", ""), (look(step.inside), "blue", "//"), (look(step.outside), "faint", "")])
        names.append(step.name)
    with styled():
        figure, axes = new_figure(0.44 * (len(rows) + 1) + 0.8)
        _cells(axes, ["started with", "inside", "outside"], rows, names, 0.09)
        axes.set_title("One namespace at a time", pad=8)
        alt = "Table of seven namespaces, each unshared alone: the same question has one answer inside and another outside."
        return picture(
            figure,
            alt,
            caption="uts: host name · mnt: files in a test folder · ipc: shared memory segments · cgroup: path of its own group\n"
            + machine_line(result.engine),
        )


@draws(GroupRun)
def plot_group(run: GroupRun) -> Picture:
    """The steps on both versions, side by side; the column of this machine's version is lit."""
    rows = [
        ("make it", "mkdir memory/by-hand …", "mkdir by-hand"),
        ("memory", "memory.limit_in_bytes", "memory.max"),
        ("processes", "pids.max", "pids.max"),
        ("processor", "cpu.cfs_quota_us", "cpu.max"),
        ("join", "cgroup.procs, in each", "cgroup.procs, once"),
        ("hand on", "–", "cgroup.subtree_control"),
    ]
    with styled():
        figure, axes = new_figure(0.44 * (len(rows) + 1) + 0.8)
        cells = [
            [
                (text, "sky" if column == run.version else "faint", "//" if column == run.version else "")
                for column, text in ((1, old), (2, new))
            ]
            for _, old, new in rows
        ]
        _cells(
            axes,
            ["cgroup v1: a tree per controller", "cgroup v2: one tree"],
            cells,
            [name for name, _, _ in rows],
            0.16,
        )
        axes.set_title(f"A control group by hand; this machine has version {run.version}", pad=8)
        alt = "Table of the files with which a control group is made on version 1 and on version 2; this machine's version is shaded."
        return picture(
            figure, alt, caption=f"The busy loop was made to wait {run.throttled} times\n{machine_line(run.engine)}"
        )


@draws(Comparison)
def plot_comparison(result: Comparison) -> Picture:
    """Process trees side by side."""
    with styled():
        deepest = max(len(result.lxc), len(result.docker))
        figure, axes = new_figure(0.46 * deepest + 1.5, ncols=2)
        for part, (rows, title, colour) in zip(
            axes, ((result.lxc, "LXC: a system", "purple"), (result.docker, "Docker: an application", "blue"))
        ):
            part.set_axis_off()
            part.set_xlim(0, 1)
            part.set_ylim(deepest - 0.4, -0.8)
            depth: dict[int, int] = {}
            for number, row in enumerate(rows):
                level = depth[row.pid] = depth.get(row.parent, -1) + 1
                text = row.command if len(row.command) < 38 else row.command[:36] + "…"
                if level:
                    part.plot([0.035, 0.035, 0.07], [0.3, number, number], color=COLOURS["grey"], linewidth=1.5)
                part.text(0.02 + 0.06 * level, number, f"{row.pid:<4}{text}", va="center", fontsize=10.5, family="DejaVu Sans Mono",
                          bbox={"boxstyle": "round,pad=0.25", "fc": COLOURS["paper"], "ec": COLOURS[colour], "lw": 1.6})  # fmt: skip
            part.set_title(title, pad=6)
        alt = (
            "Two process trees. The LXC container has an init with several services below it; "
            "Docker's container has one process, the application."
        )
        return picture(
            figure, alt, caption="Both containers ran on the engine that the lab owns, with the same busybox"
        )


@draws(Comparison, "table")
def plot_rows(result: Comparison) -> Picture:
    """The comparison as a table."""
    rows = result.rows()
    with styled():
        figure, axes = new_figure(0.44 * (len(rows) + 1) + 0.8)
        cells = [[(left, "purple", ""), (right, "blue", "")] for _, left, right in rows]
        _cells(axes, ["LXC", "Docker"], cells, [name for name, _, _ in rows], 0.245)
        axes.set_title("A system container and an application container", pad=8)
        alt = "Table that compares LXC and Docker: process 1, services, commands to set it up, where files come from, network, how it stops."
        return picture(figure, alt, caption="Both containers ran on the engine that the lab owns")


def side_by_side(*built: Built) -> Picture:
    """Several own containers in one table: what the program inside could do."""
    with styled():
        figure, axes = new_figure(0.44 * (len(ROWS) + 1) + 1.2)
        heads = [("all parts" if len(b.parts) == len(PARTS) else "+".join(b.parts) or "no parts") for b in built]
        heads = [head if len(head) < 24 else f"{len(b.parts)} parts" for head, b in zip(heads, built)]
        cells = [[_yes(b.can(row), not b.can(row)) for b in built] for row in ROWS]
        names = [f"{text}" for text, _ in ROWS.values()]
        _cells(axes, heads, cells, names, 0.40)
        axes.set_title("What the program inside can do", pad=8)
        parts = "; ".join(", ".join(b.parts) or "none" for b in built)
        alt = f"Table of what a program can see, kill and use in own containers with these parts: {parts}."
        return picture(figure, alt, caption=machine_line(built[0].engine))


@draws(Built)
def plot_built(built: Built) -> Picture:
    """One own container."""
    return side_by_side(built)


#: Who calls whom: (row, column, name, what it does, runs live here).
_BOXES = (
    (0, 0, "Kubernetes", "which container runs on which machine", False),
    (0, 1, "docker", "commands for a person", True),
    (1, 0, "kubelet, over CRI", "one machine's share of it", False),
    (1, 1, "dockerd", "images, networks, volumes, an API", True),
    (2, 0, "CRI-O", "a runtime for Kubernetes only", False),
    (2, 1, "containerd", "containers' lives, images", True),
    (3, 0.5, "runc", "namespaces, control groups, then the program", True),
    (4, 0.5, "Linux kernel", "does the work", True),
)


def layers() -> Picture:
    """Where CRI-O and Kubernetes sit: a drawing, not something that runs here."""
    with styled():
        figure, axes = new_figure(4.9)
        axes.set_axis_off()
        axes.set_xlim(-0.1, 2.1)
        axes.set_ylim(5.05, -0.1)
        for row, column, name, does, live in _BOXES:
            left = column * 1.05
            axes.fill_between([left, left + 0.95], row + 0.12, row + 0.84, facecolor=COLOURS["blue" if live else "faint"],
                              alpha=0.25 if live else 1, edgecolor=COLOURS["blue" if live else "grey"], linewidth=1.6,
                              linestyle="-" if live else "--")  # fmt: skip
            axes.text(left + 0.475, row + 0.36, name, ha="center", va="center", fontweight="bold")
            axes.text(left + 0.475, row + 0.64, does, ha="center", va="center", fontsize=10)
        arrows = [((0.475, 0.84), (0.475, 1.12)), ((0.475, 1.84), (0.475, 2.12)), ((1.525, 0.84), (1.525, 1.12)),
                  ((1.525, 1.84), (1.525, 2.12)), ((0.475, 2.84), (0.85, 3.12)), ((1.525, 2.84), (1.15, 3.12)),
                  ((1.0, 3.84), (1.0, 4.12)), ((0.85, 1.84), (1.25, 2.12))]  # fmt: skip
        for start, end in arrows:
            axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": COLOURS["ink"], "lw": 1.6})
        axes.set_title("Who calls whom (solid: runs in this course; dashed: drawn only)", pad=8, fontsize=12.5)
        alt = (
            "Diagram: Kubernetes calls a kubelet, which speaks CRI to CRI-O or containerd; docker calls dockerd, which calls "
            "containerd; CRI-O and containerd call runc, and runc the kernel. Kubernetes and CRI-O are drawn, not run here."
        )
        return picture(figure, alt, caption="A drawing. Kubernetes' kubelet also speaks to containerd directly.")
