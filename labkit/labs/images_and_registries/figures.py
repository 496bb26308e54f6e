"""Images: their layers as stacks, what containers add on top, what a rebuild and a push can skip."""

from __future__ import annotations

import statistics
import textwrap

from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter

from ...course.result import draws, machine_line
from ...course.style import COLOURS, Picture, new_figure, picture, styled
from ...units import MIB, show_size, show_time
from .anatomy import Anatomy, Shelf
from .layering import Rebuild
from .pushes import TwoPushes
from .writable import CopyUp, TwoContainers

#: A layer's look: colour and hatch together, so that neither is the only cue.
LAYER_LOOKS = [
    ("blue", "//"), ("orange", "\\\\"), ("green", ".."), ("purple", "xx"), ("sky", "--"), ("yellow", "++"),
    ("vermilion", "||"), ("grey", "oo"),
]  # fmt: skip


def short(digest: str) -> str:
    """A digest as people say it: its first twelve digits."""
    return digest.removeprefix("sha256:")[:12]


def _box(axes, x, y, width, height, look=None, *, dashed=False, hatch=None) -> None:
    colour, pattern = look or ("faint", "")
    axes.add_patch(
        Rectangle((x, y), width, height, facecolor=COLOURS[colour] if look else COLOURS["paper"], alpha=0.32,
                  hatch=pattern if hatch is None else hatch, edgecolor=COLOURS[colour], linewidth=0)
    )  # fmt: skip
    axes.add_patch(
        Rectangle((x, y), width, height, fill=False, edgecolor=COLOURS["ink"], linewidth=1.5,
                  linestyle="--" if dashed else "-")
    )  # fmt: skip


def _label(axes, x, y, text, **options) -> None:
    box = {"boxstyle": "round,pad=0.16", "fc": COLOURS["paper"], "ec": "none", "alpha": 0.9}
    axes.text(x, y, text, **{"va": "center", "fontsize": 10.5, "bbox": box, **options})


@draws(Anatomy)
def plot_anatomy(image: Anatomy) -> Picture:
    """Each instruction in its row; those that made a layer show its size and its three names."""
    rows = list(image.history)
    layers = iter(image.layers)
    with styled():
        figure, axes = new_figure(0.62 * len(rows) + 1.5)
        axes.set_axis_off()
        axes.set_xlim(0, 10)
        axes.set_ylim(-0.15, len(rows) + 0.55)
        heads = ((0.1, "instruction"), (4.2, "layer"), (5.75, "diffID"), (7.85, "chainID"))
        for x, head in heads:
            axes.text(x, len(rows) + 0.3, head, fontweight="bold", va="center")
        number = 0
        for height, row in enumerate(rows):
            axes.text(0.1, height + 0.5, textwrap.shorten(row.words, 40, placeholder=" …"), va="center", fontsize=10.5)
            if not row.layer:
                axes.text(4.2, height + 0.5, "configuration only: no layer", va="center", color=COLOURS["grey"])
                axes.plot([0.1, 9.9], [height, height], color=COLOURS["faint"], linewidth=1, zorder=0)
                continue
            layer = next(layers)
            _box(axes, 4.1, height + 0.06, 5.8, 0.88, LAYER_LOOKS[number % len(LAYER_LOOKS)])
            _label(axes, 4.25, height + 0.5, show_size(layer.size))
            for x, name in ((5.75, layer.diff_id), (7.85, layer.chain_id)):
                _label(axes, x, height + 0.5, short(name), family="DejaVu Sans Mono")
            number += 1
        axes.set_title("An image, from its base (bottom) up", pad=8)
        alt = (
            f"Stack of {len(rows)} instructions, the base at the bottom. {len(image.layers)} of them made a layer, "
            "drawn as a box with size, diffID and chainID; the others changed only the configuration. "
            "In the base layer diffID and chainID are the same."
        )
        return picture(figure, alt, caption=f"Names cut to twelve digits · {machine_line(image.engine)}")


