"""A pytest plugin that writes one JSON line per notebook cell, for ``labkit run``."""

import json
from collections.abc import Generator

import pytest

from .common import heed_interrupts
from .outputs import as_text, plain
from .rerun import Cell


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--labkit-report", help="file for one JSON line per cell")


def pytest_configure(config: pytest.Config) -> None:
    heed_interrupts()
    path = config.getoption("--labkit-report")
    if path:
        config.pluginmanager.register(_Reporter(path), "labkit-reporter")


class _Reporter:
    def __init__(self, path: str):
        self._path = path

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call" or not report.passed:
            with open(self._path, "a") as handle:
                handle.write(json.dumps(row(item, report)) + "\n")
        return report


def row(item: pytest.Item, report: pytest.TestReport) -> Cell:
    """What is told of one cell: its place, what became of it, and expected and got in words."""
    detail = plain(report.longreprtext or "").strip()
    cell = getattr(item, "cell", None)
    found: Cell = {
        "cell": getattr(item, "cell_num", -1) + 1,
        "id": cell.get("id", "") if cell else "",
        "outcome": report.outcome,
        "what": "",
        "seconds": round(report.duration, 2),
    }
    if report.outcome == "passed":
        return found
    if cell is None:
        return {**found, "what": "raised", "detail": detail}
    # nbval says which of the two it was; anything else (a time-out, say) counts as a failure.
    drift = "Cell outputs differ" in detail
    return {
        **found,
        "what": "drift" if drift else "raised" if detail else report.outcome,
        "source": cell.source,
        "expected": as_text(cell.get("outputs", [])),
        "got": as_text(getattr(item, "test_outputs", None) or []),
        "detail": detail,
    }
