"""What the helper on the engine's machine sees."""

from __future__ import annotations

import re
import time

import pytest

from labkit.errors import BadInput, EngineGone, LabError, NotPossibleHere
from labkit.observe import Observer
from labkit.observe.observer import CAPABILITIES
from labkit.units import MIB


@pytest.fixture
def sleeper(module_context):
    """A running container with a memory limit."""
    on = module_context
    with on.container(on.image(), ["sleep", "300"], mem_limit="64m", network_mode="none") as container:
        container.reload()
        yield container


def test_the_machine_agrees_with_what_the_engine_says(module_context):
    machine, facts = module_context.observer.machine(), module_context.facts
    assert machine["kernel"] == facts.kernel
    assert machine["architecture"] == facts.architecture
    assert machine["memory"] == facts.memory
    assert 0 < machine["available"] < machine["memory"]
    assert re.fullmatch(r"[0-9a-f-]{36}", machine["boot_id"])


def test_it_asks_for_capabilities_by_name(module_context):
    on = module_context
    on.observer.machine()
    seen = on.docker.api.inspect_container(on.observer.container_id)
    assert seen["HostConfig"]["Privileged"] is False
    assert {name.removeprefix("CAP_") for name in seen["HostConfig"]["CapAdd"]} == set(CAPABILITIES)
    assert seen["HostConfig"]["NetworkMode"] == "none"


def test_cgroup_files_on_this_engines_version(module_context, sleeper):
    on = module_context
    limit, usage, missing = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max"),
        2: ("memory.max", "memory.current", "memory.limit_in_bytes"),
    }[on.facts.cgroup_version]
    seen = on.observer.cgroup_files(sleeper.id, [limit, usage, missing])
    assert seen["version"] == on.facts.cgroup_version
    assert sleeper.id in seen["path"]
    assert seen["files"][limit] == str(64 * MIB)
    assert 0 < int(seen["files"][usage]) < 64 * MIB
    assert missing not in seen["files"]


def test_processes_with_their_parents_and_namespaces(module_context, sleeper):
    on = module_context
    pid = sleeper.attrs["State"]["Pid"]
    [main] = on.observer.processes([pid])
    assert (main["comm"], main["inner_pid"], main["command"]) == ("sleep", 1, ["sleep", "300"])
    assert main["uid"] == 0 and main["rss"] > 0 and main["exe"].endswith("busybox")
    every = {row["pid"]: row for row in on.observer.processes()}
    assert len(every) > 3 and pid in every
    mine = next(row for row in every.values() if "/opt/agent/main.py" in row["command"] and "python" in row["comm"])
    assert every[pid]["namespaces"]["pid"] != mine["namespaces"]["pid"], "it sees the machine's, not its own"
    assert re.fullmatch(r"pid:\[\d+\]", every[pid]["namespaces"]["pid"])
    assert every[main["ppid"]]["comm"].startswith(("containerd-shim", "conmon"))


def test_a_process_that_is_gone_is_left_out(module_context):
    assert module_context.observer.processes([2**22 - 1]) == []


def test_the_kernel_log_from_a_moment_on(module_context):
    on = module_context
    now = on.observer.call("clocks")["monotonic"]
    on.docker.containers.run(
        on.image(), ["tail", "/dev/zero"], mem_limit="16m", memswap_limit="16m", network_mode="none", detach=True
    ).wait()
    rows = on.observer.kernel_log(now, r"Killed process \d+ \(tail\)", wait=2)
    assert rows and all(stamp >= now for stamp, _ in rows)
    assert on.observer.kernel_log(now + 3600, "Killed process") == []
    assert on.observer.kernel_log(now, "no kernel ever says this") == []


def test_a_trace_sees_what_happens_while_it_runs(module_context):
    on = module_context
    trace = on.observer.stream("trace", events=["sched/sched_process_exec", "sched/no_such_event"], size_kb=256)
    ready = trace.next(10)
    assert ready == {"ready": True, "missing": ["sched/no_such_event"]}
    before = on.observer.call("clocks")["monotonic"]
    on.docker.containers.run(on.image(), ["sh", "-c", "exec echo traced"], remove=True, network_mode="none")
    after = on.observer.call("clocks")["monotonic"]
    trace.stop()
    rows = [row for chunk in trace for row in chunk.get("rows", ())]
    assert {row[4] for row in rows} == {"sched_process_exec"}
    assert any(before < row[0] < after and "sh" in row[5]["filename"] for row in rows), "on the monotonic clock"
    assert trace.result()["lost"] == 0 and trace.result()["count"] == len(rows)


