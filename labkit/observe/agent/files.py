"""Small files, most of them the kernel's."""

import os


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.read().strip()


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def link(path: str) -> str:
    """Where a link leads; empty where that may not be seen."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def stat(pid: int | str) -> tuple[str, list[str]]:
    """A process's name, and what the kernel tells of it after that (proc(5), from the field ``state`` on)."""
    text = read(f"/proc/{pid}/stat")
    name, _, rest = text.rpartition(") ")
    return name.partition("(")[2], rest.split()
