"""One look for all figures: colours, sizes, and the picture that a cell shows."""

import base64
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.text import Text

#: Okabe and Ito's palette, told apart with every common colour blindness
#: (https://jfly.uni-koeln.de/color/). Never the only cue: a marker, hatch or label goes with it.
COLOURS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermilion": "#D55E00",
    "purple": "#CC79A7", "sky": "#56B4E9", "yellow": "#F0E442", "ink": "#1F2933",
    "grey": "#5F6C7B", "faint": "#E4E7EB", "paper": "#FFFFFF",
}  # fmt: skip

#: How something looks: colour first, then marker or hatch.
Look = tuple[str, ...]

#: One colour per layer of the course, the same in every figure.
MODELS = {
    "bare metal": ("ink", "o", ""),
    "container": ("blue", "s", "//"),
    "gVisor": ("green", "D", ".."),
    "virtual machine": ("orange", "^", "xx"),
    "published": ("grey", "*", "--"),
}

#: Figure width in inches; at 100 dots an inch this is 920 pixels, a JupyterLab cell at 1280.
WIDTH = 9.2
DPI = 100
#: How much larger than that figures are shown: labkit lab --projector says so.
LARGER = float(os.environ.get("LABKIT_FIGURES") or 1)

#: Inches left free above a figure's title.
ABOVE = 0.12

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("labkit.mplstyle"), use_default_template=False)


class Picture:
    """A finished figure: PNG bytes and the sentence that tells the same in words.

    In a notebook it shows itself. Its plain text is the text alternative, which holds no
    measured number, so it is the same on every run. ``state`` is what only this learner's
    picture says; it is read out with it, and kept out of the plain text.
    """

    def __init__(self, png: bytes, alt: str, width: int, state: str = ""):
        self.png = png
        self.alt = alt
        self.width = width
        self.state = state

    def _repr_mimebundle_(self, **options: object) -> tuple[dict[str, str], dict[str, dict[str, str | int]]]:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        spoken = f"{self.alt} {self.state}".strip()
        return data, {"image/png": {"alt": spoken, "width": self.width}}

    def __repr__(self) -> str:
        return self.alt

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the PNG to a file."""
        with open(path, "wb") as handle:
            handle.write(self.png)


@contextmanager
def styled() -> Iterator[None]:
    """The course's style for what is drawn inside; the learner's own settings stay as they are."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(height: float = 4.6, width: float = WIDTH, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes (``subplots``), outside pyplot: so nothing shows twice or leaks."""
    # A strip of paper above the title: in a notebook the figure follows right upon a line of text.
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - ABOVE / height))
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**options)


def canvas(height: float, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure to draw on freely: ``height`` inches, no axes, coordinates within these limits."""
    figure, axes = new_figure(height)
    axes.set_axis_off()
    axes.set(xlim=xlim, ylim=ylim)
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, hatch: str = "", *,
        alpha: float = 0.35, edge: float = 0.8, outline: float = 0, **line: Any) -> None:  # fmt: skip
    """A rectangle: a pale, hatched face; ``edge`` and ``outline`` are the widths of lines in its colour and in ink."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor=COLOURS[colour], alpha=alpha, hatch=hatch,
                             edgecolor=COLOURS[colour], linewidth=edge))  # fmt: skip
    if outline:
        axes.add_patch(
            Rectangle((x, y), width, height, fill=False, edgecolor=COLOURS["ink"], linewidth=outline, **line)
        )


def label(axes: Axes, x: float, y: float, text: str, *, pad: float = 0.16, alpha: float = 0.9, **options: Any) -> Text:
    """Words on a patch of paper, to be read above hatches."""
    patch = {"boxstyle": f"round,pad={pad}", "fc": COLOURS["paper"], "ec": "none", "alpha": alpha}
    return axes.text(x, y, text, **{"va": "center", "fontsize": 10.5, "bbox": patch, **options})


