"""The engine's parts: then and now, as processes, and while some of them are gone."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, canvas, label, legend, new_figure, picture, styled
from .parts import Tree
from .parts_owned import WithoutDaemons

#: A part's place (left, top, width, height), name, words and colour.
BOXES = (
    (1.0, 0.4, 1.7, 0.5, "docker", "", "grey"),
    (0.2, 1.3, 3.4, 2.75, "one daemon", "API · images · storage · networks\ncontainer lifecycle\n"
     "parent of every container\n\nfirst through LXC's tools,\nlater libcontainer, built in", "vermilion"),
    (0.2, 4.42, 3.4, 0.62, "Linux kernel", "", "ink"),
    (4.9, 0.4, 1.7, 0.5, "docker", "", "grey"),
    (4.9, 1.2, 4.1, 0.72, "dockerd", "API · networks · volumes · builds · high-level decisions", "blue"),
    (4.9, 2.2, 4.1, 0.72, "containerd", "lifecycle · images and their content", "sky"),
    (4.9, 3.2, 1.9, 0.85, "shim", "one per container,\nparent of its process", "green"),
    (7.1, 3.2, 1.9, 0.85, "runc", "sets up, starts,\nand is gone again", "orange"),
    (4.9, 4.42, 4.1, 0.62, "Linux kernel", "", "ink"),
)  # fmt: skip
#: From where to where, and the words beside it.
ARROWS = (
    (1.85, 0.9, 1.85, 1.28, "REST API"), (1.85, 4.05, 1.85, 4.4, ""), (5.75, 0.9, 5.75, 1.18, "REST API"),
    (5.75, 1.92, 5.75, 2.18, "gRPC"), (5.75, 2.92, 5.75, 3.18, "starts"), (6.8, 3.62, 7.08, 3.62, ""),
    (5.85, 4.05, 5.85, 4.4, ""), (8.05, 4.05, 8.05, 4.4, ""),
)  # fmt: skip


def _box(axes: Axes, x: float, y: float, wide: float, high: float, name: str, words: str, colour: str) -> None:
    axes.add_patch(FancyBboxPatch(
        (x, y), wide, high, boxstyle="round,pad=0,rounding_size=0.08", facecolor=COLOURS["paper"],
        edgecolor=COLOURS[colour], linewidth=2.4, zorder=2,
    ))  # fmt: skip
    label(axes, x + wide / 2, y + (0.24 if words else high / 2), name, ha="center", fontsize=11.5, fontweight="bold",
          zorder=4)  # fmt: skip
    label(axes, x + wide / 2, y + high / 2 + 0.17, words, ha="center", fontsize=9.5, linespacing=1.3, zorder=4)


#: Day and version of each step (Docker's own change logs).
DATES = (
    ("10 March 2014", "0.9", "libcontainer replaces LXC as the default"),
    ("4 February 2016", "1.10", "LXC removed"),
    ("13 April 2016", "1.11", "containerd and runc split off"),
)


@styled()
def then_and_now() -> Picture:
    """Old Docker, one daemon that does everything, beside new Docker, a chain of small parts."""
    figure, axes = canvas(5.9, (0, 9.2), (6.5, -0.1))
    axes.text(0.1, 0.12, "Old Docker (2013 to early 2016)", fontsize=13, fontweight="bold")
    axes.text(4.75, 0.12, "New Docker (since 1.11, April 2016)", fontsize=13, fontweight="bold")
    for box in BOXES:
        _box(axes, *box)
    for x, y, to_x, to_y, words in ARROWS:
        axes.add_patch(FancyArrowPatch(
            (x, y), (to_x, to_y), arrowstyle="-|>", mutation_scale=14, color=COLOURS["ink"], linewidth=1.6
        ))  # fmt: skip
        axes.text(x + 0.08, (y + to_y) / 2, words, fontsize=9, va="center")
    axes.axvline(4.25, ymin=0.2, ymax=0.99, color=COLOURS["faint"], linewidth=2)
    for row, (day, version, words) in enumerate(DATES):
        y = 5.5 + 0.34 * row
        axes.plot([0.3], [y], marker="D", color=COLOURS["vermilion"], markeredgecolor=COLOURS["ink"], markersize=7)
        axes.text(0.5, y, day, va="center", fontsize=10.5, fontweight="bold")
        axes.text(2.3, y, f"Docker {version}", va="center", fontsize=10.5)
        axes.text(3.65, y, words, va="center", fontsize=10.5)
    alt = (
        "Two diagrams. Old Docker: the client talks to one daemon that does everything and starts containers "
        "itself. New Docker: client, dockerd, containerd, then a shim per container and runc, each its own part. "
        "Below, the dates: LXC replaced as default in March 2014, removed in February 2016, split in April 2016."
    )
    return picture(figure, alt, caption="Drawn from moby's CHANGELOG.md for 0.9.0, 1.10.0 and 1.11.0; nothing measured")


PROCESS_COLOURS = {"dockerd": "blue", "containerd": "sky", "containerd-shim-runc-v2": "green"}


def _shortened(rows: list[tuple[int, int, str, str]]) -> list[tuple[int, int, str, str]]:
    """The rows with each line of processes that only start one another as one, without a pid: shells, mostly."""
    short: list[tuple[int, int, str, str]] = []
    last = -1
    above: list[tuple[int, int, int]] = []  # of the row at hand: depth as given and as shown, and processes in one
    for depth, pid, name, role in rows:
        while above and above[-1][0] >= depth:
            above.pop()
        shown, count = (above[-1][1] + 1, 1) if above else (depth, 1)
        if not role and pid != 1 and above and above[-1][2] and above[-1][0] == last:
            shown, count = above[-1][1], above[-1][2] + 1
            short[-1] = (shown, 0, f"({count} processes, each started by the one before)", "")
        else:
            short.append((shown, pid, name, role))
        last = depth
        above.append((depth, shown, 0 if role or pid == 1 else count))
    return short


@draws(Tree)
def plot_tree(tree: Tree) -> Picture:
    """The processes with their parents, as the engine's machine has them."""
    rows = _shortened(tree.rows)
    figure, axes = canvas(0.9 + 0.5 * len(rows), (0, 9.2), (len(rows) - 0.4, -0.6))
    last: dict[int, int] = {}
    # The roles stand behind the longest name that has one: about a ninth of an inch a letter.
    column = max([4.4, *(0.7 + depth * 0.55 + 0.115 * len(name) for depth, _, name, role in rows if role)])
    for row, (depth, pid, name, role) in enumerate(rows):
        x = 0.25 + depth * 0.55
        if depth:
            parent = last[depth - 1]
            axes.plot([x - 0.4, x - 0.4, x - 0.08], [parent + 0.22, row, row], color=COLOURS["grey"], linewidth=1.6)
        last[depth] = row
        inside = role.startswith("process 1")
        colour = PROCESS_COLOURS.get(name, "purple" if inside else "grey")
        axes.plot([x], [row], marker="s" if inside else "o", markersize=11, color=COLOURS[colour],
                  markeredgecolor=COLOURS["ink"], zorder=4)  # fmt: skip
        shown = "(the machine's process 1)" if pid == 1 else name
        axes.text(x + 0.22, row, shown, va="center", fontsize=12, fontweight="bold" if role else "normal")
        axes.text(column, row, role, va="center", fontsize=11)
        axes.text(9.1, row, f"pid {pid}" if pid else "", va="center", ha="right", fontsize=10.5, color=COLOURS["grey"])
    axes.set_title("The engine's processes while one container runs", pad=8)
    alt = "Tree of processes with their parents: dockerd, containerd, and a shim with the container's process below it."
    return picture(figure, alt, caption=f"read on the engine's machine\n{machine_line(tree.engine)}")


