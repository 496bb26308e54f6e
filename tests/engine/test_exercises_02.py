"""Lab 02's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from .states import States, start, typed

STATES = States("02-isolation-models")
wrong, right = STATES.wrong, STATES.right

TIGHT = {"read_only": True, "cap_drop": ["ALL"], "user": "1000"}


def joined(on, first, **options):
    return start(on, network_mode=f"container:{first.id}", **options)


@wrong("shared-network", 0)
@wrong("only-pid", 0)
@wrong("tight", 0)
def nothing(on):
    pass


@wrong("shared-network", 1)
@wrong("only-pid", 1)
def a_network_each(on):
    start(on), start(on)


@wrong("shared-network", 1)
def the_machines_network(on):
    start(on, network_mode="host"), start(on, network_mode="host")


@wrong("shared-network", 1)
def processes_as_well(on):
    first = start(on)
    joined(on, first, pid_mode=f"container:{first.id}")


@wrong("shared-network", 1)
def one_sees_the_machines_processes(on):
    joined(on, start(on), pid_mode="host")


@right("shared-network")
def the_second_joins_the_first(on):
    joined(on, start(on))


@right("shared-network")
def typed_beside_a_pair_that_shares_too_much(on):
    processes_as_well(on)
    typed(on, "run -d --name first-{name} labkit/busybox:1 sleep 600")
    typed(on, "run -d --name second-{name} --network container:first-{name} labkit/busybox:1 sleep 600")


@wrong("only-pid", 1)
def the_network_as_well(on):
    start(on, pid_mode="host", network_mode="host")


@wrong("only-pid", 1)
def a_folder_as_well(on):
    start(on, pid_mode="host", volumes=["/etc:/machine:ro"])


@wrong("only-pid", 1)
def another_containers_processes(on):
    start(on, pid_mode=f"container:{start(on).id}")


@right("only-pid")
def one_flag(on):
    start(on, pid_mode="host")


@right("only-pid")
def one_flag_typed_beside_an_open_container(on):
    the_network_as_well(on)
    typed(on, "run -d --name window-{name} --pid=host labkit/busybox:1 sleep 600")


@wrong("tight", 1)
def with_capabilities(on):
    start(on, read_only=True, user="1000")


@wrong("tight", 1)
def with_a_network(on):
    start(on, network_mode="bridge", **TIGHT)


@wrong("tight", 1)
def as_root(on):
    start(on, **{**TIGHT, "user": None})


@wrong("tight", 1)
def in_the_network_of_another(on):
    joined(on, start(on, network_mode="bridge"), **TIGHT)


@right("tight")
def four_flags(on):
    start(on, **TIGHT)


@right("tight")
def in_the_network_of_one_that_has_none_typed(on):
    start(on, name=on.session.name("alone"))
    flags = "--network container:alone-{name} --read-only --cap-drop ALL --user 65534:65534"
    typed(on, f"run -d --name cell-{{name}} {flags} labkit/busybox:1 sleep 600")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
