"""Figures of data: what survives what, and what a kill in mid-write leaves."""

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Cell, Picture, aside, named_rows, new_figure, picture, table
from .places import MARK, PLACES, Survival
from .torn import Torn

_KEPT: dict[bool, Cell] = {True: ("kept", "green", "//"), False: ("lost", "vermilion", "xx")}


@draws(Survival)
def plot_survival(run: Survival) -> Picture:
    """Places as rows; what became of a file there after a restart, and in a new container."""
    rows = {
        flag: [_KEPT[found[place] == MARK] for found in (run.restarted, run.renewed)] for place, flag in PLACES.items()
    }
    alt = (
        "Table: places as rows. Only what is in memory is lost with a restart; a new container finds what lies on a "
        "named volume and in a folder of the machine, nothing else."
    )
    heads = ["after a restart", "in a new container"]
    return table("What becomes of a file", heads, rows, alt, machine_line(run.engine), first=0.34)


@draws(Torn)
def plot_torn(run: Torn) -> Picture:
    """A bar for each kill, as long as the file that was left has rows; crosses where its checksum does not fit."""
    figure, axes = new_figure(4.6)
    for place, kills in enumerate(run.kills.values()):
        height = 0.8 / len(kills)
        for number, kill in enumerate(kills):
            whole = bool(kill.found)
            y = place - 0.4 + height * (number + 0.5)
            axes.barh(y, max(kill.rows, 0.2), height * 0.8, color=COLOURS["green" if whole else "vermilion"], alpha=0.6,
                      hatch="//" if whole else "xx", edgecolor=COLOURS["paper"])  # fmt: skip
            words = f"record {kill.found}, whole" if whole else f"torn, and record {kill.said} is gone"
            aside(axes, words, (20, y), fontsize=10)
    named_rows(axes, [case.replace(", ", ",\n") for case in run.kills])
    axes.set(xlim=(0, 29), xlabel="rows in the file that was left")
    axes.set_xticks([0, 5, 10, 15, 20])
    axes.axvline(20, color=COLOURS["grey"], linestyle=":", linewidth=1.4)
    axes.set_title("Killed in the middle of a write", pad=8)
    alt = (
        "Bar chart of the rows in the file after each kill. Where it is written in place, most files are torn and the "
        "record before is gone, with a volume or without; where a new file takes its place, all are whole."
    )
    count = len(next(iter(run.kills.values())))
    caption = f"n = {count} kills a case; a whole record has 20 rows and its checksum\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)
