"""Images: their layers as stacks, what containers add on top, what a rebuild and a push can skip."""

import itertools
import re
import statistics
import textwrap
from typing import Any

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Look, Picture, aside, box, canvas, label, legend, named_rows, new_figure, picture
from ...units import MIB, show_size, show_time
from .anatomy import Anatomy, Shelf
from .layering import Rebuild
from .names import Names
from .pushes import TwoPushes
from .writable import CopyUp, TwoContainers

#: A layer's look: colour and hatch together, so that neither is the only cue.
LAYER_LOOKS = [
    ("blue", "//"), ("orange", "\\\\"), ("green", ".."), ("purple", "xx"), ("sky", "--"), ("yellow", "++"),
    ("vermilion", "||"), ("grey", "oo"),
]  # fmt: skip
REUSED, AGAIN = ("green", ".."), ("vermilion", "//")
BOX: dict[str, Any] = {"alpha": 0.32, "edge": 0, "outline": 1.5}


def short(digest: str) -> str:
    """A digest as people say it: its first twelve digits."""
    return digest.removeprefix("sha256:")[:12]


@draws(Anatomy)
def plot_anatomy(image: Anatomy) -> Picture:
    """Each instruction in its row; those that made a layer show its size and its three names."""
    rows = image.rows()
    figure, axes = canvas(0.62 * len(rows) + 1.65, (0, 10), (-0.15, len(rows) + 0.55))
    for x, head in ((0.1, "instruction"), (4.2, "layer"), (5.75, "diffID"), (7.85, "chainID")):
        axes.text(x, len(rows) + 0.3, head, fontweight="bold", va="center")
    looks = itertools.cycle(LAYER_LOOKS)
    for height, (words, layer) in enumerate(rows):
        axes.text(0.1, height + 0.5, textwrap.shorten(words, 40, placeholder=" …"), va="center", fontsize=10.5)
        if layer is None:
            axes.text(4.2, height + 0.5, "configuration only: no layer", va="center", color=COLOURS["grey"])
            axes.plot([0.1, 9.9], [height, height], color=COLOURS["faint"], linewidth=1, zorder=0)
            continue
        box(axes, 4.1, height + 0.06, 5.8, 0.88, *next(looks), **BOX)
        label(axes, 4.25, height + 0.5, show_size(layer.size))
        for x, name in ((5.75, layer.diff_id), (7.85, layer.chain_id)):
            label(axes, x, height + 0.5, short(name), family="DejaVu Sans Mono")
    axes.set_title("An image, from its base (bottom) up", pad=8)
    alt = (
        f"Stack of {len(rows)} instructions, the base at the bottom. {len(image.layers)} of them made a layer, "
        "drawn as a box with size, diffID and chainID; the others changed only the configuration. "
        "In the base layer diffID and chainID are the same."
    )
    caption = f"Names cut to twelve digits · sizes are those of the layers' tars\n{machine_line(image.engine)}"
    return picture(figure, alt, caption=caption)