def aside(axes: Axes, text: str, place: tuple[float, float], x: float = 6, y: float = 0, **options: Any) -> None:
    """Words ``x`` and ``y`` points beside a place; to its left where ``x`` is negative."""
    side = {"va": "center", "ha": "right" if x < 0 else "left"}
    axes.annotate(text, place, xytext=(x, y), textcoords="offset points", **{**side, **options})


def named_rows(axes: Axes, names: Sequence[str], places: Sequence[float] = (), *, below: float = 0.6) -> None:
    """Name what is drawn in rows from top to bottom; ``below`` is the room under the last one."""
    places = places or range(len(names))
    axes.set_yticks(places, names)
    axes.set_ylim(places[-1] + below, -0.6)
    axes.grid(axis="y", visible=False)


def legend(axes: Axes, *, ncols: int = 2, height: float = 0.985, **options: Any) -> None:
    """The legend in a row between title and axes."""
    axes.legend(loc="lower left", ncols=ncols, bbox_to_anchor=(-0.01, height), borderaxespad=0, **options)


#: A cell of a table: its text, colour and hatch.
Cell = tuple[str, str, str]


def table(
    title: str, top: Sequence[str], rows: Mapping[str, Sequence[Cell]], alt: str, caption: str, *,
    first: float, height: float = 0.44, more: float = 0.8, **options: Any,
) -> Picture:  # fmt: skip
    """A table as a figure.

    Args:
        title, alt, caption: as for :func:`picture`.
        top: what stands above the columns.
        rows: cells by the row's name.
        first: the first column's share of the width.
        height: inches a row.
        more: inches for all else.
        options: of the title.
    """
    figure, axes = canvas(height * (len(rows) + 1) + more, (0, 1), (len(rows) + 1, 0))
    wide = (1 - first) / len(top)
    heads, texts = [], []
    for column, head in enumerate(top):
        heads.append(axes.text(first + wide * (column + 0.5), 0.5, head, ha="center", va="center", fontweight="bold"))
    for number, (name, cells) in enumerate(rows.items(), 1):
        axes.text(0.005, number + 0.5, name, va="center", fontsize=11)
        for column, (text, colour, hatch) in enumerate(cells):
            left = first + wide * column
            axes.fill_between([left + 0.004, left + wide - 0.004], number + 0.06, number + 0.94, facecolor=COLOURS[colour],
                              alpha=0.30, hatch=hatch, edgecolor=COLOURS["paper"], linewidth=0)  # fmt: skip
            texts.append(label(
                axes, left + wide / 2, number + 0.5, text, ha="center", fontsize=11, pad=0.12, alpha=0.7 if hatch else 0
            ))  # fmt: skip
    axes.set_title(title, pad=8, **options)
    figure.draw_without_rendering()  # a long text gets smaller until it fits its cell
    room = axes.get_window_extent().width * (wide - 0.02)
    for group in (heads, *([text] for text in texts)):  # the heads all alike
        fits = min(room / max(drawn.get_window_extent().width, 1) for drawn in group)
        for drawn in group:
            drawn.set_fontsize(float(drawn.get_fontsize()) * min(1.0, fits))
    return picture(figure, alt, caption=caption)


def render(figure: Figure, *, scale: float = 2.0) -> bytes:
    """The figure as PNG, at ``scale`` times its nominal size (2 for sharp text on projectors)."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that the font lacks is no failure
        figure.savefig(buffer, format="png", dpi=figure.dpi * scale, metadata={"Software": None})
    return buffer.getvalue()


def picture(figure: Figure, alt: str, *, caption: str = "", state: str = "") -> Picture:
    """Finish a figure: caption below, PNG, text alternative; ``state`` as for :class:`Picture`."""
    if caption:
        figure.supxlabel(caption, fontsize=9, color=COLOURS["grey"], x=0.01, ha="left")
    width = int(figure.get_figwidth() * DPI * LARGER)
    return Picture(render(figure), alt, width, state)
