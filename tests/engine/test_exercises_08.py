"""Lab 08's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

from labkit.labs.out_of_memory import oom_cases

from .states import States, ended, many_events, start, typed

STATES = States("08-out-of-memory")
wrong, right = STATES.wrong, STATES.right

SMALL = {"mem_limit": "16m", "memswap_limit": "16m"}
GROWS = ["tail", "/dev/zero"]
#: A first run that the kernel kills, a second one that ends well.
TWO_RUNS = ["sh", "-c", "test -e /ran && exit 0; touch /ran; exec tail /dev/zero"]


def job(on, megabytes: int, **options):
    limits = {"mem_limit": f"{megabytes}m", "memswap_limit": f"{megabytes}m", **options}
    return ended(on, oom_cases.job(on), **limits)


_found: dict[str, int] = {}


def enough(on) -> int:
    """The smallest limit in which the job finishes, in MiB: looked for once a session."""
    too_small, found = 8, 63
    while on.session.id not in _found and found - too_small > 1:
        middle = (too_small + found) // 2
        good = job(on, middle).wait()["StatusCode"] == 0
        too_small, found = (too_small, middle) if good else (middle, found)
    return _found.setdefault(on.session.id, found)


@wrong("smallest-limit", 0)
@wrong("same-code", 0)
@wrong("survivor", 0)
def nothing(on):
    pass


@wrong("smallest-limit", 0)
def the_job_was_killed(on):
    job(on, 8)


@wrong("smallest-limit", 0)
def without_any_limit(on):
    ended(on, oom_cases.job(on))


@wrong("smallest-limit", 0)
def another_program(on):
    ended(on, ["true"], **SMALL)


@wrong("smallest-limit", 2)
def swap_may_have_helped(on):
    job(on, 63, memswap_limit="128m")


@wrong("smallest-limit", 1)
def less_is_enough(on):
    job(on, 63)


@wrong("smallest-limit", 0)
def a_limit_changed_after_the_run(on):
    job(on, 63).update(mem_limit="8m", memswap_limit="8m")


@right("smallest-limit")
def found_by_halving(on):
    job(on, enough(on))


@right("smallest-limit")
def one_mebibyte_more_after_failures(on):
    job(on, 8), job(on, 60)
    job(on, enough(on) + 1)


@wrong("same-code", 0)
@wrong("survivor", 0)
def one_that_ended_well(on):
    ended(on, ["true"], **SMALL)


@wrong("same-code", 1)
@wrong("survivor", 1)
def out_of_memory_only(on):
    ended(on, GROWS, **SMALL)


@wrong("same-code", 0)
def killed_by_hand_only(on):
    start(on, name=on.session.name("sleeper"))
    typed(on, "kill sleeper-{name}")


@wrong("same-code", 0)
def a_number_that_the_program_chose(on):
    ended(on, ["sh", "-c", "exit 137"])


@wrong("same-code", 0)
def killed_by_hand_after_a_child_ran_out(on):
    both = start(on, ["sh", "-c", "tail /dev/zero; echo gone; sleep 600"], **SMALL)
    next(line for line in both.logs(stream=True, follow=True) if b"gone" in line)
    both.kill()
    start(on).kill()


@right("same-code")
def one_of_each(on):
    ended(on, GROWS, **SMALL)
    start(on).kill()


@right("same-code")
def one_out_of_memory_and_one_that_says_so(on):
    ended(on, GROWS, **SMALL)
    ended(on, ["sh", "-c", "exit 137"])
    many_events(on)


@wrong("survivor", 1)
def lived_on_and_failed(on):
    ended(on, ["sh", "-c", "tail /dev/zero; exit 1"], **SMALL)


@wrong("survivor", 0)
def killed_in_an_earlier_run(on):
    again = ended(on, TWO_RUNS, **SMALL)
    again.start()
    again.wait()


@right("survivor")
def a_shell_that_waits(on):
    ended(on, ["sh", "-c", "tail /dev/zero; true"], **SMALL)


@right("survivor")
def a_child_in_the_background_typed(on):
    limits = "--memory 16m --memory-swap 16m"
    typed(on, f"run --name survivor-{{name}} {limits} labkit/busybox:1 sh -c 'tail /dev/zero & wait'")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
