"""A pytest plugin that writes one JSON line per notebook cell, for ``labkit run``."""

from __future__ import annotations

import json

import pytest

from .outputs import as_text, plain


def pytest_addoption(parser):
    parser.addoption("--labkit-report", help="file for one JSON line per cell")


def pytest_configure(config):
    path = config.getoption("--labkit-report")
    if path:
        config.pluginmanager.register(_Reporter(path), "labkit-reporter")


class _Reporter:
    def __init__(self, path: str):
        self._path = path

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        report = outcome.get_result()
        if call.when == "call" or not report.passed:
            with open(self._path, "a") as handle:
                handle.write(json.dumps(row(item, report)) + "\n")


def row(item, report) -> dict:
    """What is told of one cell: its place, what became of it, and expected and got in words."""
    detail = plain(report.longreprtext or "").strip()
    cell = getattr(item, "cell", None)
    found = {
        "cell": getattr(item, "cell_num", -1) + 1,
        "id": cell.get("id", "") if cell else "",
        "outcome": report.outcome,
        "what": "",
        "seconds": round(report.duration, 2),
    }
    if report.outcome == "passed" or cell is None:
        return found | ({} if report.outcome == "passed" else {"what": "raised", "detail": detail})
    # nbval says which of the two it was; anything else (a time-out, say) counts as a failure.
    drift = "Cell outputs differ" in detail
    return found | {
        "what": "drift" if drift else "raised" if detail else report.outcome,
        "source": cell.source,
        "expected": as_text(cell.get("outputs", [])),
        "got": as_text(getattr(item, "test_outputs", None) or []),
        "detail": detail,
    }
