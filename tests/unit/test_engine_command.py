"""What ``labkit engine status`` says of the machine's versions."""

import json

from labkit.commands import engine
from labkit.engine.embedded import builder
from labkit.paths import data_file

VERIFIED = json.loads(data_file("verified.json").read_text())


def test_the_versions_the_course_was_verified_with_are_said():
    assert f"verified with these on {VERIFIED['date']}" in engine._made_of(VERIFIED["versions"])
    other = engine._made_of({**VERIFIED["versions"], "docker.io": "29.0.1"})
    assert "docker.io 29.0.1" in other and VERIFIED["versions"]["docker.io"] in other.splitlines()[1]


def test_versions_are_read_off_a_builds_packages():
    manifest = {"suite": "s", "kernel": "7", "packages": ["runc_1%3a2-3_amd64.deb", "tini_1_amd64.deb"]}
    assert builder.versions(manifest) == {"Debian": "s", "kernel": "7", "runc": "1:2-3"}
    assert set(VERIFIED["versions"]) >= {"Debian", "kernel", "docker.io", "containerd", "runc"}
