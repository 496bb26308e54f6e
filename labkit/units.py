"""Sizes and times, in and out."""

from .errors import BadInput

MIB, GIB = 1024**2, 1024**3


def size(text: str | int) -> int:
    """Bytes from what Docker's flags take: ``"32m"``, ``"1g"``, ``"4096"`` or a number of bytes.

    Raises:
        BadInput: it isn't a size.
    """
    from docker.errors import DockerException
    from docker.utils import parse_bytes

    try:
        if isinstance(text, bool):
            raise ValueError(text)
        value = int(parse_bytes(text))
    except (DockerException, ValueError, TypeError, AttributeError) as fault:
        raise BadInput(f"{text!r} is not a size.", next_step="Write a number and a unit: 512k, 32m, 1g.") from fault
    if value <= 0:
        raise BadInput(f"{text!r} is not a size: it must be above zero.", next_step="Try 32m.")
    return value


def show_size(count: float) -> str:
    """Bytes as a person reads them, in powers of 1024: ``32 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if count == int(count) else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.0f} GiB" if count == int(count) else f"{count:.1f} GiB"


def show_time(seconds: float) -> str:
    """Seconds as a person reads them: ``0.3 ms``, ``25 ms``, ``1.4 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s"


def yes_no(value: bool) -> str:
    """``yes`` or ``no``, as facts are printed."""
    return "yes" if value else "no"


def at_least_one(**values: int) -> None:
    """Refuse counts below one, by their names.

    Raises:
        BadInput: one of them is no whole number, or less than one.
    """
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise BadInput(f"{name}={value!r} is no count.", next_step=f"Ask for at least {name}=1.")
