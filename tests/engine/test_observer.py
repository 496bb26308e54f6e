"""What the helper on the engine's machine sees."""

from __future__ import annotations

import re

import pytest

from labkit import images
from labkit.engine.client import address_in
from labkit.errors import BadInput, EngineGone, LabError, NotPossibleHere
from labkit.observe import Observer
from labkit.observe.observer import CAPABILITIES, Steward
from labkit.units import MIB

from ..helpers import interrupted_while_creating, wait_until


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
    assert machine["memory"] == facts.memory
    assert 0 < machine["available"] < machine["memory"]
    assert re.fullmatch(r"[0-9a-f-]{36}", machine["boot_id"])


def test_it_asks_for_capabilities_by_name(module_context):
    on = module_context
    on.observer.machine()
    seen = on.docker.api.inspect_container(on.observer.container_id)
    assert seen["HostConfig"]["Privileged"] is False
    assert {name.removeprefix("CAP_") for name in seen["HostConfig"]["CapAdd"]} == set(CAPABILITIES)
    status = on.observer.call("run", script="cat /proc/self/status")["output"]
    held = int(re.search(r"^CapEff:\s*(\w+)", status, re.M)[1], 16)
    assert held.bit_count() == len(CAPABILITIES), "nothing of what Docker gives by default"
    assert seen["HostConfig"]["NetworkMode"] == "none"


def test_what_it_only_reads_it_cannot_write(module_context):
    on = module_context
    done = on.observer.call("run", script="mkdir /host/cgroup/labkit-written && rmdir /host/cgroup/labkit-written")
    assert done["status"] != 0 and "Read-only file system" in done["output"]


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
    assert main["exe"].endswith("busybox")
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
    now = on.observer.clock().machine
    on.docker.containers.run(
        on.image(), ["tail", "/dev/zero"], mem_limit="16m", memswap_limit="16m", network_mode="none", detach=True
    ).wait()
    rows = on.observer.kernel_log(now, r"Killed process \d+ \(tail\)", wait=2)
    assert rows and all(line.time >= now for line in rows)
    assert on.observer.kernel_log(now + 3600, "Killed process") == []
    assert on.observer.kernel_log(now, "no kernel ever says this") == []


def test_a_trace_sees_what_happens_while_it_runs(module_context):
    on = module_context
    with on.observer.trace(["sched/sched_process_exec", "sched/no_such_event"], size_kb=256) as trace:
        assert trace.first == {"ready": True, "missing": ["sched/no_such_event"]}
        before = on.observer.clock().machine
        on.docker.containers.run(on.image(), ["sh", "-c", "exec echo traced"], remove=True, network_mode="none")
        after = on.observer.clock().machine
        end = trace.end()
    assert {row.name for row in trace.rows} == {"sched_process_exec"}
    assert any(before < row.time < after and "sh" in row.fields["filename"] for row in trace.rows), (
        "on the machine's clock"
    )
    assert end["lost"] == 0 and end["count"] == len(trace.rows)


def test_a_trace_removes_its_instance_also_when_what_is_traced_fails(module_context):
    on = module_context

    def instances() -> str:
        listing = on.docker.api.exec_create(on.observer.container_id, ["ls", "/dev/shm/tracing/instances"])["Id"]
        return on.docker.api.exec_start(listing).decode()

    with pytest.raises(RuntimeError), on.observer.trace(["sched/sched_process_exec"]):
        assert f"labkit-{sleeper_pid(on)}-" in instances()
        raise RuntimeError
    wait_until(lambda: f"labkit-{sleeper_pid(on)}-" not in instances(), 10)


def sleeper_pid(on) -> int:
    """The agent's process id, as it knows it itself (it shares the machine's process namespace)."""
    return on.docker.api.inspect_container(on.observer.container_id)["State"]["Pid"]


def test_samples_end_with_the_cgroup(module_context):
    on = module_context
    with on.container(on.image(), ["sleep", "0.3"], start=False, mem_limit="32m", network_mode="none") as container:
        with on.observer.sample(container.id, 200) as memory:
            assert "waiting" in memory.first
            container.start()
            found = memory.end(stop=False)
    assert found["count"] == len(memory.rows) > 10
    assert found["limit"] == 32 * MIB and found["counters"]["oom_kill"] == 0
    assert [row.time for row in memory.rows] == sorted(row.time for row in memory.rows)
    assert max(row.usage for row in memory.rows) <= (found["peak"] or 32 * MIB)


