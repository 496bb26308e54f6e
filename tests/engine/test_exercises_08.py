"""Lab 08's exercises both ways: the solution passes, each wrong state gets the hint that fits."""

from __future__ import annotations

from labkit.course.exercises import load
from labkit.labs.out_of_memory import oom_cases

CONTENT = load("08-out-of-memory")
SMALL = {"mem_limit": "16m", "memswap_limit": "16m"}


def outcome(on, key: str):
    return CONTENT.exercises[key].check(on)


def hint(on, key: str) -> int:
    found = outcome(on, key)
    assert not found.passed, found.message
    return found.hint


def run(on, command: list[str], **options):
    """A container, run to its end and kept."""
    container = on.docker.containers.run(on.image(), command, detach=True, network_mode="none", **options)
    container.wait()
    return container


def with_limit(on, megabytes: int, **options) -> bool:
    """Whether the lab's job finishes inside a limit; the container stays."""
    limits = {"mem_limit": f"{megabytes}m", "memswap_limit": f"{megabytes}m", **options}
    container = run(on, oom_cases.job(on), **limits)
    return container.wait()["StatusCode"] == 0


def test_smallest_limit(lab_context):
    on = lab_context
    key = "smallest-limit"
    assert hint(on, key) == 0, "nothing tried"
    assert not with_limit(on, 8)
    assert hint(on, key) == 0, "tried, but the job was killed"
    run(on, oom_cases.job(on))
    assert hint(on, key) == 0, "without any limit"
    assert with_limit(on, 64, memswap_limit="128m")
    assert hint(on, key) == 2, "swap may have helped"
    assert with_limit(on, 63)
    assert hint(on, key) == 1, "two MiB less also works"
    too_small, enough = 8, 63
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if with_limit(on, middle):
            enough = middle
        else:
            too_small = middle
    found = outcome(on, key)
    assert found.passed, found.message


def test_smallest_limit_is_about_the_labs_own_job(lab_context):
    run(lab_context, ["true"], **SMALL)
    assert hint(lab_context, "smallest-limit") == 0


def test_same_code(lab_context):
    on = lab_context
    key = "same-code"
    assert hint(on, key) == 0
    run(on, ["true"])
    assert hint(on, key) == 0, "another exit code"
    run(on, ["tail", "/dev/zero"], **SMALL)
    found = outcome(on, key)
    assert (found.passed, found.hint) == (False, 1) and "other cause" in found.message
    sleeper = on.docker.containers.run(on.image(), ["sleep", "600"], detach=True)
    sleeper.kill()
    sleeper.wait()
    assert outcome(on, key).passed


def test_same_code_the_other_way_round(lab_context):
    on = lab_context
    sleeper = on.docker.containers.run(on.image(), ["sleep", "600"], detach=True)
    sleeper.kill()
    sleeper.wait()
    found = outcome(on, "same-code")
    assert (found.passed, found.hint) == (False, 0) and "OOM killer is missing" in found.message


def test_an_exit_code_that_only_looks_like_a_kill_is_not_one(lab_context):
    """137 that a program chose itself: neither the OOM killer nor a signal."""
    on = lab_context
    run(on, ["sh", "-c", "exit 137"])
    found = outcome(on, "same-code")
    assert not found.passed and found.hint == 0


def test_survivor(lab_context):
    on = lab_context
    key = "survivor"
    assert hint(on, key) == 0
    run(on, ["sh", "-c", "true"], **SMALL)
    assert hint(on, key) == 0, "nobody was killed"
    run(on, ["tail", "/dev/zero"], **SMALL)
    assert hint(on, key) == 1, "the main process was killed itself"
    run(on, ["sh", "-c", "tail /dev/zero; exit 1"], **SMALL)
    assert hint(on, key) == 1, "it lived on, but did not end well"
    run(on, ["sh", "-c", "tail /dev/zero; true"], **SMALL)
    assert outcome(on, key).passed
