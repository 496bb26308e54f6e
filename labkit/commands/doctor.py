"""``labkit doctor``: every precondition, checked by doing it."""

import argparse
import dataclasses
import importlib.metadata
import shlex
import shutil
from typing import Any

from packaging.requirements import Requirement

from ..errors import LabError
from ..files import telling
from ..labs.start_here.preflight import Check, preflight
from .common import add_engine, add_json, opened, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine(parser)
    add_json(parser)
    parser.add_argument("--fix", action="store_true", help="make and load the lab's images where they are missing")


def main(options: argparse.Namespace) -> int:
    report = examine(options.engine, fix=options.fix)
    tell(options, report, _as_text(report))
    return 0 if report["ok"] else 1


def examine(engine: str | None = None, *, fix: bool = False) -> dict[str, Any]:
    """All checks as plain data: ``ok``, ``engine`` (its facts, or None) and ``checks``.

    ``ok`` is True when a live engine did a full round trip and nothing that is needed is missing.
    """
    checks = [_packages(), _jupyterlab()]
    facts = None
    try:
        with telling(), opened("doctor", engine) as lab:
            found = preflight(lab.context, fix=fix or lab.facts.owned)
            facts = dataclasses.asdict(lab.facts)
            checks += found.checks
    except LabError as fault:
        checks.append(Check("a container engine answers", False, _where(fault), fault.next_step))
    if facts is None or facts["kind"] == "host":
        checks += _embedded()
    ok = facts is not None and all(check.ok for check in checks if check.needed)
    return {"ok": ok, "engine": facts, "checks": [dataclasses.asdict(check) for check in checks]}


def _where(fault: LabError) -> str:
    where = f"{fault.engine}: " if fault.engine else ""
    return f"{where}{fault.what} {fault.cause}".strip()


def _packages() -> Check:
    missing = {}
    for wanted in map(Requirement, importlib.metadata.requires("labkit") or []):
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        here = _version(wanted.name)
        if here is None or not wanted.specifier.contains(here, prereleases=True):
            missing[str(wanted)] = f"{wanted} (here: {here})" if here else str(wanted)
    words = f"missing: {', '.join(missing.values())}." if missing else ""
    detail = words or f"docker {_version('docker')} and the rest"
    remedy = f"Install them: pip install {shlex.join(missing)}"
    return Check("the Python packages are installed", not missing, detail, remedy)


def _version(name: str) -> str | None:
    """An installed package's version."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _jupyterlab() -> Check:
    path, version = shutil.which("jupyter-lab"), _version("jupyterlab")
    return Check("JupyterLab is installed", version is not None, f"version {version}" if version else "not found.",
                 "Install it: pip install jupyterlab", needed=path is None and version is None)  # fmt: skip


def _embedded() -> list[Check]:
    """What labkit's own engine would need here; a lab that breaks things uses it beside the host's."""
    from ..engine.embedded import preconditions

    try:
        with telling("LABKIT_CACHE"):
            found = preconditions()
    except LabError as fault:
        return [Check("own engine", False, _where(fault), fault.next_step, needed=False)]
    return [Check(f"own engine: {name}", ok, detail, remedy, needed=False) for name, ok, detail, remedy in found]


def _as_text(report: dict[str, Any]) -> str:
    lines = []
    for check in report["checks"]:
        sign = "✓" if check["ok"] else "✗" if check["needed"] else "–"
        lines.append(f"{sign} {check['name']}: {check['detail']}")
        if not check["ok"] and check["remedy"]:
            lines.append(f"    → {check['remedy']}")
    engine = report["engine"]
    if engine:
        lines.append(f"\n{engine['kind']} engine, version {engine['version']}, at {engine['endpoint']}")
    return "\n".join([*lines, "Everything is ready." if report["ok"] else "Not ready yet: see the lines marked ✗."])
