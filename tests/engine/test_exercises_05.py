"""Lab 05's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from .states import FOREVER, States, ended, start, typed

STATES = States("05-container-history")
wrong, right = STATES.wrong, STATES.right

SHARED = {"pid_mode": "host", "network_mode": "host", "ipc_mode": "host", "uts_mode": "host"}
LIMITS = {"mem_limit": "32m", "pids_limit": 20, "nano_cpus": 500_000_000}


def init(on, *services: str):
    table = "".join(f"::respawn:{service}\\n" for service in services)
    return start(on, ["sh", "-c", f"printf '{table}' > /etc/inittab; exec init"])


@wrong("nineteen-seventy-nine", 0)
@wrong("system", 0)
@wrong("limits", 0)
def nothing(on):
    pass


@wrong("nineteen-seventy-nine", 1)
def three_of_four(on):
    start(on, **{**SHARED, "uts_mode": None})


@wrong("nineteen-seventy-nine", 1)
def another_containers_processes(on):
    start(on, **{**SHARED, "pid_mode": f"container:{start(on).id}"})


@wrong("nineteen-seventy-nine", 0)
def files_of_the_machine_as_well(on):
    start(on, volumes=["/etc:/machine:ro"], **SHARED)


@wrong("nineteen-seventy-nine", 0)
def one_that_has_ended(on):
    ended(on, ["true"], **SHARED)


@right("nineteen-seventy-nine")
def four_flags(on):
    start(on, **SHARED)


@right("nineteen-seventy-nine")
def four_flags_typed(on):
    flags = "--pid=host --network=host --ipc=host --uts=host"
    typed(on, f"run -d --name old-{{name}} {flags} labkit/busybox:1 sleep 600")


@wrong("system", 0)
def services_without_an_init(on):
    start(on, ["sh", "-c", "httpd; syslogd; exec sleep 600"])


@wrong("system", 1)
def an_init_with_one_service(on):
    init(on, "httpd -f")


@wrong("system", 1)
def dockers_init_with_one_program(on):
    start(on, init=True)


@wrong("system", 1)
def two_orphans_below_an_init(on):
    start(on, ["sh", "-c", "(sleep 600 &); (sleep 600 &); exec sleep 600"], init=True)


@right("system")
def busyboxs_init(on):
    init(on, "httpd -f", "syslogd -n")


@right("system")
def dockers_init_and_two_daemons(on):
    start(on, ["sh", "-c", "httpd; syslogd; exec sleep 600"], init=True)


@wrong("limits", 1)
def no_limit_for_the_processor(on):
    start(on, mem_limit="32m", pids_limit=20)


@wrong("limits", 1)
def more_memory(on):
    start(on, **{**LIMITS, "mem_limit": "64m"})


@wrong("limits", 1)
def each_limit_on_a_container_of_its_own(on):
    for name, value in LIMITS.items():
        start(on, **{name: value})


@right("limits")
def exactly_as_asked(on):
    start(on, **LIMITS)


@right("limits")
def less_of_each_by_other_options(on):
    start(on, mem_limit="16m", pids_limit=10, cpu_period=50_000, cpu_quota=10_000)


@right("limits")
def limited_while_it_runs(on):
    start(on, FOREVER, name=on.session.name("limited"), pids_limit=20)
    typed(on, "update --memory 32m --memory-swap 32m --cpus 0.5 limited-{name}")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
