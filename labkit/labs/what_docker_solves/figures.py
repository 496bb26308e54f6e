"""What Docker solves, as measured here: conflicts, deployment, replicas, memory, set-up."""

import statistics
from collections.abc import Callable, Sequence

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...course.context import Ran
from ...course.result import draws, machine_line
from ...course.style import COLOURS, MODELS, Cell, Picture, aside, named_rows, new_figure, picture, table
from ...units import MIB, show_size, show_time
from ..devops_and_delivery.figures import LOADED, per_second, strip
from .machines import Machines, Replicas, RollOut
from .promises import SETUP, Conflict, SetUp


@draws(Conflict)
def plot_conflict(run: Conflict) -> Picture:
    """An app a row, a place a column: did it work?"""
    places = {"one shared system": run.shared, "an image for each": run.own}

    def cell(run: Ran) -> Cell:
        return ("works", "green", "") if run.code == 0 else ("breaks", "vermilion", "//")

    told = (f"{where}, {app}: {cell(one)[0]}" for where, found in places.items() for app, one in found.items())
    return table(
        "Two apps, two versions, one path", list(places),
        {app: [cell(found[app]) for found in places.values()] for app in run.own},
        f"Table. {'; '.join(told)}.", machine_line(run.engine), first=0.2,
    )  # fmt: skip


@draws(RollOut)
def plot_roll_out(run: RollOut) -> Picture:
    """Each roll-out and each roll-back as a mark."""
    figure, axes = new_figure(2.9)
    for row, (values, look) in enumerate(((run.forward, ("blue", "o")), (run.back, ("orange", "s")))):
        strip(axes, row, values, look, f"median {show_time(statistics.median(values))}")
    named_rows(axes, ("roll out: 1 → 2", "roll back: 2 → 1"))
    axes.set(xlim=(0, None), xlabel="seconds from removing the old version to the new one's answer")
    axes.set_title("Forward and back again", pad=12)
    alt = "Dot plot of the seconds that each roll-out and each roll-back took, medians marked."
    caption = f"n = {len(run.forward)} each, images on the engine already\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


@draws(Machines)
def plot_machines(run: Machines) -> Picture:
    """Seconds to the first answer, containers against virtual machines, on a log axis."""
    return _versus(run, run.container_seconds, run.vm_seconds, show_time, "seconds to the first answer (log scale)",
                   "Time to a first answer", 1.0)  # fmt: skip


@draws(Machines, "memory")
def plot_memory(run: Machines) -> Picture:
    """Memory of one instance, containers against virtual machines, on a log axis."""
    return _versus(run, run.container_memory, run.vm_memory, lambda median: show_size(round(median)),
                   "MiB for one instance (log scale)", "Memory of one instance", 1 / MIB)  # fmt: skip


def _versus(
    run: Machines, containers: Sequence[float], vms: Sequence[float], show: Callable[[float], str],
    unit: str, title: str, scale: float,
) -> Picture:  # fmt: skip
    figure, axes = new_figure(3.4)
    models = {"container": containers, "virtual machine": vms}
    # They do unlike work: each row says which.
    runs = ("container:\na small web server", "virtual machine, resumed:\nDebian, Docker Engine")
    for row, (name, values) in enumerate(models.items()):
        words = f"median {show(statistics.median(values))}"
        strip(axes, row, [value * scale for value in values], MODELS[name], words)
    everything = [value * scale for value in [*containers, *vms]]
    axes.set(xscale="log", xlim=(min(everything) / 2, max(everything) * 2), xlabel=unit)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    named_rows(axes, runs)
    axes.set_title(title, pad=12)
    alt = f"{title}: dot plot on a log scale, containers above, virtual machines below, medians marked."
    how = "emulated in software" if run.vm_emulated else "hardware-assisted"
    caption = (
        f"n = {len(containers)} and {len(vms)} · not the same work: the server answers in a new container, without its shim; the machine\n"
        f"({how}, mitigations=off) comes from a snapshot to its engine's answer, serves nothing yet; a cold boot takes longer\n"
        f"{machine_line(run.engine)}"
    )
    return picture(figure, alt, caption=caption)


@draws(Replicas)
def plot_replicas(run: Replicas) -> Picture:
    """Answers a second by replicas; below, how long each replica took to start."""
    figure, (axes, below) = new_figure(5.6, nrows=2, sharex=True, height_ratios=(3, 1))
    numbers = per_second(axes, run.per_second, run.work, "measured, median of the batches", "replicas", " of work")
    axes.set(xlim=(0.7, numbers[-1] + 0.4), ylim=(0, numbers[-1] / run.work * 1.12))
    below.bar(numbers, run.starts, width=0.4, color=COLOURS["orange"], hatch="//", edgecolor=COLOURS["paper"])
    for number, seconds in zip(numbers, run.starts):
        aside(below, show_time(seconds), (number, seconds), 0, 3, va="baseline", ha="center", fontsize=10.5)
    below.set_xticks(numbers)
    below.set(ylim=(0, max(run.starts) * 1.4), ylabel="seconds", xlabel="replicas behind one name")
    below.grid(axis="x", visible=False)
    below.set_title("The start of each: from create to its own first answer", fontsize=12, pad=8)
    axes.set_title("From one to many")
    alt = (
        "Line chart of answers a second against the number of replicas behind one name, beside what they could give. "
        "Below it a bar for each replica: how long its start took."
    )
    n = len(run.per_second[numbers[0]])
    caption = f"n = {n} batches at each number, {LOADED}\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


@draws(SetUp)
def plot_set_up(run: SetUp) -> Picture:
    """The handbook's steps and whether forgetting one breaks the app; below, all of them and the one run."""
    figure, axes = new_figure(5.4)
    names = [name for name, _ in SETUP]
    for row, (name, seconds) in enumerate(zip(names, run.steps)):
        breaks = run.broken.get(name)
        colour, hatch = ("vermilion", "//") if breaks else ("faint", "")
        axes.barh(row, seconds, height=0.7, color=COLOURS[colour], hatch=hatch, edgecolor=COLOURS["ink"], linewidth=0.8)
        if breaks:
            aside(axes, "forget it, and the app breaks", (seconds, row), fontsize=10)
    wholes = (
        ("all steps, one by one", sum(run.steps), "grey", ".."),
        ("docker run", statistics.median(run.run), "green", ""),
    )
    places = [len(names) + 0.5, len(names) + 1.5]
    axes.axhline(len(names) - 0.25, color=COLOURS["grey"], linewidth=1)
    for place, (_, seconds, colour, hatch) in zip(places, wholes):
        axes.barh(place, seconds, height=0.8, color=COLOURS[colour], hatch=hatch, edgecolor=COLOURS["ink"])
        aside(axes, show_time(seconds), (seconds, place), fontsize=11, fontweight="bold")
    numbered = [f"{number}. {name}" for number, name in enumerate(names, 1)]
    named_rows(axes, [*numbered, *(name for name, *_ in wholes)], [*range(len(names)), *places])
    axes.tick_params(axis="y", labelsize=10.5)
    axes.set(
        xlim=(0, max(seconds for _, seconds, *_ in wholes) * 1.15),
        xlabel="seconds of machine time (a person needs longer)",
    )
    axes.set_title("A handbook against one run", pad=12)
    alt = (
        f"Bars for {len(names)} set-up steps by hand, {sum(run.broken.values())} of them marked as fatal when "
        "forgotten; below them a bar for all steps together and one for running the packed app, which does them all."
    )
    caption = f"steps: n = 1 · packed run: median of n = {len(run.run)}\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)
