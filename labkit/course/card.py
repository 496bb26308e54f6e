"""The engine card: which engine this is, at a glance."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING

from ..engine import Engine, EngineFacts
from ..units import show_size

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

# A border that suits a light and a dark ground: VS Code names JupyterLab's colours, but not after its theme.
_STYLE = (
    "border:1px solid rgba(128,128,128,.4);border-left:4px solid #009E73;border-radius:6px;"
    "padding:10px 14px;margin:4px 0;max-width:960px;line-height:1.5"
)


def rows(facts: EngineFacts, found_by: str = "") -> list[tuple[str, str]]:
    """What an engine is, as (name, value); ``found_by`` says who chose it."""
    yours = "yours: the lab touches only what carries its label"
    machine = f"{facts.cpus} CPU, {show_size(facts.memory)}, {facts.architecture}"
    how = found_by if facts.owned or not found_by else f"found by {found_by}"
    runtime = f"{facts.runtime} for what the lab's own calls start: a smaller program than runc, which is the default"
    return [
        ("Engine", f"{facts.name} {facts.version}, API {facts.api_version}" + (", rootless" if facts.rootless else "")),
        ("Kind", f"{facts.kind}, {how}" if how else facts.kind),
        ("Endpoint", facts.endpoint),
        ("Its machine", machine + (", emulated in software: timings are slow" if facts.emulated else "")),
        ("System", f"{facts.operating_system}, Linux {facts.kernel}"),
        ("Control groups", f"version {facts.cgroup_version}, driver {facts.cgroup_driver}"),
        ("Image store", facts.image_store),
        *([("OCI runtime", runtime)] if facts.stock else []),
        ("Owner", "this lab: it may be stopped and broken" if facts.owned else yours),
    ]


def as_html(title: str, facts: EngineFacts, engine: Engine, notes: list[str]) -> str:
    """The card as HTML for a notebook."""
    cells = "".join(
        f'<div style="opacity:.7">{html.escape(name)}</div><div>{html.escape(value)}</div>'
        for name, value in rows(facts, engine.found_by)
    )
    extra = "".join(f'<div style="margin-top:6px">{html.escape(note)}</div>' for note in notes)
    return (
        f'<div style="{_STYLE}"><div><b>{html.escape(title)}</b> · '
        f'<span style="color:var(--jp-success-color0,#1b5e20);font-weight:600">● live</span></div>'
        f'<div style="display:grid;grid-template-columns:max-content 1fr;column-gap:18px">{cells}</div>{extra}</div>'
    )


def as_text(title: str, facts: EngineFacts, engine: Engine, notes: list[str]) -> str:
    """The card as text for a terminal."""
    body = [f"  {name:<15} {value}" for name, value in rows(facts, engine.found_by)]
    return "\n".join([f"{title} · live", *body, *notes])


class Status:
    """A line that says what is going on, and gives way to the card."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def say(self, line: str, done: float | None = None) -> None:
        """Show a line of progress in place of the one before, as a listener of :mod:`labkit.saying`."""
        if not in_notebook():
            print(line, file=sys.stderr)
            return
        self._show(f'<div style="opacity:.75">{html.escape(line)} …</div>', "starting")

    def _show(self, markup: str, plain: str) -> None:
        from IPython.display import display

        bundle = {"text/html": markup, "text/plain": plain}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def card(self, title: str, facts: EngineFacts, engine: Engine, notes: list[str]) -> None:
        """Show the card."""
        text = as_text(title, facts, engine, notes)
        if in_notebook():
            self._show(as_html(title, facts, engine, notes), text)
        else:
            print(text)


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    instance = shell.get_ipython() if shell else None
    return instance is not None and hasattr(instance, "kernel")
