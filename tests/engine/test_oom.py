"""Out of memory: each case's facts, and its evidence from all five places."""

from __future__ import annotations

import threading

import pytest

from labkit.errors import BadInput, LabError
from labkit.labs.out_of_memory import oom, oom_cases
from labkit.units import MIB

from ..helpers import wait_until


@pytest.fixture(scope="module")
def grown(module_context):
    """One run into its limit, looked at by several tests."""
    return oom.grow(module_context, "32m")


def left(on) -> list[str]:
    """The session's containers that are not labkit's own helpers."""
    rows = on.docker.containers.list(all=True, filters={"label": f"labkit.session={on.session.id}"})
    return [row.name for row in rows if "labkit.role" not in row.labels]


def test_growing_into_the_limit(module_context, grown):
    assert grown.facts() == (
        "killed by the kernel: yes · exit code 137\n"
        "peak within the limit: yes · the machine had more than that free: yes\n"
        "The OOM killer chose the main process, and the container ended with it."
    )
    assert left(module_context) == []


def test_all_five_places_tell_the_same(grown):
    verdict = grown.verdict
    assert verdict.agree and verdict.cgroup_kills == 1
    assert {"start", "oom", "die"} <= set(verdict.events)
    assert verdict.victim == "awk" and verdict.victim_pid
    assert str(verdict).splitlines() == [
        "State.OOMKilled      true",
        "exit code            137 = 128 + 9 (SIGKILL)",
        "engine's event oom   seen",
        "cgroup's oom_kill    1",
        "kernel's log         killed process (awk)",
        "All agree.",
    ]
    evidence = verdict.evidence()
    assert "oom_kill 1" in evidence and "Killed process" in evidence and "oom-kill:" in evidence


def test_the_sampled_peak_is_the_kernels(grown):
    assert grown.peak is not None and grown.peak <= grown.limit == 32 * MIB
    assert abs(grown.peak - grown.sampled_peak) <= MIB


