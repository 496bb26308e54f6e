"""Rollouts as strips: each request a mark at its time, in the lane of who answered; what was lost has a lane of its own."""

from collections.abc import Sequence

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Look, Picture, legend, new_figure, picture
from ...observe.visitor import Visit
from ...units import show_time
from .rollouts import BadRelease, Comparison, Rollout, release_of

#: Who answered: the old release, the new one, nobody; each its lane within a row, colour, marker and word.
LANES: dict[str, tuple[float, Look]] = {
    "the release before": (-0.24, ("blue", "o")),
    "the new release": (0.0, ("green", "s")),
    "lost": (0.24, ("vermilion", "X")),
}


def _lane(run: Rollout, visit: Visit) -> str:
    if visit.status != 200:
        return "lost"
    return "the new release" if release_of(visit) == run.release else "the release before"


#: A row: its name, what stands at its right end, and the rollout.
Row = tuple[str, str, Rollout]


def _strips(rows: Sequence[Row], title: str, note: str = "", top: str = "") -> Picture:
    """Rollouts below each other; ``note`` begins the caption, ``top`` stands above what is at the rows' right ends."""
    figure, axes = new_figure(1.6 + 1.2 * len(rows))
    told = set()
    for place, (_, words, run) in enumerate(rows):
        axes.fill_between([0, run.ended - run.began], place - 0.42, place + 0.42, color=COLOURS["faint"], linewidth=0)
        for lane, (shift, (colour, marker)) in LANES.items():
            times = [visit.start - run.began for visit in run.visits if _lane(run, visit) == lane]
            axes.scatter(times, [place + shift] * len(times), s=26, marker=marker, color=COLOURS[colour], linewidths=0,
                         zorder=3, alpha=0.85, label=lane if times and lane not in told else None)  # fmt: skip
            told |= {lane} if times else set()
        axes.text(1.015, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)
    axes.text(1.015, -0.62, top, transform=axes.get_yaxis_transform(), va="bottom", fontweight="bold", fontsize=10.5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="seconds since the rollout began; grey: while it lasted")
    axes.grid(axis="y", visible=False)
    axes.set_title(title, pad=26)
    marks = dict(zip(*reversed(axes.get_legend_handles_labels())))
    legend(axes, ncols=3, handles=[marks[lane] for lane in LANES if lane in marks])
    lost = {True: "some requests are lost while it lasts", False: "no request is lost"}
    alt = "; ".join(f"{name}: {lost[bool(run.lost)]}" for name, _, run in rows).replace("\n", " ")
    caption = f"{note}a request begins every {show_time(rows[0][2].every)}\n{machine_line(rows[0][2].engine)}"
    return picture(figure, f"Requests as marks over time, in rows. {alt}.", caption=caption)


def _row(name: str, run: Rollout) -> Row:
    return name, f"lost: {len(run.lost)}\nof {len(run.visits)}", run


@draws(Rollout)
def plot_rollout(run: Rollout) -> Picture:
    """One rollout, each request a mark."""
    title = f"From release {run.before} to {run.release}" + (", given up" if run.found else "")
    return _strips([_row(run.way.replace(" and ", "\nand "), run)], title)


@draws(Comparison)
def plot_comparison(run: Comparison) -> Picture:
    """The first rollout of each way as a strip; beside it what all of them lost."""
    rows = [
        (way, f"{median:g} ({least} to {most})\ntakes {show_time(seconds)}", run.rollouts[way][0])
        for way, median, least, most, seconds in run.table()
    ]
    note = (
        f"strips: the first of n = {run.n} rollouts each; beside them the median of all, least and most in brackets · "
    )
    return _strips(rows, "The same release, the same customers, three ways", note, "requests lost")


@draws(BadRelease)
def plot_bad(run: BadRelease) -> Picture:
    """The bad release without a look, its way back, and the one that gave up by itself."""
    rows = [_row("without a look", run.blind), _row("… and back", run.back), _row("with a look", run.looking)]
    return _strips(rows, "A bad release, rolling", "lost: answered with an error, or not at all · ")
