"""Lab 00's exercises both ways: the solution passes, each wrong state gets the hint that fits."""

from __future__ import annotations

from labkit.course.exercises import load
from labkit.course.state import containers

CONTENT = load("00-start-here")


def outcome(on, key: str):
    return CONTENT.exercises[key].check(on)


def hint(on, key: str) -> int:
    found = outcome(on, key)
    assert not found.passed, found.message
    return found.hint


def run(on, *command: str, **options):
    return on.docker.containers.run(on.image(), list(command), detach=True, **options)


def test_hello(lab_context):
    on = lab_context
    assert hint(on, "hello") == 0
    sleeping = run(on, "sleep", "60")
    assert hint(on, "hello") == 0, "running is not ended"
    run(on, "echo", "goodbye").wait()
    assert hint(on, "hello") == 1
    on.docker.containers.run(on.image(), ["echo", "hello"], remove=True)
    assert hint(on, "hello") == 1, "what was removed can't be looked at"
    on.docker.containers.run(on.image(), ["echo", "hello"])
    assert outcome(on, "hello").passed
    sleeping.kill()


def test_hello_on_another_channel_or_in_capitals(lab_context):
    run(lab_context, "sh", "-c", "echo HELLO >&2").wait()
    assert outcome(lab_context, "hello").passed


def test_keep_running(lab_context):
    on = lab_context
    assert hint(on, "keep-running") == 0
    run(on, "true", name=on.session.name("clock")).wait()
    assert hint(on, "keep-running") == 0, "it has ended"
    on.docker.containers.get(on.session.name("clock")).remove()
    run(on, "sleep", "600", name=on.session.name("watch"))
    assert hint(on, "keep-running") == 2
    run(on, "sleep", "600", name=on.session.name("clock"))
    assert outcome(on, "keep-running").passed


def test_inside(lab_context):
    on = lab_context
    assert hint(on, "inside") == 0
    clock = run(on, "sleep", "600")
    assert hint(on, "inside") == 1
    clock.exec_run(["touch", "/tmp/other"])
    assert hint(on, "inside") == 1
    clock.exec_run(["touch", "/tmp/seen"])
    assert outcome(on, "inside").passed


def test_labkits_own_helpers_do_not_count(lab_context):
    on = lab_context
    on.observer.machine()
    on.session.show_life()
    assert hint(on, "keep-running") == 0
    assert hint(on, "inside") == 0


def test_another_sessions_containers_do_not_count(engine, lab_context):
    from ..conftest import open_context

    with open_context(engine) as other:
        other.docker.containers.run(other.image(), ["echo", "hello"])
        assert outcome(other, "hello").passed
        assert hint(lab_context, "hello") == 0


def test_a_container_that_vanishes_by_itself_is_passed_over(lab_context, monkeypatch):
    """One with ``--rm`` may go between the engine's list of containers and a look at each."""
    on = lab_context
    going = run(on, "sleep", "600")
    run(on, "sleep", "600", name=on.session.name("clock"))
    listed = on.docker.api.containers

    def gone_after_it(*values, **options):
        rows = listed(*values, **options)
        going.remove(force=True)
        monkeypatch.undo()
        return rows

    monkeypatch.setattr(on.docker.api, "containers", gone_after_it)
    assert [row["Name"] for row in containers(on)] == ["/" + on.session.name("clock")]
