"""What the site adds to Sphinx: notebooks are made readable, and each term of the glossary is a link where it is used."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from docutils import nodes
from readable import readable
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from labkit.course import glossary, resolve

#: Where a page says less than the glossary.
ALSO = {"Docker image": "image", "Docker container": "container", "Docker registry": "registry",
        "Docker manifest": "manifest", "OS-level virtualization": "OS-level isolation"}  # fmt: skip

#: States of a container: everyday words in all labs but the one that is about them.
EVERYDAY = {"created", "running", "exited", "stopped", "removed"}

#: No term is looked for in these: they are links already, or code, or headings.
LEFT_ALONE = (nodes.title, nodes.reference, addnodes.pending_xref, nodes.literal_block, nodes.raw)


def read_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """A notebook's text on its way into Sphinx; the file that readers can download stays the original."""
    if docname.startswith("notebooks/"):
        lab = resolve(docname.removeprefix("notebooks/"))
        source[0] = json.dumps(readable(json.loads(source[0]), lab, Path(app.srcdir, "figures")))


def spellings(lab: str = "") -> dict[str, str]:
    """How the glossary's terms may be written on a page, in lower case where the case is free → the term."""
    short = Counter(re.findall(r"\((\w+)\)", " ".join(entry.term for entry in glossary())))
    found = {}
    for entry in glossary():
        if entry.term in EVERYDAY and entry.lab != lab:
            continue
        name, _, brackets = entry.term.partition(" (")
        forms = [name, ALSO.get(entry.term, name)] + [word for word in [brackets.rstrip(")")] if short[word] == 1]
        for form in forms:
            found[form] = entry.term
            found[re.sub(r"y$", "ie", form) + "s"] = entry.term
    return found


class TermLinks(SphinxTransform):
    """The first time that a lab uses a term of the glossary, the word links there."""

    default_priority = 400

    def apply(self) -> None:
        if not self.env.docname.startswith("notebooks/"):
            return
        self.forms = spellings(self.env.docname.removeprefix("notebooks/"))
        self.forms |= {form[0].upper() + form[1:]: term for form, term in self.forms.items()}
        longest_first = sorted(self.forms, key=len, reverse=True)
        pattern = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, longest_first))})(?![\w/-]|\.\w)")
        linked: set[str] = set()
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.literal):
                self._literal(text.parent, linked)
            elif not self._left_alone(text):
                self._words(text, pattern, linked)

    def _left_alone(self, node: nodes.Node) -> bool:
        while node := node.parent:
            if isinstance(node, LEFT_ALONE) or node.get("nb_element") == "cell_code":
                return True
        return False

    def _literal(self, literal: nodes.literal, linked: set[str]) -> None:
        term = self.forms.get(literal.astext())
        if term and term not in linked and not self._left_alone(literal):
            linked.add(term)
            literal.replace_self(self._link(term, literal.deepcopy()))

    def _words(self, text: nodes.Text, pattern: re.Pattern[str], linked: set[str]) -> None:
        pieces: list[nodes.Node] = []
        for part, between in zip(parts := pattern.split(text), range(len(parts))):
            term = self.forms.get(part) if between % 2 else None
            if term and term not in linked:
                linked.add(term)
                pieces.append(self._link(term, nodes.inline("", part)))
            elif part:
                pieces.append(nodes.Text(part))
        if any(not isinstance(piece, nodes.Text) for piece in pieces):
            text.parent.replace(text, pieces)

    def _link(self, term: str, shown: nodes.Element) -> addnodes.pending_xref:
        return addnodes.pending_xref(
            "", shown, refdomain="std", reftype="term", reftarget=term, refdoc=self.env.docname, refwarn=True,
            refexplicit=True, classes=["course-term"],
        )  # fmt: skip


class EmptyHeads(SphinxTransform):
    """A corner of a table that says nothing is no heading: screen readers would announce it to no purpose."""

    default_priority = 400

    def apply(self) -> None:
        for head in self.document.findall(nodes.thead):
            for entry in [entry for entry in head.findall(nodes.entry) if not entry.astext()]:
                entry.replace_self(nodes.raw("", "<td></td>", format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_notebook)
    app.add_transform(TermLinks)
    app.add_transform(EmptyHeads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
