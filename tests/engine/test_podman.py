"""Podman's compatible API: found, named, used and cleaned like any other engine."""

from __future__ import annotations

import os

import pytest

from labkit import engine as engines
from labkit import images
from labkit.engine import host, native
from labkit.engine.dockercli import run_cli
from labkit.engine.embedded import packages
from labkit.engine.session import SESSION
from labkit.errors import LabError
from labkit.lab import open_lab
from labkit.labs.out_of_memory import oom
from labkit.labs.start_here import first
from labkit.labs.start_here.preflight import preflight

from ..conftest import open_context
from ..helpers import left_behind

# A minute in all; one that hangs shall not hold up the others.
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it")]


@pytest.fixture(scope="module")
def service():
    """Today's Podman, with storage of its own; gives its address."""
    with native.start(packages.Variant(packages.CURRENT), native.PODMAN) as engine:
        yield engine.endpoint


@pytest.fixture(scope="module")
def on(service):
    """A context on Podman, found as a user would name it; proves at its end that nothing is left."""
    before = os.environ.get("LABKIT_ENGINE")
    os.environ["LABKIT_ENGINE"] = service
    try:
        with engines.find() as engine, open_context(engine) as made:
            yield made
    finally:
        os.environ.pop("LABKIT_ENGINE")
        if before is not None:
            os.environ["LABKIT_ENGINE"] = before


def test_it_says_that_it_is_podman(on, service):
    assert on.facts.compatible_api == on.facts.name == "Podman"
    assert (on.facts.kind, on.facts.endpoint) == ("host", service)
    assert on.facts.cpus > 0 and on.facts.memory > 0 and on.facts.cgroup_version in (1, 2)


def test_runs_and_labels(on):
    on.image()
    assert on.docker.containers.run(on.image(), ["echo", "hello"], remove=True).strip() == b"hello"
    kept = on.docker.containers.run(on.image(), ["true"], detach=True)
    assert kept.labels[SESSION] == on.session.id
    volume = on.docker.volumes.create(on.session.name("vol"))
    assert volume.attrs["Labels"][SESSION] == on.session.id
    network = on.docker.networks.create(on.session.name("net"))
    assert on.docker.networks.get(network.id).attrs["Labels"][SESSION] == on.session.id


def test_the_docker_command_line_speaks_to_it(on):
    name = on.session.name("cli")
    run_cli(on.session, f"docker run --name {name} {on.image()} true")
    assert on.docker.containers.get(name).labels[SESSION] == on.session.id


def test_its_machine_can_be_observed(on):
    assert on.observer.machine()["kernel"] == on.facts.kernel
    assert preflight(on).facts().endswith("ready: yes")


def test_three_ways(on):
    assert first.three_ways(on, 1).facts() == "clients: SDK, CLI, raw HTTP · same output from all: yes"


def test_out_of_memory(on):
    run = oom.grow(on, "32m")
    assert run.facts().splitlines()[0] == "killed by the kernel: yes · exit code 137"
    assert run.verdict.cgroup_kills == 1 and run.verdict.victim == "awk"
    assert abs(run.peak - run.sampled_peak) <= 1024**2


def test_cleans_up_and_leaves_the_base_images(on):
    with open_context(on.session.engine) as other:
        other.docker.containers.run(other.image(), ["sleep", "600"], detach=True)
        other.docker.volumes.create(other.session.name("vol"))
        other.docker.networks.create(other.session.name("net"))
        other.docker.images.get(other.image()).tag(other.session.name("shop"), "1")
        assert len(left_behind(other.session.engine, other.session.id)) >= 4
    assert on.docker.images.get(images.BUSYBOX)


def test_a_lab_that_needs_dockers_engine_starts_one_where_podman_was_only_found(service, monkeypatch, capsys):
    monkeypatch.delenv("LABKIT_ENGINE", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(host, "_usual_sockets", lambda: [(service.removeprefix("unix://"), "Podman's socket")])
    monkeypatch.setattr(host, "_context", lambda: None)
    with native.start(packages.Variant(packages.CURRENT, "overlay2")) as docker:
        monkeypatch.setattr(engines, "owned", lambda **_: docker)
        with open_lab("06") as lab:
            assert lab.facts.name == "Docker Engine"
        assert f"The engine at {service} (Podman) is left alone: it has no dockerd" in capsys.readouterr().out
        with open_lab("00") as lab:
            assert lab.facts.name == "Podman"
        assert "is left alone" not in capsys.readouterr().out
        with open_lab("06", engine=service) as lab:  # as named
            assert lab.facts.name == "Podman"
        assert "This is Podman, and shows not all of this lab: it has no dockerd" in capsys.readouterr().out

    def none(**_):
        raise LabError("QEMU is not here.")

    monkeypatch.setattr(engines, "owned", none)
    with open_lab("06") as lab:
        assert lab.facts.name == "Podman"
    assert "No other engine: QEMU is not here." in capsys.readouterr().out