def test_the_curve(grown):
    times = [sample.time for sample in grown.samples]
    assert times == sorted(times) and times[0] == 0
    assert len(grown.samples) > 100 and len(grown.intervals) == len(times) - 1
    assert grown.samples_per_second == pytest.approx(len(times) / times[-1])
    # It climbs: the median of the last tenth lies far above that of the first.
    tenth = len(times) // 10
    usage = [sample.usage for sample in grown.samples]
    assert sorted(usage[:tenth])[tenth // 2] < 8 * MIB < 24 * MIB < max(usage[-tenth:])
    assert 0 < grown.kill_time <= times[-1] + 0.5
    assert grown.kill_seen_by in ("tracepoint oom:mark_victim", "kernel log")


def test_the_result_can_be_drawn(grown):
    picture = grown.plot()
    assert picture._repr_mimebundle_()[0]["image/png"] and "killed by the OOM killer" in picture.alt
    with pytest.raises(LabError, match="no figure 'wrong' for OomRun") as caught:
        grown.plot("wrong")
    assert "plot" in caught.value.next_step


def test_docker_stats_saw_less(grown):
    assert len(grown.stats) < len(grown.samples) / 50


def test_a_child_is_killed_and_the_main_process_lives_on(module_context):
    run = oom.grow(module_context, "32m", grower="child", pace=0.005)
    assert run.facts().splitlines()[0] == "killed by the kernel: yes · exit code 0"
    assert run.verdict.explanation == "The OOM killer chose a child; the main process lived on and ended by itself."
    assert run.verdict.cgroup_kills == 1


def test_docker_kill_is_told_apart(module_context):
    run = oom.stop_by_hand(module_context, "64m", at="8m")
    verdict = run.verdict
    assert verdict.exit_code == 137
    assert (verdict.oom_killed, verdict.oom_event, verdict.cgroup_kills, verdict.victim) == (False, False, 0, "")
    assert verdict.explanation == "SIGKILL, but not from the OOM killer: somebody stopped this container."
    assert "kill" in verdict.events and run.kill_time is None
    assert run.facts().startswith("killed by the kernel: no · exit code 137")
    assert run.sampled_peak < 32 * MIB


def test_a_refused_allocation_kills_nobody(module_context):
    run = oom.refused(module_context)
    assert run.verdict.exit_code not in (0, 137)
    assert (run.verdict.oom_killed, run.verdict.cgroup_kills, run.verdict.oom_event) == (False, 0, False)
    assert "refused" in run.verdict.explanation


def test_growth_that_stops_in_time_lives(module_context):
    run = oom.grow(module_context, "64m", reach="8m", pace=0.005)
    assert run.facts().splitlines()[0] == "killed by the kernel: no · exit code 0"
    assert run.verdict.explanation == "It ended by itself, with the work done."
    assert 8 * MIB < run.peak < 24 * MIB


def test_swap_beside_the_limit(module_context):
    """Where the machine has no swap the kill comes all the same; where it has, later."""
    run = oom.grow(module_context, "16m", swap="16m", pace=0.004)
    assert run.verdict.cgroup_kills >= 1 and run.verdict.exit_code == 137


def test_a_live_run_can_be_followed_and_stopped(module_context):
    on = module_context
    with oom.start(on, "64m", pace=0.05) as live:
        while not live.samples:
            live.poll(0.5)
        assert live.container.status in ("created", "running") and not live.ended
        live.stop()
        run = live.finish()
    assert run.verdict.exit_code == 137 and run.verdict.cgroup_kills == 0
    assert left(on) == []


def test_a_live_run_that_is_dropped_leaves_nothing(module_context):
    on = module_context
    with pytest.raises(RuntimeError), oom.start(on, "64m", pace=0.05) as live:
        live.poll(0.2)
        raise RuntimeError
    assert left(on) == []


def test_a_run_that_fails_at_its_start_leaves_nothing_running(module_context):
    on = module_context
    with pytest.raises(LabError, match="nosuch"):
        oom.grow(on, "64m", entrypoint=["/nosuch"])
    assert left(on) == []
    wait_until(lambda: set(on.observer.call("running")) == {"running"}, 10)


def test_a_run_without_end_is_given_up(module_context):
    on = module_context
    live = oom.start(on, "64m", reach="2m", hold=60)
    with pytest.raises(LabError, match="did not end within 1 seconds"):
        live.finish(timeout=1)
    assert left(on) == []


@pytest.mark.parametrize(
    "limit, words",
    [("4m", "below the engine's minimum of 6 MiB"), ("6291455", "below the engine's minimum"), (1, "below"),
     ("100000g", "above the machine's memory"), ("much", "'much' is not a size"), ("-8m", "is not a size"),
     ("0", "is not a size"), (None, "None is not a size"), ("", "is not a size")],
)  # fmt: skip
@pytest.mark.parametrize("experiment", [oom.grow, oom_cases.candidates, oom_cases.shared_parent, oom.refused])
def test_a_limit_that_cannot_be(module_context, experiment, limit, words):
    on = module_context
    with pytest.raises(BadInput, match=words) as caught:
        experiment(on, limit)
    assert caught.value.next_step
    assert left(on) == []


def test_the_minimum_itself_is_taken(module_context):
    run = oom.grow(module_context, "6m", pace=0.004)
    assert run.limit == 6 * MIB and run.verdict.exit_code == 137


@pytest.mark.parametrize(
    "arguments, words",
    [({"grower": "aunt"}, "'aunt' can't grow"), ({"step": "x"}, "not a size"), ({"pace": -1}, "before the start")],
)
def test_other_arguments_that_cannot_be(module_context, arguments, words):
    with pytest.raises(BadInput, match=words):
        oom.grow(module_context, "32m", **arguments)


def test_two_candidates_the_big_one_dies_unless_the_small_is_offered(module_context):
    alone = oom_cases.candidates(module_context, adjust=0)
    assert alone.facts() == "the small one was left alone (oom_score_adj 0) · first victim: the big one"
    offered = oom_cases.candidates(module_context, adjust=900)
    assert offered.facts() == "the small one was offered first (oom_score_adj 900) · first victim: the small one"
    assert any("(small)" in line for line in offered.log)


def test_a_shared_parents_limit(module_context):
    on = module_context
    shared = oom_cases.shared_parent(on)
    assert shared.facts() == "the first to be killed: greedy · the parent was full, no container had a limit of its own"
    peaks = {who: max(sample.usage for sample in rows) for who, rows in shared.samples.items()}
    assert peaks["small"] < peaks["middle"] < peaks["greedy"] < shared.limit
    offered = oom_cases.shared_parent(on, adjust=800)
    assert offered.killed[0] == "small"
    assert left(on) == []
    assert shared.plot().alt and offered.plot().alt


def test_the_parent_cgroup_is_removed(module_context):
    on = module_context
    name = f"labkit-{on.session.id}"
    listing = on.observer.call("plain", script="ls /sys/fs/cgroup /sys/fs/cgroup/memory")["output"]
    assert "cgroup.procs" in listing and name not in listing


def test_what_each_flag_wrote(module_context):
    seen = oom_cases.flags(module_context)
    values = {row.flag: row.value for row in seen.flags}
    assert values["--memory 64m"] == str(64 * MIB)
    assert values["--memory-reservation 32m"] == str(32 * MIB)
    assert values["(processes killed)"] == "oom_kill 0"
    lines = seen.facts().splitlines()
    assert len(lines) == len(seen.flags) + 1
    assert any("memory.limit_in_bytes" in line and "memory.max" in line for line in lines)
    assert not any(character.isdigit() and str(64 * MIB) in line for line in lines for character in line)
    assert seen.plot().alt


def test_a_series(module_context):
    series = oom_cases.repeat(module_context, 2)
    assert series.facts() == "every run was killed: yes"
    assert series.kills == len(series.rates) == 2 and all(rest >= 0 for rest in series.afterlife)
    assert series.plot().alt


def test_two_runs_at_once_in_one_session(module_context):
    """The trace and the kernel's log show both kills: each run takes its own."""
    runs: list[oom.OomRun] = []
    threads = [
        threading.Thread(target=lambda limit=limit: runs.append(oom.grow(module_context, limit, pace=0.01)))
        for limit in ("16m", "24m")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(run.limit for run in runs) == [16 * MIB, 24 * MIB]
    assert len({run.verdict.victim_pid for run in runs}) == 2
    assert all(run.verdict.killed and abs(run.peak - run.limit) <= MIB for run in runs)
