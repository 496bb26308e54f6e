"""Figures of rights: capabilities one by one, and what each flag takes away."""

from ...course.result import draws, machine_line
from ...course.style import Cell, Picture, table
from .flags import ATTEMPTS, OneByOne, Tried
from .given import Given

_YES, _NO = ("yes", "sky", "//"), ("–", "faint", "")


@draws(OneByOne)
def plot_capabilities(run: OneByOne) -> Picture:
    """Attempts as rows, capabilities as columns: what one of them alone makes possible."""
    columns = [run.may(place) for place in range(len(run.flags))]
    felt = [key for key in ATTEMPTS if any(key in keys for keys in columns)]
    rows: dict[str, list[Cell]] = {ATTEMPTS[key]: [_YES if key in keys else _NO for keys in columns] for key in felt}
    heads = [flag.head for flag in run.flags]
    alt = (
        "Table: attempts as rows, capabilities as columns. Along a diagonal, each capability alone makes one thing "
        "possible, SETUID and SYS_NICE two; writing to the own file system needs none."
    )
    never = [ATTEMPTS[key] for key in ATTEMPTS if key not in felt]
    caption = f"with none of these: {', '.join(never)}\n{machine_line(run.engine)}"
    return table("What root may do with one capability alone", heads, rows, alt, caption, first=0.27)


@draws(Tried)
def plot_flags(run: Tried) -> Picture:
    """Attempts as rows, flags as columns: yes, or the kernel's reason."""
    rows: dict[str, list[Cell]] = {}
    for key, words in ATTEMPTS.items():
        cells = []
        for ended in run.ended:
            how = ended[key]
            changed = (how == "yes") != (run.ended[0][key] == "yes")
            colour = ("green" if changed else "sky") if how == "yes" else ("vermilion" if changed else "faint")
            cells.append((how, colour, "//" if how == "yes" else ("xx" if changed else "")))
        rows[words] = cells
    alt = (
        f"Table: what a program tries as rows, {len(run.flags)} sets of flags as columns. A cell says yes or names the error; hatched with "
        "crosses is what a flag takes away."
    )
    caption = f"crosses: taken away by the flag · green: given by it\n{machine_line(run.engine)}"
    return table("One program tries everything", [flag.head for flag in run.flags], rows, alt, caption, first=0.3)


@draws(Given)
def plot_given(run: Given) -> Picture:
    """The same table, without a flag and with ``--privileged``."""
    return plot_flags(run.tried)
