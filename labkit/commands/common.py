"""What several commands share."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..lab import Lab

ENGINE_HELP = "host, embedded or an address; default: $LABKIT_ENGINE, or the first that works"


class Ended(KeyboardInterrupt):
    """TERM or HUP: somebody else ends this program, as ``timeout`` does, or the terminal is closed."""


@contextmanager
def interruptible() -> Iterator[None]:
    """For the length of the block, TERM and HUP end what runs as Ctrl-C does: everything is tidied up.

    What is ignored from the start, as HUP under ``nohup``, stays ignored; INT, see :func:`heed_interrupts`.
    """
    heed_interrupts()

    def end(number: int, frame: object) -> None:
        raise Ended

    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGHUP)}
    for sign in before:
        if before[sign] != signal.SIG_IGN:
            signal.signal(sign, end)
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def heed_interrupts() -> None:
    """Let SIGINT interrupt this process, if it leads a session of its own, as those do that :func:`interrupt` is for.

    A shell has its background jobs ignore the signal, lest Ctrl-C at their common terminal end them, and what they
    start inherits that. No terminal's Ctrl-C reaches another session: who sends it there means it.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and os.getsid(0) == os.getpid():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt(process: subprocess.Popen[Any], patience: float) -> None:
    """Interrupt a program in a session of its own, and wait until it has tidied up; killed after ``patience`` seconds."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The ``--engine`` option."""
    parser.add_argument("--engine", metavar="KIND", help=ENGINE_HELP)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The ``--json`` option."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def tell(options: argparse.Namespace, data: object, text: str) -> None:
    """What a command found: one JSON document with ``--json``, else text."""
    print(json.dumps(data, indent=1, default=str) if options.json else text)


def say(line: str, done: float | None = None) -> None:
    """Progress for a person: on standard error, so that ``--json`` output stays clean."""
    print(line, file=sys.stderr, flush=True)


def sweep(choice: str | None) -> None:
    """Remove what dead sessions left on the engines that are there."""
    from .. import engine as engines

    for found in engines.present(choice):
        with found, closing(engines.Session(found, "sweep")) as session:
            session.sweep()


@contextmanager
def opened(name: str, engine: str | None) -> Iterator[Lab]:
    """A lab's session without a notebook: closed, and its things removed, at the end."""
    from .. import engine as engines
    from .. import images
    from ..lab import Lab

    with Lab(name, engines.find(engine, images=images.archives)) as lab:
        yield lab
