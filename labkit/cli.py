"""The ``labkit`` command."""

import argparse
import importlib
import io
import os
import sys
from types import ModuleType

from .commands.common import interruptible, say
from .errors import LabError
from .files import telling
from .paths import settle
from .saying import listening

# Command, module, one line of help. Each module has add_arguments(parser) and main(options) -> exit status.
COMMANDS = {
    "doctor": ("doctor", "check every precondition, each with its remedy"),
    "lab": ("serve", "make an engine ready and open JupyterLab on the labs"),
    "run": ("run", "re-execute labs and compare with their committed outputs"),
    "engine": ("engine", "build, start and stop labkit's own engine"),
    "bench": ("bench", "measure, with the machine's facts"),
    "clean": ("clean", "remove what labs left on an engine, and only that"),
    "progress": ("progress", "what this learner has done"),
    "class": ("classes", "for instructors: a live board of who is where and who is stuck"),
    "join": ("join", "join a class, see what is sent to it, or leave it"),
    "bundle": ("bundle", "the whole course in one file, for a room without a network"),
    "new": ("new", "for contributors: the skeleton of an experiment"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line; each command's arguments come from its own module."""
    top = argparse.ArgumentParser(prog="labkit", description="Container labs on a real, live engine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, words) in COMMANDS.items():
        sub = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        _module(module).add_arguments(sub)
    return top


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".commands.{name}", __package__)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 failed, 2 wrong arguments, 130 interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ shows the rest
    try:
        try:
            options = parser().parse_args(arguments)
            with interruptible(), telling(), listening(say):
                settle()
                return int(_module(COMMANDS[options.command][0]).main(options))
        finally:
            sys.stdout.flush()  # while it can still be told what went wrong
    except LabError as fault:
        print(f"labkit: {fault}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone (`labkit doctor | head`). Python's own last flush would fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("labkit: interrupted", file=sys.stderr)
        return 130
