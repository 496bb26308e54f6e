"""A pytest plugin that writes one JSON line per notebook cell, for ``labkit run``."""

from __future__ import annotations

import json
import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def pytest_addoption(parser):
    parser.addoption("--labkit-report", help="file for one JSON line per cell")


def pytest_configure(config):
    path = config.getoption("--labkit-report")
    if path:
        config.pluginmanager.register(_Reporter(path), "labkit-reporter")


class _Reporter:
    def __init__(self, path: str):
        self._path = path

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.passed:
            return
        text = _COLOUR.sub("", report.longreprtext or "")
        what = ""
        if report.outcome != "passed":
            # nbval says which of the two it was; anything else (a time-out) counts as a failure.
            what = "drift" if "Cell outputs differ" in text else "raised" if text else report.outcome
        found = re.search(r"Cell (\d+)", report.nodeid)
        row = {
            "cell": int(found[1]) if found else -1,
            "outcome": report.outcome,
            "what": what,
            "detail": text.strip(),
            "seconds": round(report.duration, 2),
        }
        with open(self._path, "a") as handle:
            handle.write(json.dumps(row) + "\n")