def test_a_container_that_never_starts(module_context):
    on = module_context
    with on.container(on.image(), ["true"], start=False) as container:
        with pytest.raises(NotPossibleHere, match="did not appear"):
            on.observer.sample(container.id, 1000, wait=0.2).end(stop=False)


def test_samples_stop_with_their_block(module_context, sleeper):
    with module_context.observer.sample(sleeper.id, 100) as memory:
        assert memory.poll(10)
    assert memory.end(stop=False)["limit"] == 64 * MIB


def test_faults_of_the_agent_are_sentences(module_context):
    with pytest.raises(LabError, match="The observer could not do this: FileNotFoundError"):
        module_context.observer.file_facts("/no/such/file")
    with pytest.raises(LabError, match="could not do this: KeyError"):
        module_context.observer.call("no_such_operation")


def test_files_of_the_machine_are_not_the_containers(module_context):
    text = module_context.observer.call("plain", script="cat /etc/os-release")["output"]
    assert "NAME=" in text, "the lab's own image has no such file"


def test_disk(module_context):
    disk = module_context.observer.call("disk")
    assert disk["free"] > 0


@pytest.mark.parametrize("remains", [True, False], ids=["and its name is taken", "and its container is gone"])
def test_starts_again_after_its_end(lab_context, remains):
    on = lab_context
    on.observer.machine()
    first = on.observer.container_id
    on.docker.api.kill(first) if remains else on.docker.api.remove_container(first, force=True)
    wait_until(lambda: not on.observer.alive, 10)
    assert on.observer.machine()["cpus"] > 0
    assert on.observer.container_id != first


@pytest.mark.parametrize("kind", [Observer, Steward])
def test_an_interrupt_while_it_starts_leaves_no_name_behind(lab_context, kind):
    on = lab_context
    helper = kind(on.session)
    on.session.show_life()
    with interrupted_while_creating(on.docker.api, 1, helper=True):
        helper.start()
    assert helper.call("clocks")["wall"] > 0


def test_a_visitor_that_was_interrupted_or_has_ended_visits_again(lab_context):
    on, name = lab_context, lab_context.session.name("net")
    on.network(name)
    with interrupted_while_creating(on.docker.api, 1, helper=True):
        on.visitor(name)
    with on.container(images.PYTHON, ["python3", "-m", "http.server", "8000"], network=name) as server:
        url = f"http://{address_in(server, name)}:8000/etc/"
        wait_until(lambda: on.visitor(name).get(url).status == 200, 30)
        visitor = on.visitor(name)
        on.docker.api.kill(visitor.container_id)
        wait_until(lambda: not visitor.alive, 10)
        assert visitor.get(url).status == 200
        refused = visitor.get(f"http://{address_in(server, name)}:8001/")
        assert refused.status == 0 and "refused" in refused.error
    on.drop_network(name)
    with pytest.raises(LabError, match="in no network|ended"):
        visitor.close()
        wait_until(lambda: not visitor.alive, 10)
        visitor.get(url)


def test_a_visitor_goes_on_when_its_first_network_is_gone(lab_context):
    """Engine 28 no longer connects a container whose first network was removed."""
    on = lab_context
    for word in ("one", "two"):
        name = on.network(on.session.name(word))
        server = on.docker.containers.run(
            on.image(), ["httpd", "-f", "-p", "80", "-h", "/home"], network=name, detach=True
        )
        url = f"http://{address_in(server, name)}/"
        wait_until(lambda url=url, name=name: on.visitor(name).get(url).status == 404, 30)
        server.remove(force=True)
        on.drop_network(name)


def test_a_call_in_flight_is_told_when_the_helper_ends(lab_context):
    on = lab_context
    with on.container(on.image(), ["true"], start=False) as container:
        memory = on.observer.sample(container.id, 1000)
        on.docker.api.kill(on.observer.container_id)
        with pytest.raises(EngineGone, match="The observer ended with exit code 137"):
            memory.end(stop=False)


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
