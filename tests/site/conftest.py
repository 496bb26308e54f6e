"""The site, built once for all tests, as a project with a public repository and a hub would build it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from labkit.paths import COURSE

REPOSITORY = "https://github.com/someone/container-labs"
HUB = "https://hub.example.org"


@dataclass
class Page:
    """One page of the site: its place below the site's folder, and what is on it."""

    name: str
    file: Path

    @cached_property
    def html(self) -> BeautifulSoup:
        return BeautifulSoup(self.file.read_text(encoding="utf-8"), "html.parser")

    @property
    def article(self):
        """What the course says on it, without the theme's own."""
        return self.html.find("article")


@dataclass
class Site:
    folder: Path
    said: str

    @cached_property
    def pages(self) -> dict[str, Page]:
        files = sorted(self.folder.rglob("*.html"))
        names = [str(file.relative_to(self.folder)) for file in files]
        return {name: Page(name, file) for name, file in zip(names, files) if not name.startswith("_")}

    @property
    def labs(self) -> dict[str, Page]:
        return {Path(name).stem: page for name, page in self.pages.items() if name.startswith("notebooks/")}


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "LABKIT_REPOSITORY": REPOSITORY, "LABKIT_HUB": HUB}
    done = subprocess.run(
        [sys.executable, COURSE / "tools" / "site", folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(folder / "html", done.stdout + done.stderr)
