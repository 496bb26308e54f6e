"""The real ``docker`` command line, pointed at a lab's engine."""

import codecs
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import BadInput, LabError, NotPossibleHere
from .base import Engine
from .client import build_labels
from .faults import explained, registry_refusal
from .session import Session

#: Subcommands that make something which can carry a label.
CREATES = (("run",), ("create",), ("build",), ("container", "run"), ("container", "create"), ("image", "build"),
            ("buildx", "build"), ("network", "create"), ("volume", "create"))  # fmt: skip

# Options of docker itself that take their value as the next word.
_WITH_VALUE = "-c --context --config -H --host -l --log-level --tlscacert --tlscert --tlskey".split()

#: What a shell takes apart or leaves out before it looks at words: quoted texts, escapes, comments.
_PIECES = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?:(?<=\s)|^)\#[^\n]*|\$SESSION\b|\$\{SESSION\}""", re.S | re.M)

#: What only a shell does.
_SHELL = ("|", "||", "&&", ";", "&", ">", ">>", "<", "2>&1", "2>")


def with_labels(words: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """The command with ``--label`` added right after a subcommand that creates something."""
    first = 1
    while first < len(words) and words[first].startswith("-"):
        first += 2 if words[first] in _WITH_VALUE else 1
    for subcommand in CREATES:
        place = first + len(subcommand)
        if tuple(words[first:place]) == subcommand:
            wanted = build_labels(labels) if "build" in subcommand else labels
            extra = [word for key, value in wanted.items() for word in ("--label", f"{key}={value}")]
            return [*words[:place], *extra, *words[place:]]
    return list(words)


def named_volumes(words: Sequence[str]) -> Iterator[str]:
    """The volumes that a command's ``-v name:/x`` and ``--mount source=name,…`` name."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if re.fullmatch(r"--volume|-[A-Za-z]*v", option):
            yield from re.findall(r"^(\w[\w.-]+):/", value or following)
        elif option == "--mount" and "volume-driver" not in (value or following):
            fields = dict(part.partition("=")[::2] for part in (value or following).split(","))
            if fields.get("type", "volume") == "volume":
                yield from filter(None, [fields.get("source") or fields.get("src")])


def read_words(command: str) -> list[str]:
    """The words of a ``docker …`` command, as a shell would read them.

    Raises:
        BadInput: a quotation mark that isn't closed, or another command.
    """
    try:
        words = shlex.split(command)
    except ValueError as fault:
        raise BadInput(f"{command!r} can't be read: {fault}.", next_step="Close the quotation mark.") from fault
    if words[:1] != ["docker"]:
        raise BadInput(f"{command!r} is not a docker command.", next_step="Begin it with docker, as in a terminal.")
    return words


def commands(text: str, session: str) -> Iterator[tuple[int, str]]:
    """Each command of a cell and the number of the line that it begins in.

    As a shell reads them: a command ends with its line, unless a quotation mark is open or a backslash stands last; a
    comment is no command; ``$SESSION`` is the session's identifier, except between single quotation marks.

    Args:
        text: the cell.
        session: the identifier, which the names of what a session makes end in.
    """

    def read(piece: re.Match[str]) -> str:
        found = piece[0]
        if found.startswith("#"):
            return ""
        return found if found[0] in "'\\" else re.sub(r"\$SESSION\b|\$\{SESSION\}", session, found)

    held, began = "", 0
    lines = _PIECES.sub(read, text).split("\n")
    for number, line in enumerate(lines, 1):
        began, held = (began, f"{held}\n{line}") if held else (number, line)
        try:
            words = shlex.split(held.replace("\\\n", ""))
        except ValueError:  # open: the next line goes on, if there is one
            if number < len(lines):
                continue
            words = [held]
        if words:
            yield began, held.replace("\\\n", "").strip()
        held = ""


def program(engine: Engine) -> str:
    """The path of the ``docker`` command line for an engine.

    Raises:
        NotPossibleHere: this machine has none, and none can be fetched.
    """
    found = engine.cli_path()
    if found is None:
        raise NotPossibleHere(
            "This machine has no docker command line for this engine.",
            cause="labkit doctor says why.",
            next_step="Use lab.docker, which needs none, or install Docker's own.",
        )
    return found


def command_line(session: Session, words: Sequence[str]) -> list[str]:
    """What to start for a ``docker …`` command of a session: what it creates is the session's, and goes with it.

    A volume that it names is made now, with the session's labels; one that exists stays as it is, and whose it is.

    Raises:
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    docker = program(session.engine)
    session.typed.append((time.monotonic(), shlex.join(words)))
    labelled = with_labels(words, session.docker.lab_labels)
    if labelled != list(words):
        session.show_life()
        for name in named_volumes(words):
            session.docker.api.create_volume(name)
    return [docker, *labelled[1:]]


def run(
    session: Session,
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    stderr: int = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run a ``docker …`` command against a session's engine, whatever this shell's own context says.

    Args:
        words: as :func:`read_words` gives them.
        environment: instead of the engine's own.
        timeout: seconds.
        stderr: by default mixed into the output.

    Raises:
        BadInput: it did not end in time.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    with explained(session.engine.endpoint):
        full = command_line(session, words)
    try:
        return subprocess.run(
            full, env=environment or session.engine.process_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", errors="replace", timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise _late(words, timeout) from late


def stream(session: Session, command: str, write: Callable[[str], object], *, timeout: float = 600.0) -> int:
    """Run a ``docker …`` command as :func:`run` does, and hand on what it says when it says it.

    Args:
        session: whose engine it talks to.
        command: as one would type it, without pipes or redirections.
        write: gets the output, standard error mixed in, in pieces.
        timeout: seconds.

    Returns:
        Its exit status.

    Raises:
        BadInput: not a plain ``docker`` command, or it did not end in time.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    words = read_words(command)
    for word in words:
        if word in _SHELL:
            raise BadInput(
                f"{command} needs a shell for its {word}, and here is none.",
                next_step="lab.terminal() opens one; or leave that part out.",
            )
    with explained(session.engine.endpoint):
        full = command_line(session, words)
    deadline = time.monotonic() + timeout
    with subprocess.Popen(
        full, env=session.engine.process_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        clock = threading.Timer(timeout, process.kill)
        clock.start()
        try:
            text = codecs.getincrementaldecoder("utf-8")("replace")
            while piece := os.read(process.stdout.fileno(), 1 << 16):  # type: ignore[union-attr]
                write(text.decode(piece))
        except BaseException:  # an interrupt: what was typed ends, too
            process.terminate()
            raise
        finally:
            clock.cancel()
    if process.returncode < 0 and time.monotonic() >= deadline:
        raise _late(words, timeout)
    return process.returncode


def _late(words: Sequence[str], timeout: float) -> BadInput:
    return BadInput(
        f"{shlex.join(words)} did not end within {timeout:.0f} seconds.",
        next_step="Give it an end of its own, or run it with -d.",
    )


def run_cli(session: Session, command: str, *, timeout: float = 120.0, check: bool = True) -> str:
    """Run a ``docker …`` command; what it creates carries the session's labels.

    Args:
        session: whose engine it talks to.
        command: as one would type it, without pipes or redirections.
        timeout: seconds.
        check: raise when it fails; otherwise its error text is part of what comes back.

    Returns:
        Its output, standard error mixed in, without the last line end.

    Raises:
        BadInput: not a ``docker`` command, or it failed.
        NotPossibleHere: this machine has no ``docker`` command line.
    """
    done = run(session, read_words(command), timeout=timeout)
    output = done.stdout.rstrip("\n")
    if not done.returncode:
        return output
    endpoint = session.engine.endpoint
    told = registry_refusal(output, endpoint) or LabError("")
    if check:
        what = f"{command} ended with status {done.returncode}: {output}"
        raise BadInput(what, cause=told.cause, next_step=told.next_step, engine=endpoint)
    return "\n".join(filter(None, [output, told.cause, told.next_step]))
