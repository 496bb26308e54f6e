"""Container history: the timeline, the comparisons, and what your own container could do."""

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Cell, Picture, canvas, new_figure, picture, styled, table
from .history import GroupRun, Jail, NamespaceSteps
from .lxc import Comparison
from .own_container import PARTS, ROWS, Built
from .timeline import Timeline


@draws(Timeline)
def plot_timeline(timeline: Timeline) -> Picture:
    """Years from top to bottom; filled where the step runs live here, a ring where it is only drawn."""
    events = timeline.events
    figure, axes = canvas(0.40 * len(events) + 1.3, (0, 1), (len(events) + 0.3, -1.3))
    axes.plot([0.115, 0.115], [0, len(events) - 1], color=COLOURS["grey"], linewidth=2, zorder=1)
    for column, title in ((0.145, "step"), (0.52, "what it brought"), (0.81, "in this lab")):
        axes.text(column, -0.8, title, fontweight="bold", va="center")
    for number, event in enumerate(events):
        live = event.shown == "live"
        colour = COLOURS["blue" if live else "grey"]
        axes.plot([0.115], [number], marker="o", markersize=12, color=colour, zorder=2,
                  markerfacecolor=colour if live else COLOURS["paper"], markeredgewidth=2.2)  # fmt: skip
        axes.text(0.085, number, str(event.year), ha="right", va="center", fontweight="bold")
        slant = "normal" if event.in_notes else "italic"
        axes.text(0.145, number, event.name, va="center", fontsize=11.5, style=slant)
        axes.text(0.52, number, event.brought, va="center", fontsize=10.5)
        axes.text(0.81, number, event.shown, va="center", fontsize=10.5, color=colour)
    note = "Italic: steps that the notes leave out."
    axes.text(0.0, len(events) + 0.1, note, fontsize=10, color=COLOURS["grey"], va="center")
    axes.set_title("Forty years of containers", pad=8)
    alt = (
        "Timeline from chroot in 1979 over FreeBSD jails, namespaces, cgroups, LXC and Docker to CRI-O, Podman and Incus. "
        "Filled marks run live in this lab, rings are only drawn; steps that the notes leave out are in italics."
    )
    caption = "Sources: man-pages clone(2), cgroups(7); FreeBSD jail paper; changelogs of Docker; years of the others from their projects."
    return picture(figure, alt, caption=caption)


def _yes(value: bool, good: bool) -> Cell:
    # Vermilion and hatched where the prisoner can, green where not.
    return ("yes" if value else "no", "green" if good else "vermilion", "" if good else "//")


@draws(Jail)
def plot_jail(jail: Jail) -> Picture:
    """What chroot hides, and what not."""
    names = {"files": "the machine's files", "processes": "other processes", "control group": "limits (control group)"}
    return table(
        "chroot: another view of the files, and nothing else", ["isolated by chroot?"],
        {names.get(name, name): [_yes(hidden, hidden)] for name, hidden in jail.hidden().items()},
        "Table: chroot isolates files; processes, host name, network and limits it does not.",
        machine_line(jail.engine), first=0.35, height=0.46,
    )  # fmt: skip


@draws(NamespaceSteps)
def plot_steps(result: NamespaceSteps) -> Picture:
    """Each namespace alone: the same question inside and outside."""

    def look(text: str) -> str:
        return (text.replace("\n", " ") or "–") if len(text) < 34 else text[:16] + "…" + text[-8:]

    return table(
        "One namespace at a time", ["started with", "inside", "outside"],
        {step.name: [(step.flag, "faint", ""), (look(step.inside), "blue", "//"), (look(step.outside), "faint", "")]
         for step in result.steps},
        "Table of seven namespaces, each unshared alone: the same question has one answer inside and another outside.",
        "uts: host name · mnt: files in a test folder · ipc: shared memory segments · cgroup: path of its own group\n"
        + machine_line(result.engine), first=0.09,
    )  # fmt: skip


#: What one writes on version 1 and on version 2.
_FILES = {
    "make it": ("mkdir memory/by-hand …", "mkdir by-hand"),
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "processes": ("pids.max", "pids.max"),
    "processor": ("cpu.cfs_quota_us", "cpu.max"),
    "join": ("cgroup.procs, in each", "cgroup.procs, once"),
    "hand on": ("–", "cgroup.subtree_control"),
}


