"""Figures of networks: both ends of a cable, the map with its matrix, a published port through the rules."""

import textwrap

from matplotlib.axes import Axes

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Cell, Picture, box, canvas, label, new_figure, picture, styled, table
from ...engine import EngineFacts
from .rules import Published
from .wires import Cables
from .yard import MODES, NETWORKS, Look, Reach

#: A network's colour and hatch, in every figure.
_NETS = {"front": ("blue", "//"), "back": ("orange", "xx")}


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str, hatch: str = "") -> None:
    box(axes, x - width / 2, y - height / 2, width, height, colour, hatch, outline=1)
    label(axes, x, y, text, ha="center", alpha=0.9 if hatch else 0)


@draws(Cables)
def plot_cables(run: Cables) -> Picture:
    """Two containers above, the machine below: each cable with the numbers that its two ends have."""
    figure, axes = canvas(4.8, (0, 10), (0, 6.2))
    box(axes, 0.2, 0.3, 9.6, 2.75, "faint", alpha=0.8, outline=0.8)
    label(axes, 0.4, 0.6, "the engine's machine", alpha=0, color=COLOURS["grey"])
    for place, end in enumerate(run.ends):
        x = 2.5 + 5 * place
        box(axes, x - 1.9, 4.1, 3.8, 1.8, "green", "..", outline=1)
        label(axes, x, 5.5, f"container {end.word}", ha="center", fontweight="bold")
        label(axes, x, 4.95, f"{end.address}", ha="center")
        label(axes, x, 4.4, f"eth0 · ifindex {end.number} · iflink {end.other}", ha="center", fontsize=10)
        for ends in ([4.1, 2.75], [2.2, 1.75]):
            axes.plot([x, x], ends, color=COLOURS["ink"], linewidth=2)
        if end.outside:
            text = f"{end.outside['name']} · ifindex {end.outside['index']} · iflink {end.outside['peer']}"
            _box(axes, x, 2.48, 4.4, 0.55, "", "sky")
            label(axes, x, 2.48, text, ha="center", fontsize=10, alpha=0)
        label(axes, x + 0.1, 3.45, "a veth pair", alpha=1, fontsize=10, color=COLOURS["grey"])
    if run.bridge:
        words = f"bridge {run.bridge['name']} · {', '.join(run.bridge['addresses'])}, the containers' gateway"
        _box(axes, 5, 1.4, 9.0, 0.7, words, "blue", "//")
    axes.set_title("Both ends of each cable", pad=6)
    alt = (
        "Diagram: two containers above, each with an eth0; from each a cable leads down to an interface of the "
        "machine that names it by its number; both of these are ports of one bridge."
    )
    return picture(figure, alt, caption=machine_line(run.engine))


def _map(axes: Axes, look: Look) -> None:
    axes.set_axis_off()
    axes.set(xlim=(-0.6, 3.75), ylim=(-0.55, 2.45))
    at = dict(zip(NETWORKS, (0.45, 1.75)))
    for place, (word, nets) in enumerate(look.places.items()):
        x = 1.1 * place
        for net in nets:
            axes.plot([x, at[net]], [1.75, 1.25], color=COLOURS[_NETS[net][0]], linewidth=3, zorder=0)
        _box(axes, x, 2.0, 0.8, 0.5, word, "green")
    for net, x in at.items():
        axes.plot([x, x], [0.75, 0.25], color=COLOURS["grey"], linestyle=":", linewidth=2, zorder=0)
        _box(axes, x, 1.0, 1.15, 0.5, net, *_NETS[net])
    _box(axes, 1.1, 0.0, 2.6, 0.5, "the machine, and host in it", "faint")
    _box(axes, 3.3, 2.0, 0.75, 0.5, "none", "faint")


def _matrix(axes: Axes, look: Look, before: Look | None) -> None:
    names, targets = [*look.places, *MODES], [*look.places, "host"]
    axes.set_axis_off()
    axes.set(xlim=(-1.05, len(targets)), ylim=(len(names), -1))
    for column, target in enumerate(targets):
        axes.text(column + 0.5, -0.4, target, ha="center", va="center", fontweight="bold")
    axes.text(-0.1, -0.4, "from", ha="right", va="center", color=COLOURS["grey"])
    for row, name in enumerate(names):
        axes.text(-0.1, row + 0.5, name, ha="right", va="center", fontweight="bold")
        for column, target in enumerate(targets):
            yes = look.reached[name, target]
            new = before is not None and yes != before.reached[name, target]
            colour, hatch = ("green", "//") if yes else ("vermilion" if new else "faint", "xx" if new else "")
            if name == target:
                continue
            box(axes, column + 0.04, row + 0.06, 0.92, 0.88, colour, hatch, outline=2 if new else 0)
            label(axes, column + 0.5, row + 0.5, "yes" if yes else "no", ha="center", alpha=0.8 if hatch else 0)


@styled()
def plot_looks(engine: EngineFacts, looks: dict[str, Look]) -> Picture:
    """For each look the map beside its matrix; what is new since the one before has a thick line around it."""
    figure, axes = new_figure(3.0 * len(looks) + 0.5, nrows=len(looks), ncols=2, squeeze=False, width_ratios=[1.15, 1])
    before = None
    for (left, right), (title, look) in zip(axes, looks.items()):
        _map(left, look)
        _matrix(right, look, before)
        left.set_title(title, pad=6)
        right.set_title("reaches", pad=6)
        before = look
    nets = [f"{word} in {' and '.join(row) or 'no network'}" for word, row in look.places.items()]
    alt = (
        f"Map of containers and networks{', before and after' if len(looks) > 1 else ''}, beside a matrix of who reaches whom; at the end: "
        f"{', '.join(nets)}."
    )
    return picture(figure, alt, caption=f"two pings to each address, from inside\n{machine_line(engine)}")


@draws(Reach)
def plot_reach(run: Reach) -> Picture:
    """The map and the matrix, before and after."""
    word, net = run.joined
    return plot_looks(run.engine, {"As it was made": run.before, f"{word} connected to {net}": run.after})


@draws(Published)
def plot_published(run: Published) -> Picture:
    """Each rule that counted, by the way on which the requests came."""
    rows: dict[str, list[Cell]] = {
        "requests answered": [(f"{way.answers} of {run.requests}", "green", "//") for way in run.ways]
    }
    for rule in {(rule.table, rule.chain, rule.text): rule for way in run.ways for rule, _ in way.rises}.values():
        words = textwrap.fill(f"{rule.table} {rule.chain}: {run.readable(rule)}", 44)
        cells = [
            next((more for one, more in way.rises if one.text == rule.text and one.chain == rule.chain), 0)
            for way in run.ways
        ]
        rows[words] = [(f"+{more}", "orange", "xx") if more else ("–", "faint", "") for more in cells]
    rows["packets that reached its eth0"] = [(f"+{way.packets}", "sky", "") for way in run.ways]
    heads = [textwrap.fill(way.name, 17) for way in run.ways]
    alt = (
        "Table: three ways to one server as columns. All requests are answered on each; the rule that rewrites the "
        "destination counts on the last one only, once for each connection."
    )
    caption = f"PORT1 is published at 127.0.0.1, PORT2 at BRIDGE; br is the bridge\n{machine_line(run.engine)}"
    return table("What the rules counted", heads, rows, alt, caption, first=0.46, height=0.72)
