"""``labkit run --matrix``: the labs over several engines, each in its turn; one table, engine by lab."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadInput, LabError, NoEngine, NotPossibleHere
from .common import interrupt, say, tell
from .report import Report
from .table import Entry, as_markdown, as_text

#: Seconds that a row's last labs get to tidy up after an interrupt.
PATIENCE = 60
#: Labs that need nothing beside the engine and its images.
CONTENT = ("00", "01", "03", "07", "08")


@dataclass(frozen=True)
class Row:
    """One engine of the matrix: its name, and what it is made of or where it is found.

    ``kind`` is ``native``, ``embedded``, ``host``, ``podman`` or ``address``; ``suite`` and ``store`` are the packages'.
    """

    name: str
    kind: str
    suite: str = ""
    store: str = ""


#: In the order of the table. Where labkit isn't root, the embedded engine of the same packages takes a native Docker
#: Engine's place; Podman is the one that answers here, else a native one.
ROWS = (
    Row("20.10", "native", "bookworm", "overlay2"),
    Row("26.1", "native", "trixie", "overlay2"),
    Row("28.5-overlay2", "native", "forky", "overlay2"),
    Row("28.5-containerd", "native", "forky", "containerd"),
    Row("host", "host"),
    Row("embedded", "embedded", "forky"),
    Row("podman", "podman", "forky"),
)


@dataclass
class Ready:
    """An engine that labs can run on: the ``--engine`` that names it, what its run is prefixed with, what it adds
    to the environment, and how it came to be, in a word."""

    engine: str
    how: str
    prefix: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def rows(names: str) -> list[Row]:
    """The rows meant: ``all``, or names and addresses of engines between commas.

    Raises:
        BadInput: there's no such row.
    """
    if names == "all":
        return list(ROWS)
    known = {row.name: row for row in ROWS}
    chosen = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in known and "://" not in name:
            raise BadInput(
                f"The matrix has no row {name!r}.", next_step=f"Its rows: {', '.join(known)}; or an address."
            )
        chosen.append(known.get(name) or Row(name, "address"))
    return list(dict.fromkeys(chosen))


def main(options: argparse.Namespace, labs: Sequence[str]) -> int:
    """Run the labs on each row's engine; the exit status is 0 when every row that can run here passed."""
    if options.save or options.engine or options.report:
        raise BadInput(
            "--matrix runs on engines of its own choice, and compares.",
            next_step="Leave out --save, --engine and --report; --table FILE writes the table.",
        )
    found: list[Entry] = []
    interrupted = False
    try:
        for row in rows(options.matrix):
            say(f"— {row.name}")
            found.append(run(row, labs, jobs=options.jobs))
            report = found[-1]["report"]
            interrupted = report is not None and report.get("interrupted", False)
            if interrupted:
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:  # hours of work stand in it, whatever became of the last row
        if options.table:
            Path(options.table).write_text(as_markdown(found, labs), encoding="utf-8")
            say(f"Table: {options.table}")
        tell(options, found, as_text(found, labs))
    return 130 if interrupted else int(any(entry["failed"] for entry in found))


def run(row: Row, labs: Sequence[str], *, jobs: int | None = None) -> Entry:
    """Run the labs on one row's engine."""
    entry: Entry = {"row": row.name, "how": "", "report": None, "why": "", "failed": False}
    try:
        with _ready(row, labs) as ready:
            entry["how"] = ready.how
            report = entry["report"] = _run(ready, labs, jobs)
            entry["failed"] = not report["ok"]
    except LabError as fault:
        say(f"  {fault}")
        absent = isinstance(fault, NotPossibleHere) or (row.kind == "host" and isinstance(fault, NoEngine))
        entry["why"], entry["failed"] = str(fault), entry["failed"] or not absent
    return entry


@contextlib.contextmanager
def _ready(row: Row, labs: Sequence[str]) -> Iterator[Ready]:
    """A row's engine, live for the length of the block."""
    from .. import engine as engines
    from .. import images
    from ..engine import embedded, native
    from ..engine.embedded import packages

    # Everything that is fetched is fetched here: a native engine's network leads nowhere.
    images.archives()
    variant = packages.Variant(row.suite, row.store)
    address = "" if row.kind in ("native", "embedded") else _podman() if row.kind == "podman" else row.name
    if address:
        with engines.find(address) as engine:
            engine.cli_path()
        yield Ready(address, "found here")
        return
    with contextlib.ExitStack() as stack:
        if row.kind != "embedded":
            program = native.PODMAN if row.kind == "podman" else native.DOCKER
            try:
                engine = stack.enter_context(native.start(variant, program))
            except NotPossibleHere as reason:
                if row.kind == "podman":
                    raise
                say(f"  {reason.what} {reason.cause} Taking the embedded one.")
            else:
                engine.cli_path()
                if any(lab[:2] not in CONTENT for lab in labs):
                    _prepare()
                yield Ready(engine.endpoint, "native", engine.within())
                return
    embedded.build(images=images.archives, variant=variant)
    yield Ready("embedded", "embedded", environment={"LABKIT_SUITE": row.suite, "LABKIT_STORE": row.store})


def _prepare() -> None:
    """Make what labs make or fetch themselves elsewhere, but can't where no mirror is reached: the engine that they may
    break, and the programs that they put into containers."""
    from .. import debian, images
    from ..engine import embedded
    from ..labs.isolation_models.isolation_disk import IOPING
    from ..observe import workshop

    try:
        for make in workshop.all_tools(debian.architecture(), ioping=IOPING):
            make()
        embedded.build(images=images.archives)
    except LabError as reason:
        say(f"  {reason}")  # the labs that need it will say so in their cells


def _podman() -> str:
    """The address of a Podman, version 5 or newer, that answers here; empty where none does."""
    from .. import engine as engines
    from ..engine.host import candidates

    for candidate in candidates():
        if "Podman" not in candidate.found_by:
            continue
        with (
            contextlib.suppress(LabError),
            engines.find(candidate.endpoint) as engine,
            contextlib.closing(engines.Session(engine, "matrix")) as session,
        ):
            version = engines.read_facts(session.docker, engine).version
            if int(version.split(".")[0]) >= 5:
                return candidate.endpoint
            say(f"  The Podman at {candidate.endpoint} is {version}: older than 5.")
    return ""


def _run(ready: Ready, labs: Sequence[str], jobs: int | None) -> Report:
    """``labkit run`` as a process of its own: its report. An interrupt is passed on, and waited for."""
    command = [*ready.prefix, sys.executable, "-m", "labkit", "run", *labs, "--json", "--engine", ready.engine]
    command += ["--jobs", str(jobs)] if jobs else []
    interrupted = False
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **ready.environment}, stdin=subprocess.DEVNULL, stdout=output,
            start_new_session=True,  # an interrupt at the terminal reaches it once, from here
        )  # fmt: skip
        try:
            process.wait()
        except KeyboardInterrupt:
            interrupted = True
            interrupt(process, PATIENCE)
        output.seek(0)
        text = output.read()
    try:
        found: Report = json.loads(text)
        return {**found, "interrupted": True} if interrupted else found
    except ValueError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise LabError(
            f"The labs did not run: labkit run ended with status {process.returncode}.",
            cause="What it said stands above.",
            next_step=f"Try one alone: labkit run 00 --engine {ready.engine}",
        ) from None
