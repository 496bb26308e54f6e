"""A table that one searches: the glossary, and the map from the notes to the evidence."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from . import LabEntry, Statement, Term
from .notebook import in_vscode
from .widget_base import LabWidget, words

#: Where no kernel runs (a page, a notebook that is only read): the rows that have what one types. Pages that take
#: scripts out show the whole table.
_FILTER = (
    "const wanted = this.value.toLowerCase(); for (const row of this.nextElementSibling.rows) "
    "row.hidden = !row.textContent.toLowerCase().includes(wanted)"
)


class TableWidget(LabWidget):
    """Type a word, see every row that has it, each with a link to the lab that shows it.

    Args:
        title: above it.
        summary: a line below the title, also where no widget runs; may be empty.
        example: what one might type.
        rows: term or statement, what is said of it, the link, the link's words.
    """

    def __init__(self, title: str, summary: str, example: str, rows: Sequence[tuple[str, str, str, str]]):
        self._rows = rows
        self.search = w.Text(placeholder=f"Type a word, such as {example}", layout=w.Layout(width="320px"))
        self.found = w.HTML()
        self.search.observe(lambda _: self._show(), names="value")
        head = [w.HTML(words(summary, "note"))] if summary else []
        plain = [f"{title}, {len(rows)} rows", *filter(None, [summary]), *(f"{a}: {b} ({d})" for a, b, _, d in rows)]
        super().__init__(title, [*head, self.search, self.found], "\n".join(plain))
        self._show()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        # Without links: they lead to notebooks, and a page has none.
        body = "".join(
            f'<tr><td style="text-align:left"><b>{html.escape(name)}</b></td>'
            f'<td style="text-align:left">{html.escape(text)} ({html.escape(label)})</td></tr>'
            for name, text, _, label in self._rows
        )
        search = f'<input type="search" placeholder="{self.search.placeholder}" oninput="{html.escape(_FILTER)}">'
        return {**super()._repr_mimebundle_(**options), "text/html": f"{search}<table>{body}</table>"}

    def _show(self) -> None:
        wanted = self.search.value.strip().lower()
        hits = [row for row in self._rows if wanted in " ".join(row).lower()]
        rows = "".join(
            f'<tr><td style="text-align:left;vertical-align:top;min-width:150px"><b>{html.escape(name)}</b></td>'
            f'<td style="text-align:left">{html.escape(text)} <a href="{link}">{html.escape(label)}</a></td></tr>'
            for name, text, link, label in hits
        )
        body = f"<table>{rows}</table>" if hits else words(f"No row has {wanted!r} in it.", "note")
        self.found.value = f'<div style="max-height:320px;overflow:auto">{body}</div>'


def glossary(terms: Sequence[Term], labs: Sequence[LabEntry]) -> TableWidget:
    """Every term of the course, with the lab that shows it."""
    titles = {entry.lab: f"{entry.number} · {entry.title}" for entry in labs}
    rows = [(entry.term, entry.meaning, f"{entry.lab}.ipynb", titles[entry.lab]) for entry in terms]
    return TableWidget("Glossary", "", "layer", rows)


def notes(statements: Sequence[Statement], summary: str) -> TableWidget:
    """Every statement of the notes, with how the course shows it and a link to the cell that does.

    In VS Code to the lab: it does not find a notebook by a link that names a cell.
    """
    to_cells = not in_vscode()

    def place(one: Statement) -> str:
        return f"{one.lab}.ipynb" + (f"#cell-id={one.cell}" if one.cell and to_cells else "")

    rows = [(one.says, one.told(), place(one), f"lab {one.lab[:2]}") for one in statements]
    return TableWidget("The notes and their evidence", summary, "corrected", rows)