@draws(Shelf)
def plot_shelf(shelf: Shelf) -> Picture:
    """Images side by side; a layer that several have looks the same in each."""
    shared = shelf.shared()
    looks: dict[str, Look] = {}
    tallest, count = max(len(image.layers) for image in shelf.images), len(shelf.images)
    largest = max(layer.size for image in shelf.images for layer in image.layers)
    figure, axes = canvas(0.76 * tallest + 2.0, (0, count), (-0.1, tallest + 0.6))
    for column, image in enumerate(shelf.images):
        axes.text(column + 0.5, len(image.layers) + 0.28, tidy_name(image.image), ha="center", fontweight="bold")
        for height, layer in enumerate(image.layers):
            look: Look = ("paper",)
            if layer.diff_id in shared:
                look = looks.setdefault(layer.diff_id, LAYER_LOOKS[len(looks) % len(LAYER_LOOKS)])
            box(axes, column + 0.06, height + 0.05, 0.88, 0.88, *look, **BOX)
            words = textwrap.shorten(layer.created_by, max(16, 102 // count), placeholder=" …")
            label(axes, column + 0.1, height + 0.71, words, fontsize=9.5)
            label(axes, column + 0.1, height + 0.38, f"{short(layer.diff_id)}  {show_size(layer.size)}",
                  fontsize=9, family="DejaVu Sans Mono")  # fmt: skip
            # Boxes alike would say sizes alike: the bar at the foot is to scale, and never quite nothing.
            box(axes, column + 0.08, height + 0.08, 0.84, 0.1, "paper", alpha=1, edge=0, outline=0.8)
            box(axes, column + 0.08, height + 0.08, max(0.84 * layer.size / largest, 0.004), 0.1, "ink", alpha=1)
    axes.set_title("Same colour and pattern: a shared layer. White: an image's own.", pad=8)
    names = ", ".join(tidy_name(image.image) for image in shelf.images)
    alt = (
        f"Layers of {names} as stacks side by side. {len(shared)} layers are in more than one image "
        "and drawn in the same colour and pattern; the rest are white. A bar in each box shows its size, to scale."
    )
    caption = f"Bars: sizes to scale, a whole one is {show_size(largest)} · sizes are those of the layers' tars\n"
    return picture(figure, alt, caption=caption + machine_line(shelf.engine))


def tidy_name(reference: str) -> str:
    """A reference without the session's id."""
    return re.sub(r"-[0-9a-f]{8}(?=[:/@]|$)", "", reference)


#: The parts of a name: what it is called, where its box begins and ends.
PARTS = {"host": (0.1, 2.75), "port": (2.8, 3.75), "path": (3.8, 6.75), "tag": (6.8, 8.1), "digest": (8.15, 9.9)}


@draws(Names)
def plot_names(run: Names) -> Picture:
    """Each name in its parts: those that were written, and those that the engine adds."""
    figure, axes = canvas(0.6 * len(run.parts) + 1.9, (0, 10), (len(run.parts) + 0.05, -0.5))
    for part, (left, _) in PARTS.items():
        axes.text(left + 0.05, -0.2, "name" if part == "path" else part, fontweight="bold", va="center")
    for row, name in enumerate(run.parts.values()):
        full = name.full()
        for part, (left, right) in PARTS.items():
            written, whole = getattr(name, part), getattr(full, part)
            added = whole.removesuffix(written)
            middle = right if not written else left if not added else left + (right - left) * 0.47
            if added:
                box(axes, left, row + 0.12, middle - left, 0.76, "paper", alpha=1, edge=0, outline=1.2, linestyle="--")
                label(
                    axes,
                    left + 0.12,
                    row + 0.5,
                    _part(part, added),
                    fontsize=10,
                    family="DejaVu Sans Mono",
                    style="italic",
                )
            if written:
                box(axes, middle, row + 0.12, right - middle, 0.76, "blue", "//", **BOX)
                label(axes, middle + 0.12, row + 0.5, _part(part, written), fontsize=10, family="DejaVu Sans Mono")
    axes.set_title("Names in their parts", pad=26)
    added = Patch(facecolor=COLOURS["paper"], edgecolor=COLOURS["ink"], linestyle="--", label="added by the engine")
    legend(axes, handles=[_mark(("blue", "//"), "written"), added])
    alt = (
        f"{len(run.parts)} names of images in a table with a column for host, port, name, tag and digest. Parts that were "
        "written are in hatched boxes, parts that the engine adds in dashed ones: docker.io where there is no host, "
        "library/ before a single word there, latest where there is neither tag nor digest."
    )
    return picture(figure, alt, caption=machine_line(run.engine))


def _part(part: str, words: str) -> str:
    words = f"{words[:12]}…" if part == "digest" else words
    return {"port": ":", "tag": ":", "digest": "@"}.get(part, "") + words


@draws(TwoContainers)
def plot_containers(run: TwoContainers) -> Picture:
    """Two containers share the image's layers and have a writable one each."""
    figure, axes = canvas(3.9, (0, 10), (0, 3.6))
    wrote = "\n".join(f"{kind}: {path}" for path, kind in sorted(run.writer.changes.items()) if "." in path)
    for x, side, words in ((0.2, run.writer, wrote), (5.1, run.reader, "nothing written")):
        box(axes, x, 2.1, 4.7, 1.35, "orange", **BOX, linestyle="--")
        label(axes, x + 0.15, 3.2, f"{side.name}'s writable layer", fontweight="bold")
        label(axes, x + 0.15, 2.62, words, fontsize=10, linespacing=1.35)
        label(axes, x + 4.55, 3.2, show_size(side.written), ha="right")
    layers = len(run.writer.lower[1:]) or 4
    for number in range(layers):
        box(axes, 0.2, 0.15 + number * 1.75 / layers, 9.6, 1.75 / layers, "blue", "//", **BOX)
    label(axes, 5, 1.02, f"the image: {layers} read-only layers, {show_size(run.writer.image_size)}, "
          "on the disk once for both", ha="center", fontweight="bold")  # fmt: skip
    axes.set_title("Writable above, read-only below", pad=6)
    alt = (
        "Two containers drawn above one image. Each has a dashed writable layer of its own: the writer's holds a "
        "changed, an added and a deleted file, the reader's is empty. Below both lie the same read-only layers."
    )
    counts = (
        "by the blocks on its disk" if run.engine.image_store == "containerd" else "the bytes in files and links alone"
    )
    caption = (
        f"Sizes as the engine counts them: {counts}. A layer's tar, as in the figures of layers, counts otherwise:\n"
        f"it has a header of 512 bytes for each file, link and folder, too.\n{machine_line(run.engine)}"
    )
    return picture(figure, alt, caption=caption)


@draws(CopyUp)
def plot_copy_up(run: CopyUp) -> Picture:
    """First and second write against the file's size, every round as a mark."""
    figure, axes = new_figure(4.2)
    sizes = sorted(run.first)
    places = [size / MIB for size in sizes]
    for words, data, colour, marker in (("first write: the whole file is copied up", run.first, "vermilion", "o"),
                                        ("second write: it is already there", run.second, "blue", "s")):  # fmt: skip
        for place, size in zip(places, sizes):
            axes.scatter([place] * len(data[size]), [value * 1000 for value in data[size]], s=55, alpha=0.5,
                         marker=marker, color=COLOURS[colour])  # fmt: skip
        middles = [statistics.median(data[size]) * 1000 for size in sizes]
        axes.plot(places, middles, marker=marker, color=COLOURS[colour], label=words)
        for place, middle in zip(places, middles):
            aside(axes, _brief(middle), (place, middle), 8, 6, va="baseline", fontsize=10)
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlim=(places[0] / 1.5, places[-1] * 2), xlabel="size of the file in the image",
             ylabel="milliseconds (log scale)")  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks(places, [show_size(size) for size in sizes])
    axes.set_title("Writing one byte into a file of the image")
    legend(axes)
    alt = (
        "Two lines on log scales against the size of the file: the first write of one byte, for which the whole "
        "file is copied up, and the second, which finds it there. Every round as a mark."
    )
    n = len(run.first[sizes[0]])
    caption = f"n = {n} rounds, each in a new container, medians written beside the marks\n{machine_line(run.engine)}"
    return picture(figure, alt, caption=caption)


def _brief(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 0.1 else show_time(milliseconds / 1000)


def _mark(look: Look, words: str, edge: str = "paper") -> Patch:
    """An entry of a legend."""
    return Patch(facecolor=COLOURS[look[0]], hatch="".join(look[1:]), edgecolor=COLOURS[edge], label=words)


@draws(Rebuild)
def plot_rebuild(run: Rebuild) -> Picture:
    """The steps of the second build: reused or built again, and how long each took."""
    steps = run.second.steps
    figure, axes = new_figure(0.5 * len(steps) + 2.0)
    for row, (before, step, state) in enumerate(zip(run.first.steps, steps, run.states())):
        colour, hatch = {"the base": ("grey", ""), "reused": REUSED}.get(state, AGAIN)
        axes.barh(row - 0.2, before.seconds, height=0.36, color=COLOURS["faint"], edgecolor=COLOURS["grey"])
        axes.barh(row + 0.2, step.seconds, height=0.36, color=COLOURS[colour], hatch=hatch, edgecolor=COLOURS["paper"])
        aside(axes, state, (step.seconds, row + 0.2), fontsize=10.5, fontweight="bold",
              color=COLOURS["ink" if state == "the base" else colour])  # fmt: skip
    named_rows(axes, [textwrap.shorten(step.instruction, 44, placeholder=" …") for step in steps])
    axes.tick_params(axis="y", labelsize=10.5)
    axes.set(xlim=(0, max(step.seconds for step in [*run.first.steps, *steps]) * 1.25), xlabel="seconds")
    axes.set_title(f"{run.changed} changed: what is built again?")
    marks = [_mark(("faint",), "first build, no cache", "grey"), _mark(REUSED, "reused"), _mark(AGAIN, "built again")]
    legend(axes, ncols=3, handles=marks)
    words = "; ".join(f"{step.instruction}: {state}" for step, state in list(zip(steps, run.states()))[1:])
    alt = f"Bar chart of the build's steps after {run.changed} changed. {words}."
    caption = f"First build {show_time(run.first.seconds)}, second {show_time(run.second.seconds)} · n = 1\n"
    return picture(figure, alt, caption=caption + machine_line(run.engine))


@draws(TwoPushes)
def plot_pushes(run: TwoPushes) -> Picture:
    """Bytes that each push sent, and bytes that it could leave where they were."""
    figure, axes = new_figure(3.2)
    pushes = (run.first, run.second)
    for row, push in enumerate(pushes):
        left = 0.0
        for count, (colour, hatch) in ((push.bytes_uploaded, AGAIN), (push.bytes_already, REUSED)):
            axes.barh(
                row,
                count / 1024,
                left=left,
                color=COLOURS[colour],
                hatch=hatch,
                edgecolor=COLOURS["paper"],
                height=0.55,
            )
            left += count / 1024
        words = f"{len(push.uploaded)} blobs, {show_size(push.bytes_uploaded)} sent"
        if push.already:
            words += f"; {len(push.already)} blobs, {show_size(push.bytes_already)} were there"
        aside(axes, words, (0, row - 0.31), 2, 1, va="bottom", fontsize=10.5)
    named_rows(axes, [f"push {push.tag}" for push in pushes], below=0.5)
    axes.set(ylim=(1.5, -0.75), xlim=(0, axes.get_xlim()[1] * 1.02), xlabel="KiB, compressed")
    axes.set_title("The second push sends only what is new")
    legend(axes, handles=[_mark(AGAIN, "uploaded"), _mark(REUSED, "in the registry already")])
    alt = (
        f"Two bars. The first push uploads all {len(run.first.uploaded)} blobs; the second uploads "
        f"{len(run.second.uploaded)} small ones and leaves {len(run.second.already)} where they are."
    )
    return picture(figure, alt, caption=f"Counted in the registry's access log\n{machine_line(run.engine)}")
