"""Kernels that end well, are interrupted or are killed; and two of them on one engine."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from labkit import engine as engines
from labkit.engine.session import SESSION, Session, dead_sessions, remove
from labkit.lab import Lab

from ..conftest import open_context
from ..helpers import interrupted_while_creating, left_behind
from .states import start, typed

OPEN = """
    import labkit.engine as engines
    from labkit.lab import Lab
    lab = Lab("tests", engines.find())
    print(lab._session.id)
"""

FILL = """
    network = lab.docker.networks.create(lab.name_for("net"))
    lab.docker.containers.run(lab.context.image(), ["sleep", "600"], detach=True, network=network.name)
    lab.docker.volumes.create(lab.name_for("vol"))
    lab.docker.images.get(lab.context.image()).tag(lab.name_for("image"))
    print("filled", flush=True)
    input()
"""


def wait_until(true, timeout: float = 20.0) -> bool:
    patience = time.monotonic() + timeout
    while not true():
        if time.monotonic() > patience:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def next_session(engine):
    """A session that comes after; it only looks and sweeps."""
    session = Session(engine, "tests")
    yield session
    session.close()


def test_what_a_killed_kernel_left_is_swept_and_a_live_one_beside_it_is_not(engine, script, next_session):
    killed, live = script(OPEN + FILL), script(OPEN + FILL)
    dead, alive = killed.line(), live.line()
    assert (killed.line(), live.line()) == ("filled", "filled")
    assert not {dead, alive} & set(dead_sessions(next_session.docker)), "both live"

    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    assert wait_until(lambda: dead in dead_sessions(next_session.docker)), "its keeper ends with its connection"
    assert len(left_behind(engine, dead)) >= 4

    next_session.sweep()
    assert left_behind(engine, dead) == []
    kept = left_behind(engine, alive)
    assert [kind for kind in ("container", "network", "volume", "image") if not any(kind in row for row in kept)] == []

    live.process.stdin.write("lab.close()\n")
    live.end()


def test_a_kernel_that_exits_cleans_up_by_itself(engine, script):
    ended = script(
        OPEN.replace('Lab("tests", engines.find())', 'labkit.open("08-out-of-memory")').replace(
            "import labkit.engine", "import labkit, labkit.engine"
        )
        + FILL
    )
    lines = [ended.line()]
    while not lines[-1].isalnum() or len(lines[-1]) != 8:
        lines.append(ended.line())  # the engine card comes first
    assert ended.line() == "filled"
    status, _, errors = ended.end()  # its input ends: input() raises EOFError, and the kernel exits
    assert status == 1 and "EOFError" in errors
    assert left_behind(engine, lines[-1]) == []


def test_opening_a_lab_again_closes_the_one_before(engine, script):
    again = script("""
        import labkit
        first = labkit.open("08-out-of-memory")
        first.docker.containers.run(first.context.image(), ["sleep", "600"], detach=True)
        second = labkit.open("08-out-of-memory")
        print("ids", first._session.id, second._session.id)
        input()
    """)
    while not (line := again.line()).startswith("ids"):
        pass
    _, first, second = line.split()
    assert first != second
    assert left_behind(engine, first) == []
    again.end()


@pytest.mark.parametrize("place", ["grow", "run"])
def test_an_interrupt_leaves_nothing(engine, script, place):
    busy = {
        "grow": 'print("busy"); lab.oom.grow(limit="64m", pace=0.5)',
        "run": 'print("busy"); lab.docker.containers.run(lab.context.image(), ["sleep", "60"])',
    }[place]
    interrupted = script(
        OPEN
        + f"""
    from labkit.labs.out_of_memory.oom import grow
    try:
        lab.context.observer.machine()
        {busy}
    except KeyboardInterrupt:
        rows = lab.docker.containers.list(all=True, filters={{"label": "labkit.session=" + lab._session.id}})
        print("interrupted", *sorted(row.name.rpartition("-")[0] for row in rows if "labkit" in row.name))
        print(len([row for row in rows if "labkit" not in row.name]))
        lab.close()
    """
    )
    session = interrupted.line()
    assert interrupted.line() == "busy"
    # Its container is there, beside labkit's helpers.
    assert wait_until(lambda: [row for row in left_behind(engine, session) if "labkit-" not in row], 60)
    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.line() == "interrupted labkit-keeper labkit-observer"
    left = int(interrupted.line())
    # An experiment removes its own container; a learner's own run is the session's to remove.
    assert left == (0 if place == "grow" else 1)
    status, _, errors = interrupted.end()
    assert status == 0, errors
    assert left_behind(engine, session) == []


def test_two_kernels_work_at_once_and_see_only_their_own(engine, script):
    work = """
    from labkit.course.state import containers
    for round in range(3):
        lab.docker.containers.run(lab.context.image(), ["true"], detach=True).wait()
        print(lab.oom.grow(limit="16m", pace=0.004).facts().splitlines()[0])
    print(len(containers(lab.context)))
    lab.close()
    print("closed")
    """
    both = [script(OPEN + work), script(OPEN + work)]
    names = [each.line() for each in both]
    for each, name in zip(both, names):
        status, out, errors = each.end(120)
        assert status == 0, errors
        assert out.splitlines() == ["killed by the kernel: yes · exit code 137"] * 3 + ["3", "closed"]
        assert left_behind(engine, name) == []


def test_a_session_that_lost_its_keeper_starts_another(lab_context):
    on = lab_context
    on.session.show_life()
    on.docker.api.remove_container(on.session._keeper, force=True)
    assert on.session.id not in dead_sessions(on.docker, but=on.session.id)
    on.docker.volumes.create(on.session.name("vol"))
    [keeper] = on.docker.containers.list(filters={"label": ["labkit.role=keeper", f"labkit.session={on.session.id}"]})
    assert keeper.id == on.session._keeper


def test_a_keeper_that_starts_while_its_session_closes_goes_with_it(engine, lab_context, monkeypatch):
    session, begun = Session(engine, "tests", lab_context.image), threading.Event()
    send = session.docker.api._post_json

    def slowly(*request, **options):
        begun.set()
        time.sleep(1)
        return send(*request, **options)

    monkeypatch.setattr(session.docker.api, "_post_json", slowly)
    starting = threading.Thread(target=session.show_life)
    starting.start()
    assert begun.wait(10)
    session.close()
    starting.join(30)
    assert left_behind(engine, session.id) == []


def test_a_lab_that_can_not_be_made_leaves_neither_session_nor_engine(engine, monkeypatch):
    """An interrupt while it is made: the engine that it was given is closed, whoever opened it."""
    closed, made = [], []
    found = engines.find(engine.endpoint)
    monkeypatch.setattr(found, "close", lambda: closed.append(True))

    def interrupted(client, _):
        made.append(client.lab_labels[SESSION])
        client.containers.create("labkit/busybox:1", ["true"])
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "read_facts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Lab("tests", found)
    assert closed == [True] and left_behind(engine, made[0]) == []


def test_after_an_interrupt_of_the_keepers_start_the_session_works_on(lab_context):
    on = lab_context
    with interrupted_while_creating(on.docker.api, 1, helper=True):
        on.docker.networks.create(on.session.name("first"))
    assert on.docker.networks.create(on.session.name("second")).id
    assert on.docker.containers.get(on.session.name("labkit-keeper")).status == "running"


def test_what_was_typed_under_a_sessions_name_goes_with_it_and_nothing_else(lab_context):
    on = lab_context
    command = "run -d --name {0} labkit/busybox:1 sleep 600"
    other = f"{on.session.name('theirs')}-too"
    typed(on, command.format("mine-{name}"))
    typed(on, command.format(other))
    with open_context(on.session.engine) as beside:
        taken = start(beside, name=on.session.name("taken"))
        try:
            remove(on.docker, on.session.id)
            left = {row["Names"][0] for row in on.docker.api.containers(all=True)}
            assert f"/{on.session.name('mine')}" not in left
            assert {f"/{other}", f"/{taken.name}"} <= left
        finally:
            on.docker.api.remove_container(other, force=True)
