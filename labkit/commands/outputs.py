"""A cell's outputs as words."""

import re
from collections.abc import Iterable
from typing import Any

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: Where the socket of labkit's own native engine can be reached from outside of its root.
_NATIVE = re.compile(r"unix://\S*/labkit-native-[^/\s]+(?=/run/docker\.sock)")


def plain(text: str) -> str:
    """Text without a terminal's colours."""
    return _COLOUR.sub("", text)


def inside(text: str) -> str:
    """Text with a native engine's endpoint as in the engine's own root: no place of this machine and of this run."""
    return _NATIVE.sub("unix://", text)


def as_text(outputs: Iterable[dict[str, Any]]) -> str:
    """What a reader of these outputs sees, as plain text; a picture is its text alternative."""
    parts = []
    for output in outputs:
        if "ename" in output:
            parts.append(f"{output['ename']}: {output['evalue']}")
        elif "text" in output:
            parts.append(output["text"])
        else:
            parts.append("".join(output.get("data", {}).get("text/plain", "")))
    return plain("\n".join(part.rstrip("\n") for part in parts))
