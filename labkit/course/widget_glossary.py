"""The searchable glossary."""

from __future__ import annotations

import html

import ipywidgets as w

from . import LabEntry, Term
from .widget_base import LabWidget, words


class GlossaryWidget(LabWidget):
    """Type a word, see every term that matches, with a link to the lab that shows it."""

    def __init__(self, terms: list[Term], labs: list[LabEntry]):
        self._terms = terms
        self._titles = {entry.lab: f"{entry.number} · {entry.title}" for entry in labs}
        self.search = w.Text(placeholder="Type a word, such as layer", layout=w.Layout(width="320px"))
        self.found = w.HTML()
        self.search.observe(lambda _: self._show(), names="value")
        plain = "\n".join(f"{entry.term}: {entry.meaning}" for entry in terms)
        super().__init__(
            [w.HTML(words("Glossary", "title")), self.search, self.found], f"Glossary, {len(terms)} terms\n{plain}"
        )
        self._show()

    def _show(self) -> None:
        wanted = self.search.value.strip().lower()
        hits = [entry for entry in self._terms if wanted in (entry.term + " " + entry.meaning).lower()]
        rows = "".join(
            f'<tr><td style="text-align:left;white-space:nowrap;vertical-align:top">'
            f"<b>{html.escape(entry.term)}</b></td>"
            f'<td style="text-align:left">{html.escape(entry.meaning)} '
            f'<a href="{entry.lab}.ipynb">{html.escape(self._titles[entry.lab])}</a></td></tr>'
            for entry in hits
        )
        body = f"<table>{rows}</table>" if hits else words(f"No term has {wanted!r} in it.", "note")
        self.found.value = f'<div style="max-height:320px;overflow:auto">{body}</div>'
