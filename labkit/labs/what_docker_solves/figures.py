"""What Docker solves, as measured here: conflicts, deployment, replicas, memory, set-up."""

from __future__ import annotations

import statistics

from matplotlib.patches import Rectangle

from ...course.result import draws, machine_line
from ...course.style import COLOURS, MODELS, Picture, new_figure, picture, styled
from ...units import MIB, show_size, show_time
from .machines import Machines, Replicas, RollOut
from .promises import SETUP, Conflict, SetUp


def _strip(axes, row: int, values: list[float], colour: str, marker: str, words: str) -> None:
    """Every value as a mark, the median as a line, its words at the right edge."""
    axes.scatter(values, [row] * len(values), s=75, alpha=0.5, marker=marker, color=COLOURS[colour])
    middle = statistics.median(values)
    axes.plot([middle, middle], [row - 0.3, row + 0.3], color=COLOURS["ink"], linewidth=2.5)
    axes.text(1.01, row, words, transform=axes.get_yaxis_transform(), va="center", fontsize=11)


@draws(Conflict)
def plot_conflict(run: Conflict) -> Picture:
    """A cell a round: did the app work?"""
    rows = [(where, app, good) for where, results in (("one shared system", run.shared), ("an image for each", run.own))
            for app, good in results.items()]  # fmt: skip
    n = len(rows[0][2])
    with styled():
        figure, axes = new_figure(3.2)
        axes.set_axis_off()
        axes.set_xlim(0, 10)
        axes.set_ylim(4.9, -0.35)
        for number, (where, app, results) in enumerate(rows):
            y = number + (0.35 if number > 1 else 0)
            if number % 2 == 0:
                axes.text(0.05, y + 0.5, where, va="center", fontweight="bold")
            axes.text(2.5, y + 0.5, app, va="center")
            for turn, good in enumerate(results):
                x, width = 4 + turn * 6 / n, 6 / n - 0.08
                colour = COLOURS["green" if good else "vermilion"]
                axes.add_patch(Rectangle((x, y + 0.06), width, 0.86, facecolor=colour, alpha=0.35,
                                         hatch="" if good else "//", edgecolor=colour))  # fmt: skip
                axes.text(x + width / 2, y + 0.5, "✓ works" if good else "✗ breaks", ha="center", va="center",
                          fontsize=10.5, fontweight="bold",
                          bbox={"boxstyle": "round,pad=0.12", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.8})  # fmt: skip
        for turn in range(n):
            axes.text(4 + (turn + 0.5) * 6 / n, -0.2, f"round {turn + 1}", ha="center", va="center", fontsize=10)
        axes.set_title("Two apps, two versions, one path", pad=6)
        alt = "Grid of rounds. " + "; ".join(f"{where}, {app}: works {sum(g)} of {len(g)}" for where, app, g in rows)
        return picture(figure, alt + ".", caption=f"n = {n} rounds, new containers each\n{machine_line(run.engine)}")


@draws(RollOut)
def plot_roll_out(run: RollOut) -> Picture:
    """Each roll-out and each roll-back as a mark."""
    with styled():
        figure, axes = new_figure(2.9)
        for row, (values, colour, marker) in enumerate(((run.forward, "blue", "o"), (run.back, "orange", "s"))):
            _strip(axes, row, values, colour, marker, f"median {show_time(statistics.median(values))}")
        axes.set_yticks((0, 1), ("roll out: 1 → 2", "roll back: 2 → 1"))
        axes.set_ylim(1.6, -0.7)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds from removing the old version to the new one's answer")
        axes.set_title("Forward and back again", pad=12)
        alt = "Dot plot of the seconds that each roll-out and each roll-back took, medians marked."
        caption = f"n = {len(run.forward)} each, images on the engine already\n{machine_line(run.engine)}"
        return picture(figure, alt, caption=caption)


def _vm_note(run: Machines) -> str:
    how = "emulated in software" if run.vm_emulated else "hardware-assisted"
    return (
        f"n = {len(run.container_memory)} each · container: a small web server · virtual machine ({how}): Debian with "
        f"Docker Engine,\nresumed from a snapshot to its engine's first answer; a cold boot takes longer\n"
        f"{machine_line(run.engine)}"
    )


@draws(Machines)
def plot_machines(run: Machines) -> Picture:
    """Seconds to the first answer, containers against virtual machines, on a log axis."""
    return _versus(run, run.container_seconds, run.vm_seconds, show_time, "seconds to the first answer (log scale)",
                   "From nothing to a first answer", 1.0)  # fmt: skip


@draws(Machines, "memory")
def plot_memory(run: Machines) -> Picture:
    """Memory of one instance, containers against virtual machines, on a log axis."""
    return _versus(run, run.container_memory, run.vm_memory, show_size, "MiB for one instance (log scale)",
                   "Memory: container or virtual machine", 1 / MIB)  # fmt: skip


