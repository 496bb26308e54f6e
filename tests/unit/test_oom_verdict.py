"""The verdict's words, also where the engine's word and the kernel's differ."""

from types import SimpleNamespace

import pytest
from requests.exceptions import ReadTimeout

from labkit.errors import EngineGone
from labkit.labs.out_of_memory import oom_machine
from labkit.labs.out_of_memory.oom_verdict import Verdict

EVENTS = ["create", "start", "oom", "die"]


def verdict(**changed):
    read = {
        "oom_killed": True, "exit_code": 137, "events": EVENTS, "cgroup_kills": 1, "counters": {"oom_kill": 1},
        "counter_file": "memory.events", "victim": "awk",
    }  # fmt: skip
    return Verdict(**{**read, **changed})


@pytest.mark.parametrize("late", [{"oom_killed": False}, {"events": ["create", "start", "die"]}])
def test_an_engine_that_missed_the_kill_is_told_and_changes_no_conclusion(late):
    missed = verdict(**late)
    assert not missed.agree and str(missed).endswith("The engine missed the kill: trust the kernel.")
    assert missed.explanation == verdict().explanation


def test_a_group_that_was_gone_before_its_counter_was_read_again_hides_no_kill():
    late = verdict(cgroup_kills=0, counters={"oom_kill": 0}, log=["oom-kill:…", "Killed process 7 (awk)"])
    assert late.killed and late.agree and late.explanation == verdict().explanation
    assert "cgroup's oom_kill    0, read before the kill" in str(late)


def test_all_five_agree():
    assert verdict().agree and str(verdict()).splitlines()[0] == "State.OOMKilled      true"
    assert str(verdict()).endswith("All agree.")


@pytest.mark.parametrize(
    "read, words",
    [({}, "chose the main process"), ({"exit_code": 0}, "chose a child"),
     ({"cgroup_kills": 0, "oom_killed": False, "events": ["kill", "die"]}, "not from the OOM killer"),
     ({"cgroup_kills": 0, "oom_killed": False, "events": ["die"], "exit_code": 1}, "nothing was killed"),
     ({"cgroup_kills": 0, "oom_killed": False, "events": ["die"], "exit_code": 0}, "with the work done")],
)  # fmt: skip
def test_what_happened(read, words):
    assert words in verdict(**read).explanation


def test_a_machine_without_memory_may_answer_too_late(monkeypatch):
    answers = [ReadTimeout(), {"Running": True}, ReadTimeout(), {"Running": False, "ExitCode": 137}]

    def inspect(container):
        if isinstance(answer := answers.pop(0) if len(answers) > 1 else answers[0], Exception):
            raise answer
        return {"State": answer}

    on = SimpleNamespace(docker=SimpleNamespace(api=SimpleNamespace(inspect_container=inspect)))
    assert oom_machine._wait(on, "greedy") == 137
    answers[:] = [ReadTimeout()]
    monkeypatch.setattr(oom_machine, "_PATIENCE", 0.5)
    with pytest.raises(EngineGone, match="Nothing was killed"):
        oom_machine._wait(on, "greedy")
