"""``labkit run``: re-execute labs and compare them with their committed outputs."""

import argparse
import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..course import labs, resolve
from ..engine import EngineFacts
from ..errors import BadInput, LabError, NotPossibleHere
from ..paths import COURSE, INSTALLED
from ..workingcopy import home, notebook_file
from . import matrix
from .board import Board
from .common import add_engine, add_json, opened, say, sweep, tell
from .report import as_dict, as_html, as_text
from .rerun import LabReport, execute
from .save import save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labs", nargs="*", metavar="NN", help="numbers or names; default: all")
    parser.add_argument("--all", action="store_true", help="all labs (the default when none is named)")
    parser.add_argument("--save", action="store_true", help="execute and refresh the committed outputs instead")
    parser.add_argument(
        "--jobs", type=int, metavar="N",
        help="labs at a time; default: one a CPU, half as many on an emulated engine, one with --save",
    )  # fmt: skip
    parser.add_argument("--report", metavar="FILE.html", help="also write the report as one HTML file")
    parser.add_argument(
        "--matrix", nargs="?", const="all", metavar="ROWS",
        help="over several engines in turn: names between commas (20.10, 26.1, 28.5-overlay2, 28.5-containerd, host, "
        "embedded, podman), or all",
    )  # fmt: skip
    parser.add_argument("--table", metavar="FILE.md", help="also write the matrix's table and differences as Markdown")
    add_engine(parser)
    add_json(parser)


def chosen(names: list[str]) -> list[str]:
    """The labs meant, in the order given; all whose notebook is here when none is."""
    if names:
        return list(dict.fromkeys(resolve(name).lab for name in names))
    return [entry.lab for entry in labs() if notebook_file(entry.lab).exists()]


def at_a_time(asked: int | None, facts: EngineFacts, *, saves: bool) -> int:
    """How many labs run at once.

    Figures are measured while outputs are saved, so nothing else runs then. An emulated engine
    keeps a CPU busy by itself.

    Raises:
        BadInput: fewer than one, or more than one together with ``--save``.
    """
    if asked is not None and asked < 1:
        raise BadInput(f"--jobs {asked} runs nothing.", next_step="Give 1 or more, or leave it out.")
    if saves:
        if asked is not None and asked > 1:
            raise BadInput(
                "--save measures what the figures show, so one lab runs at a time.", next_step="Leave out --jobs."
            )
        return 1
    if asked is not None:
        return asked
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // 2 if facts.emulated else cpus)


def longest_first(names: list[str]) -> list[str]:
    """The order in which labs start when several run at once, so that no long one is left alone at the end."""
    minutes = {entry.lab: entry.minutes for entry in labs()}
    return sorted(names, key=lambda lab: -minutes[lab])


def main(options: argparse.Namespace) -> int:
    names = chosen([] if options.all else options.labs)
    if INSTALLED:
        say(f"Notebooks: {home() / 'notebooks'}")
        if options.save and home() == COURSE:
            raise NotPossibleHere(
                "--save would write into the installed labkit: there is no working copy in this folder.",
                next_step="Make one with labkit lab, or go to where yours is.",
            )
    if options.matrix:
        return matrix.main(options, names)
    if options.table:
        raise BadInput("--table is the matrix's.", next_step="Add --matrix; for one engine: --report FILE.html.")
    facts = make_ready(options.engine)
    jobs = at_a_time(options.jobs, facts, saves=options.save)
    count = f"{len(names)} lab{'s' * (len(names) > 1)}"
    say(f"{facts.name} {facts.version} ({facts.kind}) · {count}, {min(jobs, len(names))} at a time")
    began = time.monotonic()
    with Board(names) as board:
        reports, interrupted = run_labs(names, board, jobs=jobs, engine=options.engine, saves=options.save)
    not_run = [name for name in names if name not in {report.lab for report in reports}]
    found = as_dict(reports, facts, seconds=time.monotonic() - began, jobs=jobs, not_run=not_run)
    if options.report:
        Path(options.report).write_text(as_html(found), encoding="utf-8")
        say(f"Report: {options.report}")
    tell(options, found, as_text(found))
    return 130 if interrupted else 0 if found["ok"] else 1


def make_ready(engine: str | None) -> EngineFacts:
    """The engine's facts; the labs' images are on it afterwards, so that no two labs make the same one."""
    from .. import images

    with opened("run", engine) as lab:
        for image in images.RECIPES:
            lab.context.image(image)
        return lab.facts


def run_labs(
    names: list[str], board: Board, *, jobs: int, engine: str | None, saves: bool
) -> tuple[list[LabReport], bool]:
    """Run labs, ``jobs`` at a time; the reports come in the order of the course.

    An interrupt reaches every running lab, and waits until each
    has tidied up.

    Returns:
        A report for each lab that was begun, and whether there was an interrupt.
    """
    stopped = threading.Event()
    began = time.monotonic()
    tidying = threading.Lock()

    def one(lab: str) -> LabReport:
        start = time.monotonic() - began
        board.start(lab)
        work: Callable[..., LabReport] = save if saves else execute
        report = work(lab, engine=engine, watch=lambda cells: board.cells(lab, cells), stop=stopped.is_set)
        report.began = round(start, 1)
        with tidying:
            try:
                sweep(engine)  # a kernel that was not given the time to tidy up itself
            except LabError as fault:
                say(f"Not tidied up after {lab}: {fault}")
        board.end(report)
        return report

    pool = ThreadPoolExecutor(jobs)
    started: dict[str, Future[LabReport]] = {}
    interrupted = False
    try:
        for lab in longest_first(names) if jobs > 1 else names:
            started[lab] = pool.submit(one, lab)
        while wait(started.values(), timeout=1).not_done:
            pass  # a signal that comes just before a thread falls asleep does not wake it
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
    begun = {lab: started[lab] for lab in names if lab in started and not started[lab].cancelled()}
    faults = {lab: future.exception() for lab, future in begun.items()}
    return [_failed(lab, fault) if (fault := faults[lab]) else begun[lab].result() for lab in begun], interrupted


def _failed(lab: str, fault: BaseException) -> LabReport:
    """The report of a lab whose run itself went wrong: the others' count all the same."""
    detail = "".join(traceback.format_exception(fault))
    return LabReport(lab, "fail", problems=[{"cell": 0, "id": "", "what": "the run itself failed", "detail": detail}])
