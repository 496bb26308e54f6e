"""What every experiment returns: a typed value that knows its machine and can be shown.

An experiment has no plot in it. The figures beside it, in ``figures.py`` or ``figures_*.py``, sign up here for
the result they draw (:func:`draws`); they are imported when a result is first plotted.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from ..engine import EngineFacts
from ..errors import LabError

if TYPE_CHECKING:
    from .style import Picture

_drawers: dict[tuple[type, str], Callable[..., Picture]] = {}

D = TypeVar("D", bound="Callable[..., Picture]")


def draws(kind: type, name: str = "plot") -> Callable[[D], D]:
    """Register a figure for a result type, drawn in the course's style; ``name`` tells several of one type apart."""

    def register(function: D) -> D:
        from .style import styled

        function = styled()(function)
        other = _drawers.setdefault((kind, name), function)
        if (other.__module__, other.__qualname__) != (function.__module__, function.__qualname__):
            raise TypeError(f"{kind.__name__} has two figures {name!r}: give one of them a name of its own.")
        _drawers[kind, name] = function
        return function

    return register


@functools.cache
def _sign_up(package: str) -> None:
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__) if package else ():
        if found.name.startswith("figures"):
            importlib.import_module(f"{package}.{found.name}")


#: What marks an evidence's table in a page; ``data/sanitize.cfg`` knows it as well.
EVIDENCE = 'class="labkit-evidence"'


class Evidence:
    """Raw values as a table. Its plain text only names them, so it is the same on every run and every engine; the
    table differs, and is not compared (``data/sanitize.cfg``)."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def __repr__(self) -> str:
        return f"Evidence: {', '.join(self.values)}"

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        left = "text-align:left;vertical-align:top"
        look = "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;margin:0;background:none"
        look += ";max-height:15em;overflow:auto"
        rows = ""
        for name, text in ((name.replace("_", " "), _plain(value)) for name, value in self.values.items()):
            # What is long scrolls, by the keyboard, too.
            reach = ' tabindex="0"' if text.count("\n") > 9 or len(text) > 400 else ""
            rows += f'<tr><th scope="row" style="{left}">{html.escape(name)}</th><td style="{left}">'
            rows += f'<pre{reach} style="{look}">{html.escape(text)}</pre></td></tr>'
        return {"text/plain": repr(self), "text/html": f"<table {EVIDENCE}>{rows}</table>"}


def _plain(value: Any) -> str:
    """A value as one reads it: text as it is, what has parts with one on a line, short ones side by side."""
    record = dataclasses.is_dataclass(value) or hasattr(value, "_asdict")  # a dataclass or a named tuple
    if record:
        names = getattr(value, "_fields", None) or [field.name for field in dataclasses.fields(value)]
        value = {name: getattr(value, name) for name in names}
    if isinstance(value, dict):
        rows = [(name, _plain(part)) for name, part in value.items()]
        lines = [
            f"{name}:\n{textwrap.indent(text, '  ')}" if "\n" in text else f"{name}: {text}" for name, text in rows
        ]
        return (" · " if record and not any("\n" in line for line in lines) else "\n").join(lines) or "–"
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in value]
        apart = "\n" if any(len(part) > 20 or ", " in part for part in parts) else ", "
        return ("\n\n" if any("\n" in part for part in parts) else apart).join(parts) or "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value).strip("\n") or "–"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class _Frozen:
    """What derives from it is a frozen dataclass, without the repr that would hold every measured number."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, repr=False)(cls)


class Result(_Frozen):
    """Base of all results: each class that derives from it is a frozen dataclass by that.

    ``engine`` is where it was measured. ``str(result)`` gives the facts: text that is the
    same on every run and every engine. Measured numbers belong into :meth:`plot`.
    """

    engine: EngineFacts

    def facts(self) -> str:
        """The facts of this run, one line or a few."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.facts()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.facts().splitlines()[0]}>"

    def plot(self, figure: str = "plot", **options: Any) -> Picture:
        """The figure of this result, as a picture with a text alternative.

        Raises:
            LabError: there's no figure of that name for this result.
        """
        for kind in type(self).__mro__:
            if kind is not Result and issubclass(kind, Result):
                _sign_up(kind.__module__.rpartition(".")[0])
            if (kind, figure) in _drawers:
                return _drawers[kind, figure](self, **options)
        known = sorted({name for (kind, name) in _drawers if isinstance(self, kind)})
        raise LabError(
            f"There is no figure {figure!r} for {type(self).__name__}.",
            next_step=f"Known figures: {', '.join(known) or 'none'}.",
        )

    def evidence(self, *names: str) -> Evidence:
        """What the facts were worked out from, to be read beside them: these fields or properties, or all fields.

        They have what was asked and what came back, or a kernel's file, word for word; a verdict is :meth:`facts`'.

        Raises:
            LabError: it has no such field.
        """
        fields = [field.name for field in dataclasses.fields(self) if field.name != "engine"]
        known = {*fields, *(name for name, _ in inspect.getmembers(type(self), lambda one: isinstance(one, property)))}
        if unknown := [name for name in names if name not in known]:
            raise LabError(f"This result has no {unknown[0]!r}.", next_step=f"It has: {', '.join(fields)}.")
        return Evidence({name: getattr(self, name) for name in names or fields})


def machine_line(engine: EngineFacts) -> str:
    """The machine's facts as one line under a figure."""
    where = "emulated machine" if engine.emulated else "machine"
    return (
        f"{engine.name} {engine.version} ({engine.kind}) · Linux {engine.kernel} · cgroup v{engine.cgroup_version} · "
        f"{where} with {engine.cpus} CPU, {engine.memory / 1024**3:.1f} GiB"
    )
