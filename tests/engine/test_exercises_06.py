"""Lab 06's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.engine.rawhttp import request
from labkit.images.archive import layer_from_files

from .states import FOREVER, States, ended, start, typed

STATES = States("06-engine-architecture")
wrong, right = STATES.wrong, STATES.right


def raw(on, limit="64m", **options):
    return start(on, name=on.session.name("raw"), mem_limit=limit, **options)


def write(container, number) -> None:
    container.exec_run(["sh", "-c", f"echo {number} > /pid"])


def pid(container) -> int:
    container.reload()
    return container.attrs["State"]["Pid"]


@wrong("raw", 0)
@wrong("number", 0)
@wrong("shims", 0)
def nothing(on):
    pass


@wrong("raw", 0)
def under_another_name(on):
    start(on, mem_limit="64m")


@wrong("raw", 1)
def with_another_limit(on):
    raw(on, "32m")


@wrong("raw", 2)
def created_and_not_started(on):
    on.docker.containers.create(on.image(), FOREVER, name=on.session.name("raw"), mem_limit="64m")


@wrong("raw", 2)
def paused(on):
    raw(on).pause()


@right("raw")
def by_http(on):
    config = {"Image": on.image(), "Cmd": FOREVER, "HostConfig": {"Memory": 64 * 2**20}}
    engine, name = on.session.engine, on.session.name("raw")
    made = request(engine, "POST", f"/containers/create?name={name}", config).json()["Id"]
    assert request(engine, "POST", f"/containers/{made}/start").status == 204


@right("raw")
def with_a_limit_that_came_later(on):
    raw(on, "96m").update(mem_limit="64m")


@wrong("number", 1)
def no_file(on):
    start(on)


@wrong("number", 2)
def the_number_inside(on):
    write(start(on), 1)


@wrong("number", 2)
def the_number_before_a_restart(on):
    container = start(on, init=True)
    write(container, pid(container))
    container.restart()


@wrong("number", 0)
def one_number_inside_and_outside(on):
    container = start(on, pid_mode="host")
    write(container, pid(container))


@right("number")
def written_by_a_second_program(on):
    container = start(on)
    write(container, pid(container))


@right("number")
def copied_in_from_outside(on):
    found = typed(on, "run -d --name numbered-{name} labkit/busybox:1 sleep 600").strip()
    number = typed(on, f"inspect -f {{{{.State.Pid}}}} {found}")
    assert on.docker.api.put_archive(found, "/", layer_from_files({"pid": number}))


@wrong("shims", 1)
def two(on):
    start(on), start(on)


@wrong("shims", 1)
def three_programs_in_one(on):
    start(on, ["sh", "-c", "sleep 600 & sleep 600 & sleep 600"])


@wrong("shims", 1)
def three_of_which_one_has_ended(on):
    two(on)
    ended(on, ["true"])


@right("shims")
def three(on):
    two(on)
    start(on)


@right("shims")
def three_typed_of_which_one_is_paused(on):
    for name in "abc":
        typed(on, f"run -d --name {name}-{{name}} labkit/busybox:1 sleep 600")
    typed(on, "pause c-{name}")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
