"""Lab 09's last section: on an engine of labkit's own, whatever engine the other tests run on."""

from __future__ import annotations

import pytest

from labkit import engine as engines
from labkit.labs.limits_and_security import flags, given

from ..conftest import open_context


@pytest.fixture(scope="module")
def own():
    with engines.owned() as engine, open_context(engine) as on:
        yield on


def test_a_privileged_container_and_a_socket_give_the_machine_away(own):
    run = given.given_away(own)
    assert run.tried.may(1) == list(flags.ATTEMPTS), "nothing is refused with --privileged"
    assert run.read == run.secret != ""
    assert run.plot().png.startswith(b"\x89PNG")


def test_root_inside_is_nobody_outside(own):
    engine = own.session.engine
    before = engine.shell("cat /etc/docker/daemon.json")
    run = given.remapped(own)
    assert run.outside == (0, given.FIRST)
    assert run.reads == ((0, "secret"), (1, "cat: can't open '/secret': Permission denied"))
    assert run.makes[0].code == 0 and run.makes[1].text.endswith("Operation not permitted")
    assert engine.shell("cat /etc/docker/daemon.json") == before
    assert not any("userns" in option for option in own.docker.info()["SecurityOptions"])