#: Colour, words and marker for who is running.
LOOKS = {"both": ("green", "dockerd and containerd run", "o"), "containerd": ("yellow", "dockerd stopped", "s"),
         "nobody": ("vermilion", "both gone", "X")}  # fmt: skip


@draws(WithoutDaemons)
def plot_without(run: WithoutDaemons) -> Picture:
    """The container's count against time, with bands for which daemons were running."""
    figure, axes = new_figure(4.0)
    rows = run.readings
    ends = [at for at, _ in run.changes[1:]] + [rows[-1][0]]
    for (start, who), end in zip(run.changes, ends):
        colour, words, _ = LOOKS[who]
        seen = who in [before for at, before in run.changes if at < start]
        axes.axvspan(start, end, color=COLOURS[colour], alpha=0.22, linewidth=0, label=None if seen else words)
    axes.plot([row[0] for row in rows], [row[1] for row in rows], color=COLOURS["ink"], linewidth=1.6, zorder=3)
    for at, count, who in rows:
        axes.plot([at], [count], marker=LOOKS[who][2], markersize=10, color=COLOURS["blue"],
                  markeredgecolor=COLOURS["ink"], zorder=4)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, rows[-1][0] * 1.02)
    axes.set_xlabel("seconds since the container started")
    axes.set_ylabel("what it has counted")
    axes.set_title("A container counts while its daemons are gone", pad=30)
    legend(axes, ncols=3, height=0.99)
    alt = (
        "Line chart: a container's counter against time. It goes on rising while dockerd is stopped, and while "
        "containerd is gone as well; shaded bands mark who was running."
    )
    return picture(figure, alt, caption=f"n = {len(rows)} readings of one container\n{machine_line(run.engine)}")
