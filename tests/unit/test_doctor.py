"""`labkit doctor`: which packages it takes for installed."""

from __future__ import annotations

import importlib.metadata

import pytest

from labkit.commands import doctor


@pytest.mark.parametrize(
    ("requirement", "here", "ok"),
    [
        ("docker>=7.1", "7.1.0", True),
        ("docker>=7.1", "7.0.9", False),
        ("docker>=7.1", "8.0rc1", True),
        ("docker>=8.0", "8.0rc1", False),
        ("jupyterlab>=4.2", "4.2.0.post1", True),
        ("docker >= 7.1, < 8", "7.2", True),
        ("docker >= 7.1, < 8", "8.0", False),
        ("docker~=7.1", "7.9", True),
        ("docker[ssh]>=7.1", "7.0", False),
        ("docker!=7.1", "7.1", False),
        ("qemu.qmp>=0.0.3", "0.0.2", False),
        ('docker>=7.1; python_version >= "3"', "7.0", False),
        ('docker>=7.1; python_version < "3"', "7.0", True),
        ('playwright>=1.44; extra == "browser"', None, True),
        ("docker", None, False),
    ],
)
def test_requirements_are_read_as_packaging_means_them(monkeypatch, requirement, here, ok):
    def version(name):
        if here is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return here

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [requirement])
    monkeypatch.setattr(importlib.metadata, "version", version)
    found = doctor._packages()
    assert found.ok is ok and (ok or "pip install" in found.remedy)
    assert ok or here is None or f"(here: {here})" in found.detail