def _versus(run: Machines, containers, vms, show, label: str, title: str, scale: float) -> Picture:
    with styled():
        figure, axes = new_figure(3.4)
        for row, (name, values) in enumerate((("container", containers), ("virtual machine", vms))):
            colour, marker, _ = MODELS[name]
            _strip(axes, row, [value * scale for value in values], colour, marker,
                   f"median {show(round(statistics.median(values)) if scale != 1 else statistics.median(values))}")  # fmt: skip
        axes.set_xscale("log")
        everything = [value * scale for value in [*containers, *vms]]
        axes.set_xlim(min(everything) / 2, max(everything) * 2)
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks((0, 1), ("container", "virtual machine"))
        axes.set_ylim(1.6, -0.7)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
        axes.set_title(title, pad=12)
        alt = f"{title}: dot plot on a log scale, containers above, virtual machines below, medians marked."
        return picture(figure, alt, caption=_vm_note(run))


@draws(Replicas)
def plot_replicas(run: Replicas) -> Picture:
    """Answers a second by replicas; how long each replica took to start, below its number."""
    with styled():
        figure, axes = new_figure(4.2)
        numbers = sorted(run.per_second)
        for number in numbers:
            axes.scatter([number] * len(run.per_second[number]), run.per_second[number], s=60, alpha=0.5,
                         color=COLOURS["blue"])  # fmt: skip
        middle = [statistics.median(run.per_second[number]) for number in numbers]
        axes.plot(numbers, middle, marker="o", color=COLOURS["blue"], label="measured, median of the batches")
        axes.plot(numbers, [number / run.work for number in numbers], linestyle="--", color=COLOURS["grey"], linewidth=1.6,
                  label=f"replicas ÷ {run.work:g} s of work")  # fmt: skip
        for number, value in zip(numbers, middle):
            axes.annotate(f"{value:.0f}/s", (number, value), xytext=(9, -15), textcoords="offset points")
        axes.set_xticks(numbers, [f"{n}\n(started in {show_time(s)})" for n, s in zip(numbers, run.starts)])
        axes.set_xlim(0.7, numbers[-1] + 0.4)
        axes.set_ylim(0, max(numbers) / run.work * 1.12)
        axes.set_xlabel("replicas behind one name")
        axes.set_ylabel("answers a second")
        axes.set_title("From one to many")
        axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        n = len(run.per_second[numbers[0]])
        alt = "Line chart of answers a second against the number of replicas behind one name, beside what they could give."
        caption = f"n = {n} batches at each number, eight requests at a time\n{machine_line(run.engine)}"
        return picture(figure, alt, caption=caption)


@draws(SetUp)
def plot_set_up(run: SetUp) -> Picture:
    """The handbook's steps with their times and whether forgetting one breaks the app; below, the one run."""
    with styled():
        figure, axes = new_figure(5.0)
        names = [name for name, _ in SETUP]
        for row, (name, seconds) in enumerate(zip(names, run.steps)):
            fatal = run.broken.get(name)
            colour, hatch = ("vermilion", "//") if fatal else ("faint", "")
            axes.barh(
                row, seconds, height=0.7, color=COLOURS[colour], hatch=hatch, edgecolor=COLOURS["ink"], linewidth=0.8
            )
            if fatal:
                axes.annotate("forget it, and the app breaks", (seconds, row), xytext=(6, 0), va="center",
                              textcoords="offset points", fontsize=10)  # fmt: skip
        place = len(names) + 0.5
        middle = statistics.median(run.run)
        axes.barh(place, middle, height=0.8, color=COLOURS["green"], edgecolor=COLOURS["ink"])
        axes.annotate(f"everything, in {show_time(middle)}", (middle, place), xytext=(6, 0), va="center",
                      textcoords="offset points", fontsize=11, fontweight="bold")  # fmt: skip
        axes.set_yticks([*range(len(names)), place],
                        [*(f"{n}. {name}" for n, name in enumerate(names, 1)), "docker run"])  # fmt: skip
        axes.tick_params(axis="y", labelsize=10.5)
        axes.set_ylim(place + 0.7, -0.7)
        axes.set_xlim(0, max([*run.steps, middle]) * 1.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds of machine time (a person needs longer)")
        axes.set_title("A handbook against one run", pad=12)
        fatal = sum(run.broken.values())
        alt = (
            f"Bars for {len(names)} set-up steps by hand, {fatal} of them marked as fatal when forgotten, and one bar "
            "for running the packed app."
        )
        caption = f"steps: n = 1 · packed run: median of n = {len(run.run)}\n{machine_line(run.engine)}"
        return picture(figure, alt, caption=caption)