def test_a_trace_removes_its_instance(module_context):
    on = module_context
    trace = on.observer.stream("trace", events=["sched/sched_process_exec"], size_kb=64)
    trace.next(10)
    pid = sleeper_pid(on)
    own = f"labkit-{pid}-"
    listing = on.docker.api.exec_create(on.observer.container_id, ["ls", "/run/tracing/instances"])["Id"]
    assert own in on.docker.api.exec_start(listing).decode()
    trace.stop()
    trace.result()
    listing = on.docker.api.exec_create(on.observer.container_id, ["ls", "/run/tracing/instances"])["Id"]
    assert own not in on.docker.api.exec_start(listing).decode()


def sleeper_pid(on) -> int:
    """The agent's process id, as it knows it itself (it shares the machine's process namespace)."""
    return on.docker.api.inspect_container(on.observer.container_id)["State"]["Pid"]


def test_samples_end_with_the_cgroup(module_context):
    on = module_context
    with on.container(on.image(), ["sleep", "0.3"], start=False, mem_limit="32m", network_mode="none") as container:
        stream = on.observer.stream("cgroup_sample", container=container.id, hz=200)
        assert "waiting" in stream.next(10)
        container.start()
        rows = [row for chunk in stream for row in chunk.get("rows", ())]
    found = stream.result()
    assert found["count"] == len(rows) > 10
    assert found["limit"] == 32 * MIB and found["counters"]["oom_kill"] == 0
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert max(row[1] for row in rows) <= (found["peak"] or 32 * MIB)


def test_a_container_that_never_starts(module_context):
    on = module_context
    with on.container(on.image(), ["true"], start=False) as container:
        stream = on.observer.stream("cgroup_sample", container=container.id, wait=0.2)
        with pytest.raises(NotPossibleHere, match="did not appear"):
            stream.result()


def test_a_stream_can_be_stopped(module_context, sleeper):
    stream = module_context.observer.stream("cgroup_sample", container=sleeper.id, hz=100)
    stream.next(10)
    stream.stop()
    assert stream.result()["limit"] == 64 * MIB


def test_faults_of_the_agent_are_sentences(module_context):
    with pytest.raises(LabError, match="The observer could not do this: FileNotFoundError"):
        module_context.observer.call("read_file", path="/no/such/file")
    with pytest.raises(LabError, match="could not do this: KeyError"):
        module_context.observer.call("no_such_operation")


def test_files_of_the_machine_are_not_the_containers(module_context):
    text = module_context.observer.call("read_file", path="/etc/os-release")
    assert "NAME=" in text, "the lab's own image has no such file"


def test_disk(module_context):
    disk = module_context.observer.call("disk")
    assert 0 < disk["free"] <= disk["size"]


def test_starts_again_after_its_container_is_gone(lab_context):
    on = lab_context
    on.observer.machine()
    first = on.observer.container_id
    on.docker.api.remove_container(first, force=True)
    patience = time.monotonic() + 10
    while on.observer._line is not None and time.monotonic() < patience:
        time.sleep(0.05)
    assert on.observer.machine()["cpus"] > 0
    assert on.observer.container_id != first


def test_starts_again_beside_what_is_left_of_the_one_before(lab_context):
    on = lab_context
    on.observer.machine()
    first = on.observer.container_id
    on.docker.api.kill(first)  # its container, and with it the name, stays
    patience = time.monotonic() + 10
    while on.observer._line is not None and time.monotonic() < patience:
        time.sleep(0.05)
    assert on.observer.machine()["cpus"] > 0
    assert on.observer.container_id != first


def test_a_call_in_flight_is_told_when_the_helper_ends(lab_context):
    on = lab_context
    with on.container(on.image(), ["true"], start=False) as container:
        stream = on.observer.stream("cgroup_sample", container=container.id)
        stream.next(10)
        on.docker.api.kill(on.observer.container_id)
        with pytest.raises((NotPossibleHere, EngineGone), match="ended"):
            stream.result()


def test_closing_ends_the_helper(lab_context):
    on = lab_context
    observer = Observer(on.session)
    observer.machine()
    observer.close()
    assert on.docker.containers.get(observer.container_id).wait(timeout=10)["StatusCode"] in (0, 137, 143)


def test_a_wrong_argument_of_a_learner_is_none_of_the_agents(module_context):
    from labkit.labs.out_of_memory import oom

    with pytest.raises(BadInput):
        oom.grow(module_context, "not a size")
