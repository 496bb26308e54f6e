"""The real ``docker`` command line, pointed at a lab's engine."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping

from ..errors import BadInput, NotPossibleHere
from .base import Engine
from .client import build_labels

# Subcommands that make something which can carry a label.
_CREATES = (("run",), ("create",), ("build",), ("container", "run"), ("container", "create"), ("image", "build"),
            ("buildx", "build"), ("network", "create"), ("volume", "create"))  # fmt: skip

# Options of docker itself that take their value as the next word.
_WITH_VALUE = (
    "-c",
    "--context",
    "--config",
    "-H",
    "--host",
    "-l",
    "--log-level",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
)


def with_labels(words: list[str], labels: Mapping[str, str]) -> list[str]:
    """The command with ``--label`` added right after a subcommand that creates something."""
    first = 1
    while first < len(words) and words[first].startswith("-"):
        first += 2 if words[first] in _WITH_VALUE else 1
    for subcommand in _CREATES:
        place = first + len(subcommand)
        if tuple(words[first:place]) == subcommand:
            wanted = build_labels(labels) if "build" in subcommand else labels
            extra = [word for key, value in wanted.items() for word in ("--label", f"{key}={value}")]
            return [*words[:place], *extra, *words[place:]]
    return words


def run_cli(
    engine: Engine, command: str, labels: Mapping[str, str], *, timeout: float = 120.0, check: bool = True
) -> str:
    """Run a ``docker …`` command against an engine; what it creates carries the labels.

    Args:
        engine: the engine it talks to, whatever this shell's own context says.
        command: as one would type it, without pipes or redirections.
        labels: added to what it creates.
        timeout: seconds.
        check: raise when it fails; otherwise its error text is part of what comes back.

    Returns:
        Its output, standard error mixed in, without the last line end.

    Raises:
        BadInput: not a ``docker`` command, or it failed.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    try:
        words = shlex.split(command)
    except ValueError as fault:
        raise BadInput(f"{command!r} can't be read: {fault}.", next_step="Close the quotation mark.") from fault
    if not words or words[0] != "docker":
        raise BadInput(f"{command!r} is not a docker command.", next_step="Begin it with docker, as in a terminal.")
    program = engine.cli_path()
    if program is None:
        raise NotPossibleHere(
            "This machine has no docker command line.",
            cause="labkit's own could not be fetched: labkit doctor says why.",
            next_step="Use lab.docker, which needs none, or install Docker's own.",
        )
    full = [program, *with_labels(words, labels)[1:]]
    try:
        done = subprocess.run(
            full, env=engine.process_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise BadInput(
            f"{command} did not end within {timeout:.0f} seconds.",
            next_step="Give it an end of its own, or run it with -d.",
        ) from late
    output = done.stdout.rstrip("\n")
    if done.returncode and check:
        raise BadInput(f"{command} ended with status {done.returncode}: {output}", engine=engine.endpoint)
    return output
