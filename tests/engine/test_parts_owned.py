"""Taking an engine apart: on one of labkit's own, whatever engine the other tests run on."""

from __future__ import annotations

import re

import pytest

from labkit import engine as engines
from labkit.engine.embedded.engine import EmbeddedEngine
from labkit.errors import EngineGone
from labkit.lab import Lab
from labkit.labs.engine_architecture import parts, parts_owned

from ..conftest import open_context


@pytest.fixture(scope="module")
def own():
    with engines.owned() as engine, open_context(engine) as on:
        yield on


@pytest.fixture(scope="module")
def away(own):
    """One experiment, looked at by two tests."""
    return parts_owned.without_daemons(own)


def test_a_container_outlives_its_daemons_and_loses_nothing(away):
    run = away
    assert run.complete, run.lines
    assert run.exit_code == 7
    assert run.refused, "a client was answered although dockerd was stopped"
    assert "no" not in " ".join(run.facts().splitlines()[:3]).split()


def test_one_that_ends_meanwhile_loses_its_last_words_and_since_containerd_1_7_its_exit_code(own, away):
    """What the lab says about it, on this engine; should it change, the lab's text must."""
    assert away.early_code == (7 if own.facts.version.startswith("20.10") else 255)
    assert away.early_lines == ["first words"]
    assert own.docker.info()["LiveRestoreEnabled"] is False, "the setting is as it was"


def test_without_its_shim_a_container_is_lost(own):
    gone = parts_owned.kill_shim(own)
    assert gone.status != "running" and not gone.process_lives and gone.exit_code != 0


def test_runc_needs_no_daemon(own):
    run = parts_owned.by_hand(own)
    assert run.output == dict.fromkeys(("runc", "crun"), "process 1 of its own container")
    assert all(len(taken) == 5 for taken in run.seconds.values()) and run.quicker == "crun"
    assert run.listed == []
    assert run.config["memory"] == "64 MiB" and "pid" in run.config["namespaces"]


def test_the_docker_group_equals_root(own):
    run = parts_owned.ordinary_user(own)
    assert "permission denied" in run.refusal
    assert run.inside == "let in"
    assert run.direct == "Permission denied"
    assert run.through == "only root may read this"


def test_the_api_wants_a_certificate(own):
    run = parts.ways(own)
    assert run.refusal
    assert run.facts().count("yes") == 3


def test_the_wiretap_hears_what_dockerd_logs(own):
    """dockerd's debug log names each API call; the wiretap must have heard the same ones."""
    engine = own.session.engine
    own.image()
    engine.shell("cp /etc/docker/daemon.json /run/daemon.json.kept")
    try:
        engine.shell(
            "sed -i '1s/{/{ \"debug\": true,/' /etc/docker/daemon.json && kill -HUP $(pidof dockerd) && sleep 1"
        )
        before = int(engine.shell("wc -l < /var/log/dockerd.log"))
        tapped = parts.wiretap(own, "docker run --rm --network none labkit/busybox:1 true")
        log = engine.shell(f"tail -n +{before + 1} /var/log/dockerd.log")
    finally:
        engine.shell("cp /run/daemon.json.kept /etc/docker/daemon.json && kill -HUP $(pidof dockerd)")
    # 20.10: msg="Calling GET /v1.41/…"; 28: msg="handling GET request" … request-url=/v1.51/…
    calls = re.findall(r'"Calling ([A-Z]+) ([^" ]+)|"handling ([A-Z]+) request".* request-url="?([^" ]+)', log)
    assert calls, log[-2000:]
    logged = [f"{old or new} {parts.plain(path or url)}" for old, path, new, url in calls]
    # The lab itself looks whether its image is there, past the wiretap.
    logged.remove("GET /images/labkit/busybox:1/json")
    assert sorted(tapped.requests) == sorted(logged)


def test_when_dockerd_does_not_come_back_a_fresh_engine_is_offered(engine, monkeypatch):
    monkeypatch.setattr(EmbeddedEngine._wait, "__defaults__", (10.0,))
    # A lab ends an engine that it owns, and takes it for its own.
    with Lab("tests", engines.owned() if engine.owned else engine) as lab:
        own = lab.own()
        own.engine.shell(
            "printf '#!/bin/sh\necho no such daemon\n' > /usr/local/sbin/dockerd; chmod +x /usr/local/sbin/dockerd"
        )
        with pytest.raises(EngineGone, match="dockerd was started, but did not answer") as caught:
            own.parts.without_daemons()
        assert "no such daemon" in caught.value.cause and "lab.own()" in caught.value.next_step
        fresh = lab.own()
        assert fresh is not own and fresh is lab.own()
        assert fresh.docker.ping()
