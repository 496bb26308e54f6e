"""The map of the course and the glossary against what the course promises to teach."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from labkit import course
from labkit.engine import EngineFacts
from labkit.errors import BadInput

#: The headings of the text that the course implements.
HEADINGS = [
    "Basic Definitions", "CI/CD Concept", "Architectures", "Isolation", "Docker Concept",
    "Docker on Bare Metal vs. Virtual Machine", "What does Docker solve?", "Container History", "LXC VS. Docker",
    "Docker Engine", "Docker Engine Architecture", "Unix Socket", "Container Layer ID", "Container lifetime",
    "Communication with dockerd", "OOM",
]  # fmt: skip

#: Every term that it defines in bold, and what the glossary calls it where that differs.
TERMS = {
    "DevOps": None, "DevOps engineer": None, "artifact": None, "pipeline": None, "Staging": None,
    "On-demand": "on demand", "CI (Continuous Integration)": "continuous integration (CI)",
    "CD (Continuous Delivery)": "continuous delivery (CD)", "CD (Continuous Deployment)": "continuous deployment (CD)",
    "Monolithic architecture": None, "Microservice architecture": None, "Layered architecture": None,
    "Bare metal": None, "Virtualization": None, "Containerization": None, "Docker": None, "Docker image": None,
    "Docker container": None, "writable layer": None, "Docker host": None, "Docker registry": None,
    "Repositories": "repository", "Tags": "tag", "Layers": "layer", "Docker manifest": None, "double isolation": None,
    "Environment inconsistency": None, "Dependency conflicts": "dependency conflict",
    "Scaling": None, "chroot": None, "FreeBSD Jails": "FreeBSD jails", "Namespaces": "namespace", "cgroups": "cgroup",
    "LXC": None, "containerd": None, "CRI-O": None, "Kubernetes": None, "OS-level isolation": "OS-level virtualization",
    "full system containers": "system container", "single applications": "application container",
    "Docker Engine": None, "Docker daemon": "dockerd", "Docker API": None, "Docker CLI": None, "libcontainer": None,
    "containerd-shim": None, "runc": None, "Linux Kernel": "kernel", "Unix socket": None, "TCP socket": None,
    "docker group": None, "layer ID": None, "Container lifetime": None, "Created": None, "Running": None,
    "Stopped": None, "Removed": None, "main process": None, "OOM": None, "OOM Killer": None,
}  # fmt: skip


def test_each_heading_belongs_to_exactly_one_lab():
    taught = Counter(section for entry in course.labs() for section in entry.sections)
    assert taught == Counter(HEADINGS)


def test_labs_are_numbered_in_order():
    labs = course.labs()
    assert [entry.number for entry in labs] == [f"{n:02}" for n in range(13)]
    assert all(entry.title and entry.line.endswith((".", "?")) and 10 <= entry.minutes <= 60 for entry in labs)


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_in_the_glossary(term):
    wanted = (TERMS[term] or term).lower()
    assert wanted in {entry.term.lower() for entry in course.glossary()}


def test_entries_are_sentences_in_order_each_with_its_lab():
    entries = course.glossary()
    names = [entry.term.lower() for entry in entries]
    assert names == sorted(names) and len(set(names)) == len(names)
    labs = {entry.lab for entry in course.labs()}
    for entry in entries:
        assert entry.lab in labs
        assert entry.meaning.endswith(".") and len(entry.meaning) > 25, entry.term


def test_search_prefers_names():
    assert [entry.term for entry in course.search("OOM killer")] == ["OOM killer"]
    assert "cgroup" in {entry.term for entry in course.search("counted and limited")}
    assert course.search("no such thing") == []


@pytest.mark.parametrize("name", ["8", "08", "08-out-of-memory"])
def test_a_lab_by_number_or_name(name):
    assert course.resolve(name).lab == "08-out-of-memory"


@pytest.mark.parametrize("name", ["99", "out-of-memory", "", "-1"])
def test_no_such_lab(name):
    with pytest.raises(BadInput, match="There is no lab") as caught:
        course.resolve(name)
    assert "08-out-of-memory" in caught.value.next_step


def test_what_a_lab_does_not_show_is_said_of_kinds_of_engine_that_there_are():
    """A kind that no engine calls itself by would never reach a card."""
    plain = {**dict.fromkeys((one.name for one in fields(EngineFacts)), ""), "rootless": False, "remapped": False}
    kinds = [{"compatible_api": "Podman"}, {"rootless": True}, {"remapped": True}]
    known = {EngineFacts(**{**plain, **kind}).limited for kind in kinds}
    assert EngineFacts(**plain).limited == "" and len(known) == 3
    assert {kind for entry in course.labs() for kind in entry.limits} == known
    assert all(text.endswith(".") and text[0].islower() for entry in course.labs() for text in entry.limits.values())
