"""Lab 07's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.images.archive import layer_from_files

from .states import FOREVER, States, ended, many_events, start, typed

STATES = States("07-container-lifetime")
wrong, right = STATES.wrong, STATES.right

LISTENS = ["sh", "-c", "trap 'exit 0' TERM; while :; do usleep 100000; done"]


@wrong("all-states", 0)
@wrong("goodbye", 0)
@wrong("second-life", 0)
@wrong("persistent", 0)
def nothing(on):
    pass


@wrong("all-states", 1)
def one_that_went_through_all(on):
    on.docker.containers.create(on.image(), ["true"])
    one = start(on)
    one.pause()
    one.unpause()
    one.kill()


@wrong("all-states", 1)
def none_that_is_paused(on):
    on.docker.containers.create(on.image(), ["true"])
    start(on), ended(on, ["true"])


@wrong("all-states", 2)
def none_that_has_ended(on):
    on.docker.containers.create(on.image(), ["true"])
    start(on), start(on).pause()


@right("all-states")
def four(on):
    none_that_has_ended(on)
    ended(on, ["true"])


@right("all-states")
def four_typed_in_a_terminal(on):
    typed(on, "create --name a-{name} labkit/busybox:1 true")
    for name in "bc":
        typed(on, f"run -d --name {name}-{{name}} labkit/busybox:1 sleep 600")
    typed(on, "pause c-{name}")
    typed(on, "run --name d-{name} labkit/busybox:1 true")


@wrong("goodbye", 0)
def killed_at_once(on):
    start(on).kill()


@wrong("goodbye", 1)
def killed_after_the_grace_period(on):
    start(on).stop(timeout=1)


@wrong("goodbye", 0)
def ended_by_itself_unasked(on):
    ended(on, ["true"])


@wrong("goodbye", 0)
def sent_the_signal_without_docker_stop(on):
    start(on, init=True).kill("SIGTERM")


@wrong("goodbye", 1)
def ended_by_itself_while_the_engine_waited(on):
    start(on, ["sh", "-c", "sleep 3; true"]).stop()


@wrong("goodbye", 0)
def stopped_well_and_killed_in_its_second_run(on):
    again = start(on, init=True)
    again.stop()
    again.start()
    again.kill()


@right("goodbye")
def an_init_passes_the_signal_on(on):
    start(on, init=True).stop()


@right("goodbye")
def a_program_that_listens(on):
    start(on, LISTENS).stop()


@right("goodbye")
def typed_in_a_terminal_long_ago(on):
    typed(on, "run -d --init --name polite-{name} labkit/busybox:1 sleep 600")
    typed(on, "stop polite-{name}")
    many_events(on)


def noted(on):
    container = start(on, init=True)
    container.exec_run(["touch", "/note"])
    return container


@wrong("second-life", 1)
def in_its_first_run(on):
    noted(on)


@wrong("second-life", 1)
def stopped_after_its_second_run(on):
    container = noted(on)
    container.restart()
    container.stop()


@wrong("second-life", 0)
def a_second_container(on):
    noted(on).remove(force=True)
    start(on)


@wrong("second-life", 0)
def the_note_of_the_second_run(on):
    container = start(on, init=True)
    container.restart()
    container.exec_run(["touch", "/note"])


@wrong("second-life", 0)
def an_old_note_copied_into_its_second_run(on):
    container = start(on, init=True)
    container.restart()
    container.put_archive("/", layer_from_files({"note": b""}))


@wrong("second-life", 1)
def a_note_from_before_its_only_run(on):
    container = on.docker.containers.create(on.image(), FOREVER, network_mode="none")
    container.put_archive("/", layer_from_files({"note": b""}))
    container.start()


@right("second-life")
def restarted(on):
    noted(on).restart()


@right("second-life")
def stopped_and_started_long_ago(on):
    container = noted(on)
    container.stop()
    container.start()
    many_events(on)


def policy(on, command, name="on-failure", **more):
    return start(on, command, restart_policy={"Name": name, **more})


@wrong("persistent", 1)
def a_policy_with_nothing_to_do(on):
    policy(on, FOREVER, MaximumRetryCount=3)


@wrong("persistent", 2)
def one_attempt_only(on):
    policy(on, ["false"], MaximumRetryCount=1)


@wrong("persistent", 1)
def restarted_by_hand(on):
    container = policy(on, FOREVER)
    for _ in range(3):
        container.restart(timeout=0)


@right("persistent")
def a_program_that_fails(on):
    policy(on, ["false"], MaximumRetryCount=3)


@right("persistent")
def one_that_ends_well_and_must_not(on):
    policy(on, ["true"], "always")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
