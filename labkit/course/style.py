"""One look for all figures: colours, sizes, and the picture that a cell shows."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

#: Okabe and Ito's palette, told apart with every common colour blindness
#: (https://jfly.uni-koeln.de/color/). Never the only cue: a marker, hatch or label goes with it.
COLOURS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermilion": "#D55E00",
    "purple": "#CC79A7", "sky": "#56B4E9", "yellow": "#F0E442", "ink": "#1F2933",
    "grey": "#5F6C7B", "faint": "#E4E7EB", "paper": "#FFFFFF",
}  # fmt: skip

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

#: Inches left free above a figure's title.
ABOVE = 0.12

STYLE: dict[Any, Any] = {
    "figure.facecolor": COLOURS["paper"],
    "axes.facecolor": COLOURS["paper"],
    "savefig.facecolor": COLOURS["paper"],
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 30,
    "axes.labelsize": 12,
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["grey"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 1.0,
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 2.2,
    "hatch.linewidth": 0.8,
}


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
    """A figure and its axes in the course's style, outside pyplot (so nothing shows twice or leaks).

    Args:
        height: inches.
        width: inches.
        options: for ``Figure.subplots``.
    """
    # A strip of paper above the title: in a notebook the figure follows right upon a line of text.
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - ABOVE / height))
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**options)


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
    width = int(figure.get_figwidth() * DPI)
    return Picture(render(figure), alt, width, state)
