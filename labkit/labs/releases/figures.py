"""A health check over time, and what a build sends and ships as a table."""

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Cell, Picture, legend, new_figure, picture, table
from ...units import show_size
from .health import Health
from .shipping import Shipping

#: Places of the states, best on top.
_PLACES = {"unhealthy": 0, "starting": 1, "healthy": 2}


@draws(Health)
def plot_health(run: Health) -> Picture:
    """The state as steps, the probes below it as marks: passed or failed."""
    figure, axes = new_figure(4.2)
    end = max(run.states[-1][0], max(probe.start + probe.seconds for probe in run.probes)) * 1.04
    times = [at for at, _ in run.states] + [end]
    places = [_PLACES[state] for _, state in run.states]
    axes.step(times, [*places, places[-1]], where="post", color=COLOURS["ink"], linewidth=2.5)
    for passed, colour, marker, word in (
        (True, "green", "o", "probe passed"),
        (False, "vermilion", "X", "probe failed"),
    ):
        starts = [probe.start for probe in run.probes if (probe.code == 0) is passed]
        axes.scatter(starts, [-0.8] * len(starts), s=60, color=COLOURS[colour], marker=marker, label=word, zorder=3)
    axes.set_yticks([-0.8, *_PLACES.values()], ["probes", *_PLACES])
    axes.set(ylim=(-1.3, 2.6), xlim=(0, end), xlabel="seconds since the container started, by the engine's clock")
    legend(axes)
    axes.set_title("What a health check says, and when", pad=26)
    alt = (
        "Steps over time: starting, healthy after the first probe that passes, unhealthy after several that fail in a "
        "row, healthy again after one that passes."
    )
    caption = f"--retries {run.retries} · the server ran all the time\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


@draws(Shipping)
def plot_shipping(run: Shipping) -> Picture:
    """A column a way: bytes sent, bytes in the image, files in it."""
    most = max(one.context for one in run.ways.values())

    def cell(count: int) -> Cell:
        return (show_size(count), *(("vermilion", "xx") if count * 2 > most else ("green", "//")))

    rows: dict[str, list[Cell]] = {
        "sent to the builder": [cell(one.context) for one in run.ways.values()],
        "in the image, above its base": [cell(one.size) for one in run.ways.values()],
        "files in /app": [(str(len(one.files)), "faint", "") for one in run.ways.values()],
    }
    alt = (
        "Table: the same folder built in three ways. As it is, megabytes are sent and shipped; with a .dockerignore both "
        "are a thousandth; in two stages the image has the fewest files."
    )
    caption = f"sent: as the builder counted it; in the image: the engine's sizes, less the base's\n{machine_line(run.engine)}"
    return table("What a build sends, and what it ships", list(run.ways), rows, alt, caption, first=0.3, height=0.6)
