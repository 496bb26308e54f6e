"""Lab 00's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.course.exercises import load
from labkit.course.state import containers
from labkit.images.archive import layer_from_files

from .states import States, ended, start, typed

STATES = States("00-start-here")
wrong, right = STATES.wrong, STATES.right


@wrong("hello", 0)
@wrong("keep-running", 0)
@wrong("inside", 0)
def nothing(on):
    pass


@wrong("hello", 0)
@wrong("keep-running", 2)
@wrong("inside", 1)
def one_that_sleeps(on):
    start(on)


@wrong("hello", 0)
def removed_at_once(on):
    on.docker.containers.run(on.image(), ["echo", "hello"], remove=True)


@wrong("hello", 1)
def another_word(on):
    ended(on, ["echo", "goodbye"])


@wrong("hello", 1)
def a_program_that_does_not_exist(on):
    ended(on, ["sh", "-c", "hello"])


@right("hello")
def on_the_other_channel_in_capitals(on):
    ended(on, ["sh", "-c", "echo HELLO >&2"])


@right("hello")
def typed_in_a_terminal(on):
    typed(on, "run --name greeter-{name} labkit/busybox:1 echo hello")


@wrong("keep-running", 0)
def a_clock_that_has_ended(on):
    ended(on, ["true"], name=on.session.name("clock"))


@wrong("keep-running", 0)
def a_clock_that_is_paused(on):
    start(on, name=on.session.name("clock")).pause()


@right("keep-running")
def a_clock(on):
    start(on, name=on.session.name("clock"))


@right("keep-running")
def a_clock_typed_in_a_terminal(on):
    typed(on, "run -d --name clock-{name} labkit/busybox:1 sleep 600")


@wrong("inside", 1)
def another_file(on):
    start(on).exec_run(["touch", "/tmp/other"])


@wrong("inside", 0)
def by_the_main_program(on):
    start(on, ["sh", "-c", "touch /tmp/seen; exec sleep 600"])


@wrong("inside", 0)
def copied_in(on):
    assert start(on).put_archive("/", layer_from_files({"tmp/seen": b""}))


@right("inside")
def by_a_second_program(on):
    start(on).exec_run(["touch", "/tmp/seen"])


@right("inside")
def by_one_typed_in_a_terminal(on):
    start(on, name=on.session.name("clock"))
    typed(on, "exec clock-{name} touch /tmp/seen")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)


def outcome(on, key: str):
    return load(STATES.lab).exercises[key].check(on)


def test_labkits_own_helpers_do_not_count(lab_context):
    on = lab_context
    on.observer.machine()
    on.session.show_life()
    assert (outcome(on, "keep-running").passed, outcome(on, "inside").passed) == (False, False)
    assert outcome(on, "keep-running").hint == outcome(on, "inside").hint == 0


def test_another_sessions_containers_do_not_count(engine, lab_context):
    from ..conftest import open_context

    with open_context(engine) as other:
        other.docker.containers.run(other.image(), ["echo", "hello"])
        assert outcome(other, "hello").passed
        assert outcome(lab_context, "hello").hint == 0


def test_a_container_that_vanishes_by_itself_is_passed_over(lab_context, monkeypatch):
    """One with ``--rm`` may go between the engine's list of containers and a look at each."""
    on = lab_context
    going = start(on)
    start(on, name=on.session.name("clock"))
    listed = on.docker.api.containers

    def gone_after_it(*values, **options):
        rows = listed(*values, **options)
        going.remove(force=True)
        monkeypatch.undo()
        return rows

    monkeypatch.setattr(on.docker.api, "containers", gone_after_it)
    assert [row["Name"] for row in containers(on)] == ["/" + on.session.name("clock")]