@draws(GroupRun)
def plot_group(run: GroupRun) -> Picture:
    """The steps on both versions, side by side; the column of this machine's version is lit."""
    looks = [("sky", "//") if version == run.version else ("faint", "") for version in (1, 2)]
    return table(
        f"A control group by hand; this machine has version {run.version}",
        ["cgroup v1: a tree per controller", "cgroup v2: one tree"],
        {name: [(text, *look) for text, look in zip(texts, looks)] for name, texts in _FILES.items()},
        "Table of the files with which a control group is made on version 1 and on version 2; this machine's version is shaded.",
        f"The busy loop was made to wait {run.throttled} times\n{machine_line(run.engine)}", first=0.16,
    )  # fmt: skip


@draws(Comparison)
def plot_comparison(result: Comparison) -> Picture:
    """Process trees side by side."""
    deepest = max(len(result.lxc), len(result.docker))
    figure, axes = new_figure(0.46 * deepest + 1.5, ncols=2)
    for part, (rows, title, colour) in zip(
        axes, ((result.lxc, "LXC: a system", "purple"), (result.docker, "Docker: an application", "blue"))
    ):
        part.set_axis_off()
        part.set(xlim=(0, 1), ylim=(deepest - 0.4, -0.8))
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
    caption = "Both containers ran on the engine that the lab owns, with the same busybox"
    return picture(figure, alt, caption=caption)


@draws(Comparison, "table")
def plot_rows(result: Comparison) -> Picture:
    """The comparison as a table."""
    return table(
        "A system container and an application container", ["LXC", "Docker"],
        {name: [(left, "purple", ""), (right, "blue", "")] for name, left, right in result.rows()},
        "Table that compares LXC and Docker: process 1, services, commands to set it up, where files come from, network, how it stops.",
        "Both containers ran on the engine that the lab owns", first=0.245,
    )  # fmt: skip


@styled()
def side_by_side(*built: Built) -> Picture:
    """Several own containers in one table: what the program inside could do."""
    heads = [("all parts" if len(b.parts) == len(PARTS) else "+".join(b.parts) or "no parts") for b in built]
    return table(
        "What the program inside can do",
        [head if len(head) < 24 else f"{len(b.parts)} parts" for head, b in zip(heads, built)],
        {text: [_yes(b.can(row), not b.can(row)) for b in built] for row, (text, _) in ROWS.items()},
        "Table of what a program can see, kill and use in own containers with these parts: "
        f"{'; '.join(', '.join(b.parts) or 'none' for b in built)}.",
        machine_line(built[0].engine), first=0.40, more=1.2,
    )  # fmt: skip


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
    (3, 0, "crun", "what runc does, written in C", False),
    (3, 1, "runc", "namespaces, control groups, the program", True),
    (4, 0.5, "Linux kernel", "does the work", True),
)


@styled()
def layers() -> Picture:
    """Where CRI-O and Kubernetes sit: a drawing, not something that runs here."""
    figure, axes = canvas(4.9, (-0.1, 2.1), (5.05, -0.1))
    for row, column, name, does, live in _BOXES:
        left = column * 1.05
        axes.fill_between([left, left + 0.95], row + 0.12, row + 0.84, facecolor=COLOURS["blue" if live else "faint"],
                          alpha=0.25 if live else 1, edgecolor=COLOURS["blue" if live else "grey"], linewidth=1.6,
                          linestyle="-" if live else "--")  # fmt: skip
        axes.text(left + 0.475, row + 0.36, name, ha="center", va="center", fontweight="bold")
        axes.text(left + 0.475, row + 0.64, does, ha="center", va="center", fontsize=10)
    arrows = [((0.475, 0.84), (0.475, 1.12)), ((0.475, 1.84), (0.475, 2.12)), ((1.525, 0.84), (1.525, 1.12)),
              ((1.525, 1.84), (1.525, 2.12)), ((0.475, 2.84), (0.475, 3.12)), ((1.525, 2.84), (1.525, 3.12)),
              ((0.475, 3.84), (0.85, 4.12)), ((1.525, 3.84), (1.15, 4.12)), ((0.85, 1.84), (1.25, 2.12))]  # fmt: skip
    for start, end in arrows:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": COLOURS["ink"], "lw": 1.6})
    axes.set_title("Who calls whom (solid: runs in this course; dashed: drawn only)", pad=8, fontsize=12.5)
    alt = (
        "Diagram: Kubernetes calls a kubelet, which speaks CRI to CRI-O or containerd; docker calls dockerd, which calls "
        "containerd; CRI-O calls crun, containerd calls runc, and both the kernel. What is under Kubernetes alone is drawn."
    )
    return picture(
        figure,
        alt,
        caption="A drawing. The kubelet speaks to containerd as well; runc and crun can each stand in for the other.",
    )
