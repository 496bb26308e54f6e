"""Lab 09's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.labs.limits_and_security import checks, flags

from .states import States, ended, start, typed

STATES = States("09-limits-and-security")
wrong, right = STATES.wrong, STATES.right

LOOP = ["sh", "-c", "while :; do :; done"]
QUARTER = {"nano_cpus": 250_000_000}
READ_ONLY = {"read_only": True, "security_opt": ["no-new-privileges"]}
ANYBODY = {"/scratch": "mode=1777"}


@wrong("quarter", 0)
@wrong("fewest", 0)
@wrong("hardened", 0)
def nothing(on):
    pass


@wrong("quarter", 1)
@wrong("hardened", 0)
def one_without_any_flag(on):
    start(on)


@wrong("quarter", 1)
def half_a_processor(on):
    start(on, LOOP, nano_cpus=500_000_000)


@wrong("quarter", 1)
def a_weight_instead(on):
    start(on, LOOP, cpu_shares=256)


@wrong("quarter", 0)
def one_that_has_ended(on):
    ended(on, ["true"], **QUARTER)


@wrong("quarter", 2)
def one_that_sleeps(on):
    start(on, **QUARTER)


@right("quarter")
def made_with_the_quota(on):
    start(on, LOOP, **QUARTER)


@right("quarter")
def changed_while_it_runs_with_another_period(on):
    start(on, LOOP).update(cpu_period=50_000, cpu_quota=12_500)


@right("quarter")
def typed_in_a_terminal(on):
    start(on, LOOP, name=on.session.name("loop"))
    typed(on, "update --cpus 0.25 loop-{name}")


@wrong("fewest", 2)
def with_none_at_all(on):
    assert ended(on, flags.job(), cap_drop=["ALL"]).wait()["StatusCode"]


@wrong("fewest", 1)
def with_all_that_docker_leaves(on):
    ended(on, flags.job())


@wrong("fewest", 1)
def with_one_too_many(on):
    ended(on, flags.job(), cap_drop=["ALL"], cap_add=["CHOWN", "SYS_CHROOT", "KILL"])


@wrong("fewest", 0)
def another_program_with_the_right_ones(on):
    ended(on, ["true"], cap_drop=["ALL"], cap_add=["CHOWN", "SYS_CHROOT"])


@right("fewest")
def given_back_one_by_one(on):
    with_none_at_all(on)
    ended(on, flags.job(), cap_drop=["ALL"], cap_add=["CAP_CHOWN", "SYS_CHROOT"])


@right("fewest")
def all_others_dropped(on):
    with_all_that_docker_leaves(on)
    ended(on, flags.job(), cap_drop=sorted(checks.DEFAULT_CAPABILITIES - {"CHOWN", "SYS_CHROOT"}))


@wrong("hardened", 0)
def its_files_can_be_written(on):
    start(on, user="1000", tmpfs=ANYBODY, security_opt=["no-new-privileges"])


@wrong("hardened", 1)
def it_is_root(on):
    start(on, tmpfs=ANYBODY, **READ_ONLY)


@wrong("hardened", 2)
def no_place_to_write(on):
    start(on, user="1000", **READ_ONLY)


@wrong("hardened", 2)
def a_place_that_is_roots(on):
    start(on, user="1000", tmpfs={"/scratch": "mode=700"}, **READ_ONLY)


@wrong("hardened", 3)
def it_may_gain_rights(on):
    start(on, user="1000", read_only=True, tmpfs=ANYBODY)


@wrong("hardened", 3)
def each_guard_in_another_container(on):
    it_may_gain_rights(on)
    its_files_can_be_written(on)


@right("hardened")
def a_place_for_anybody(on):
    start(on, user="1000", tmpfs=ANYBODY, **READ_ONLY)


@right("hardened")
def a_place_of_its_own(on):
    start(on, user="1000:1000", tmpfs={"/scratch": "uid=1000,mode=700"}, read_only=True,
          security_opt=["no-new-privileges:true"])  # fmt: skip


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
