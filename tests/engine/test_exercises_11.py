"""Lab 11's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.labs.it_does_not_work import incidents, system

from .states import States

STATES = States("11-it-does-not-work")
wrong, right = STATES.wrong, STATES.right


def begun(on, key: str, *lines: str) -> None:
    """An incident, and what somebody types then."""
    incidents.start(on, key, seed="exercises")
    for line in lines:
        system.typed(on, incidents.current(on).filled(on, line))


@wrong("stopped", 0)
@wrong("unreached", 0)
@wrong("amiss", 0)
def nothing(on):
    incidents._running.clear()


@wrong("stopped", 1)
def still_as_reported(on):
    begun(on, "exits")


@wrong("stopped", 2)
def without_a_limit(on):
    begun(on, "oom", "docker rm -f $store", system.PARTS["store"].replace("--memory 32m --memory-swap 32m", ""))


@wrong("stopped", 3)
def everything_removed(on):
    begun(on, "taken", "docker rm -f $web $api $store $other")


@wrong("stopped", 0)
@wrong("unreached", 1)
def one_of_another_kind(on):
    begun(on, "name")


@right("stopped")
def by_the_shortest_way(on):
    begun(on, "exits")
    incidents.mend(on)


@right("stopped")
def all_parts_anew(on):
    begun(on, "taken", "docker rm -f $other $web $api $store", *system.PARTS.values())


@wrong("unreached", 2)
def by_another_name(on):
    begun(on, "name", "docker rm -f $api", system.PARTS["api"].replace("STORE=store:", "STORE=$store:"))


@wrong("unreached", 3)
def a_new_volume(on):
    begun(on, "owner", "docker rm -f $store", "docker volume rm $orders", system.PARTS["store"])


@right("unreached")
def connected_anew(on):
    begun(on, "name")
    incidents.mend(on)


@right("unreached")
def the_store_anew(on):
    begun(on, "name", "docker rm -f $store", system.PARTS["store"])


@wrong("amiss", 1)
def restarted(on):
    begun(on, "slow", "docker restart $name")


@wrong("amiss", 2)
def room_was_made(on):
    begun(on, "full", "docker exec $store sh -c 'rm -f /spool/*'")


@wrong("amiss", 3)
def a_part_is_gone(on):
    begun(on, "slow", "docker rm -f $name")


@right("amiss")
def updated(on):
    begun(on, "slow")
    incidents.mend(on)


@right("amiss")
def started_anew(on):
    begun(on, "slow", "docker rm -f $name", "$run")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
