"""A bill of materials, read out of the image itself, and a gate that a policy shuts.

The packages are real ones, of this notebook's own environment, copied with the records that pip or conda wrote for them.
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

from ...course.context import Context
from ...course.result import Result
from ...errors import LabError
from ..images_and_registries.building import build
from ..images_and_registries.samples import source
from .kiosk import files

#: What every environment of labkit has: ``requests`` and labkit itself need them.
PACKAGES = ("certifi", "h11", "idna")


class Bill(Result):
    """A CycloneDX document of an image's Python packages.

    Source of its form: CycloneDX 1.5 JSON reference, ``components``.
    """

    document: dict[str, Any]

    def licences(self) -> dict[str, str]:
        """Each package and its licence, in the package's own words."""
        return {row["name"]: row["licenses"][0]["license"]["name"] for row in self.document["components"]}

    def facts(self) -> str:
        form = f"{self.document['bomFormat']} {self.document['specVersion']}"
        return f"{form} · packages found in the image: {', '.join(self.licences())}"

    def gate(self, allowed: list[str]) -> Gate:
        """Hold each package's licence against a policy: words, such as "MIT", of which its licence must name one."""
        verdicts = {
            name: any(word.casefold() in licence.casefold() for word in allowed)
            for name, licence in self.licences().items()
        }
        return Gate(self.engine, allowed, verdicts)


class Gate(Result):
    """For each package, whether the policy allows it."""

    allowed: list[str]
    verdicts: dict[str, bool]

    @property
    def opens(self) -> bool:
        """Whether all are allowed."""
        return all(self.verdicts.values())

    def facts(self) -> str:
        lines = [f"{name:<10}{'allowed' if good else 'refused'}" for name, good in self.verdicts.items()]
        return "\n".join([*lines, f"the gate is {'open' if self.opens else 'shut'}"])


def bill(on: Context) -> Bill:
    """Build the kiosk with three packages in it, and have the image list what it holds.

    Raises:
        LabError: the image can't list it.
    """
    given: dict[str, str | bytes] = {"app.py": files()["app.py"], **source("sbom")}
    for name in PACKAGES:
        for path in importlib.metadata.distribution(name).files or []:
            if ".." not in path.parts and path.suffix != ".pyc" and path.locate().is_file():  # type: ignore[attr-defined]
                given[f"packages/{path}"] = path.read_binary()
    given["Dockerfile"] = "FROM labkit/python:1\nCOPY app.py /app/\nCOPY packages /app/packages\nCOPY packages.py /\n"
    tag = build(on, f"{on.session.name('billed')}:1", given).tag
    code, text = on.ran(tag, ["python3", "/packages.py", "/app/packages"])
    if code:
        raise LabError(f"The image can't list its packages: {text.strip()[-300:]}")
    return Bill(on.facts, json.loads(text))
