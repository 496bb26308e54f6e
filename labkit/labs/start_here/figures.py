"""Three clients, one engine: how long the same container takes by each."""

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, new_figure, picture
from .first import ThreeWays

LOOK = {"SDK": ("blue", "o"), "CLI": ("orange", "s"), "raw HTTP": ("green", "^")}


@draws(ThreeWays)
def plot(run: ThreeWays) -> Picture:
    """Every run as a dot, each client's median as a line."""
    figure, axes = new_figure(2.9)
    medians = run.medians()
    for row, (name, values) in enumerate(run.seconds.items()):
        colour, marker = LOOK[name]
        milliseconds = [value * 1000 for value in values]
        axes.scatter(milliseconds, [row] * len(values), s=70, alpha=0.55, marker=marker, color=COLOURS[colour])
        middle = medians[name] * 1000
        axes.plot([middle, middle], [row - 0.32, row + 0.32], color=COLOURS["ink"], linewidth=2.5)
        axes.text(0.012, row, f"median {middle:.0f} ms", transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(range(len(run.seconds)), list(run.seconds))
    axes.set(ylim=(len(run.seconds) - 0.4, -0.75), xlim=(0, None))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("milliseconds from the call to the container's removal")
    axes.set_title("The same container by three clients", pad=12)
    n = len(next(iter(run.seconds.values())))
    alt = "Dot plot of the run times of the same container by each client, with each client's median marked."
    caption = f"n = {n} rounds, warm, no network; the CLI also starts a process of its own\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)