@draws(Shelf)
def plot_shelf(shelf: Shelf) -> Picture:
    """Images side by side; a layer that several have looks the same in each."""
    shared = shelf.shared()
    looks: dict[str, tuple] = {}
    tallest = max(len(image.layers) for image in shelf.images)
    with styled():
        figure, axes = new_figure(0.72 * tallest + 1.7)
        axes.set_axis_off()
        count = len(shelf.images)
        axes.set_xlim(0, count)
        axes.set_ylim(-0.1, tallest + 0.6)
        for column, image in enumerate(shelf.images):
            axes.text(column + 0.5, len(image.layers) + 0.28, tidy_name(image.image), ha="center", fontweight="bold")
            for height, layer in enumerate(image.layers):
                look = None
                if layer.diff_id in shared:
                    look = looks.setdefault(layer.diff_id, LAYER_LOOKS[len(looks) % len(LAYER_LOOKS)])
                _box(axes, column + 0.06, height + 0.05, 0.88, 0.88, look)
                words = textwrap.shorten(layer.created_by, max(16, 102 // count), placeholder=" …")
                _label(axes, column + 0.1, height + 0.67, words, fontsize=9.5)
                _label(axes, column + 0.1, height + 0.28, f"{short(layer.diff_id)}  {show_size(layer.size)}",
                       fontsize=9, family="DejaVu Sans Mono")  # fmt: skip
        axes.set_title("Shared layers have the same colour and pattern; white ones are an image's own", pad=8)
        names = ", ".join(tidy_name(image.image) for image in shelf.images)
        alt = (
            f"Layers of {names} as stacks side by side. {len(shared)} layers are in more than one image "
            "and drawn in the same colour and pattern; the rest are white."
        )
        return picture(figure, alt, caption=machine_line(shelf.engine))


def tidy_name(reference: str) -> str:
    """A reference without the session's id."""
    import re

    return re.sub(r"-[0-9a-f]{8}(?=[:/@]|$)", "", reference)


@draws(TwoContainers)
def plot_containers(run: TwoContainers) -> Picture:
    """Two containers share the image's layers and have a writable one each."""
    with styled():
        figure, axes = new_figure(3.6)
        axes.set_axis_off()
        axes.set_xlim(0, 10)
        axes.set_ylim(0, 3.6)
        for x, side, words in ((0.2, run.writer, _changes(run)), (5.1, run.reader, "nothing written")):
            _box(axes, x, 2.1, 4.7, 1.35, ("orange", ""), dashed=True)
            _label(axes, x + 0.15, 3.2, f"{side.name}'s writable layer", fontweight="bold")
            _label(axes, x + 0.15, 2.62, words, fontsize=10, linespacing=1.35)
            _label(axes, x + 4.55, 3.2, show_size(side.written), ha="right")
        layers = len(run.writer.lower[1:]) or 4
        for number in range(layers):
            height = 1.75 / layers
            _box(axes, 0.2, 0.15 + number * height, 9.6, height, ("blue", "//"))
        _label(axes, 5, 1.02, f"the image: {layers} read-only layers, {show_size(run.writer.image_size)}, "
               "on the disk once for both", ha="center", fontweight="bold")  # fmt: skip
        axes.set_title("Writable above, read-only below", pad=6)
        alt = (
            "Two containers drawn above one image. Each has a dashed writable layer of its own: the writer's holds a "
            "changed, an added and a deleted file, the reader's is empty. Below both lie the same read-only layers."
        )
        return picture(figure, alt, caption=machine_line(run.engine))


def _changes(run: TwoContainers) -> str:
    return "\n".join(f"{kind}: {path}" for path, kind in sorted(run.writer.changes.items()) if "." in path)


@draws(CopyUp)
def plot_copy_up(run: CopyUp) -> Picture:
    """First and second write against the file's size, every round as a mark."""
    with styled():
        figure, axes = new_figure(4.2)
        looks = (("first write: the whole file is copied up", run.first, "vermilion", "o"),
                 ("second write: it is already there", run.second, "blue", "s"))  # fmt: skip
        for label, data, colour, marker in looks:
            sizes = sorted(data)
            xs = [size / MIB for size in sizes for _ in data[size]]
            ys = [value * 1000 for size in sizes for value in data[size]]
            axes.scatter(xs, ys, s=55, alpha=0.5, marker=marker, color=COLOURS[colour])
            middles = [statistics.median(data[size]) * 1000 for size in sizes]
            axes.plot([size / MIB for size in sizes], middles, marker=marker, color=COLOURS[colour], label=label)
            for size, middle in zip(sizes, middles):
                axes.annotate(_brief(middle), (size / MIB, middle), xytext=(8, 6),
                              textcoords="offset points", fontsize=10)  # fmt: skip
        sizes = sorted(run.first)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xticks([size / MIB for size in sizes], [show_size(size) for size in sizes])
        axes.set_xlim(sizes[0] / MIB / 1.5, sizes[-1] / MIB * 2)
        axes.set_xlabel("size of the file in the image")
        axes.set_ylabel("milliseconds (log scale)")
        axes.set_title("Writing one byte into a file of the image")
        axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        n = len(next(iter(run.first.values())))
        alt = (
            "Two lines on log scales against the size of the file: the first write of one byte, for which the whole "
            "file is copied up, and the second, which finds it there. Every round as a mark."
        )
        return picture(figure, alt, caption=f"n = {n} rounds, each in a new container, medians written beside the marks"
                       f"\n{machine_line(run.engine)}")  # fmt: skip


def _brief(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 0.1 else show_time(milliseconds / 1000)


REUSED, AGAIN = ("green", ".."), ("vermilion", "//")


@draws(Rebuild)
def plot_rebuild(run: Rebuild) -> Picture:
    """The steps of the second build: reused or built again, and how long each took."""
    steps = run.second.steps
    with styled():
        figure, axes = new_figure(0.5 * len(steps) + 2.0)
        for row, step in enumerate(steps):
            base = step.instruction.startswith("FROM")
            colour, hatch = REUSED if step.cached else AGAIN
            if base:
                colour, hatch = "grey", ""
            first = run.first.steps[row].seconds
            axes.barh(row - 0.2, first, height=0.36, color=COLOURS["faint"], edgecolor=COLOURS["grey"])
            axes.barh(row + 0.2, step.seconds, height=0.36, color=COLOURS[colour], hatch=hatch,
                      edgecolor=COLOURS["paper"])  # fmt: skip
            state = "the base" if base else "reused" if step.cached else "built again"
            axes.annotate(state, (max(step.seconds, 0), row + 0.2), xytext=(6, 0), textcoords="offset points",
                          va="center", fontsize=10.5, fontweight="bold",
                          color=COLOURS["ink" if base else colour])  # fmt: skip
        axes.set_yticks(range(len(steps)), [textwrap.shorten(s.instruction, 44, placeholder=" …") for s in steps])
        axes.tick_params(axis="y", labelsize=10.5)
        axes.set_ylim(len(steps) - 0.4, -0.6)
        axes.set_xlim(0, max(s.seconds for s in [*run.first.steps, *steps]) * 1.25)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds")
        axes.set_title(f"{run.changed} changed: what is built again?")
        marks = [
            Patch(facecolor=COLOURS["faint"], edgecolor=COLOURS["grey"], label="first build, no cache"),
            Patch(facecolor=COLOURS[REUSED[0]], hatch=REUSED[1], edgecolor=COLOURS["paper"], label="reused"),
            Patch(facecolor=COLOURS[AGAIN[0]], hatch=AGAIN[1], edgecolor=COLOURS["paper"], label="built again"),
        ]
        axes.legend(handles=marks, loc="lower left", ncols=3, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        words = [f"{s.instruction}: {'reused' if s.cached else 'built again'}" for s in steps[1:]]
        alt = f"Bar chart of the build's steps after {run.changed} changed. " + "; ".join(words) + "."
        caption = f"First build {show_time(run.first.seconds)}, second {show_time(run.second.seconds)} · n = 1\n"
        return picture(figure, alt, caption=caption + machine_line(run.engine))


@draws(TwoPushes)
def plot_pushes(run: TwoPushes) -> Picture:
    """Bytes that each push sent, and bytes that it could leave where they were."""
    with styled():
        figure, axes = new_figure(3.2)
        pushes = (run.first, run.second)
        for row, push in enumerate(pushes):
            sent, there = push.bytes_uploaded / 1024, push.bytes_already / 1024
            axes.barh(row, sent, color=COLOURS["vermilion"], hatch="//", edgecolor=COLOURS["paper"], height=0.55)
            axes.barh(row, there, left=sent, color=COLOURS["green"], hatch="..", edgecolor=COLOURS["paper"],
                      height=0.55)  # fmt: skip
            words = f"{len(push.uploaded)} blobs, {show_size(push.bytes_uploaded)} sent"
            if push.already:
                words += f"; {len(push.already)} blobs, {show_size(push.bytes_already)} were there"
            axes.annotate(words, (0, row - 0.31), xytext=(2, 1), textcoords="offset points", va="bottom", fontsize=10.5)
        axes.set_yticks((0, 1), [f"push {push.tag}" for push in pushes])
        axes.set_ylim(1.5, -0.75)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("KiB, compressed")
        axes.set_title("The second push sends only what is new")
        marks = [
            Patch(facecolor=COLOURS["vermilion"], hatch="//", edgecolor=COLOURS["paper"], label="uploaded"),
            Patch(facecolor=COLOURS["green"], hatch="..", edgecolor=COLOURS["paper"], label="in the registry already"),
        ]
        axes.legend(handles=marks, loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 0.985), borderaxespad=0)
        alt = (
            f"Two bars. The first push uploads all {len(run.first.uploaded)} blobs; the second uploads "
            f"{len(run.second.uploaded)} small ones and leaves {len(run.second.already)} where they are."
        )
        return picture(figure, alt, caption=f"Counted in the registry's access log\n{machine_line(run.engine)}")
