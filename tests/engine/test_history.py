"""Lab 05 on a live engine: each step of the history."""

from __future__ import annotations

import shlex

import pytest

from labkit.course.context import Context
from labkit.errors import BadInput, LabError, NotPossibleHere
from labkit.labs.container_history import history, lxc, lxc_api, own_container, runtimes


def groups_left(on: Context) -> str:
    own = history.own_group(on)
    return on.workshop.shell(f"ls -d /sys/fs/cgroup/*{own}/*/ /sys/fs/cgroup{own}/*/ 2>/dev/null", check=False).strip()


def test_chroot_hides_files_only(module_context):
    assert history.jail(module_context).facts() == (
        "the machine's files hidden: yes\n"
        "processes hidden: no · host name its own: no · network its own: no\n"
        "limits of its own (a control group): no"
    )


def test_a_jail_in_a_group_of_its_own_has_limits_of_its_own(module_context, monkeypatch):
    """The machine's memory (MemTotal) is the same behind any limit: it says nothing of one."""
    own = history.own_group(module_context)
    base = f"/sys/fs/cgroup{'/memory' if module_context.facts.cgroup_version == 1 else ''}{own}/jailed"
    shell = module_context.workshop.shell

    def limited(script, **more):
        if script.startswith("chroot"):
            script = (
                f"mkdir -p {base}; sh -c 'echo $$ > {base}/cgroup.procs; exec \"$@\"' - sh -c {shlex.quote(script)}"
            )
        return shell(script, **more)

    monkeypatch.setattr(module_context.workshop, "shell", limited)
    try:
        found = history.jail(module_context)
    finally:
        monkeypatch.undo()
        history.remove_groups(module_context)
    assert found.facts().endswith("limits of its own (a control group): yes")


def test_the_walk_out_of_chroot_and_not_out_of_pivot_root(module_context):
    assert history.walk_out(module_context).escaped
    held = history.behind_pivot(module_context)
    assert not held.escaped and "inside" in held.listing


def test_each_namespace_changes_one_thing(module_context):
    steps = history.each_namespace(module_context).steps
    assert [step.name for step in steps] == ["uts", "mnt", "pid", "net", "ipc", "user", "cgroup"]
    assert [step.name for step in steps if step.inside == step.outside or not step.others_shared] == []


def test_a_group_by_hand_limits_and_leaves_nothing(module_context):
    run = history.group_by_hand(module_context)
    assert run.killed and run.forks_refused and run.throttled > 0
    assert groups_left(module_context) == ""


@pytest.mark.parametrize("bad", [{"memory": "1k"}, {"memory": "900g"}, {"pids": 1}, {"cpu": 0}, {"cpu": 999}])
def test_a_group_refuses_senseless_limits(module_context, bad):
    with pytest.raises(BadInput):
        history.group_by_hand(module_context, **bad)


def test_nothing_is_isolated_without_parts(module_context):
    built = own_container.build(module_context)
    assert [row for row in own_container.ROWS if not built.can(row)] == []


def test_everything_is_with_all(module_context):
    built = own_container.build(module_context, "all")
    assert [row for row in own_container.ROWS if built.can(row)] == []
    assert groups_left(module_context) == ""


@pytest.mark.parametrize("part", own_container.PARTS)
def test_each_part_takes_away_its_own(module_context, part):
    built = own_container.build(module_context, part)
    expected = {row for row, (_, by) in own_container.ROWS.items() if by == part}
    lost = {row for row in own_container.ROWS if not built.can(row)}
    # Root that is not root outside may do less of everything.
    assert lost >= expected if part == "user" else lost == expected


def test_an_unknown_part_is_refused(module_context):
    with pytest.raises(BadInput, match="magic"):
        own_container.build(module_context, "magic")


def test_a_step_that_fails_says_so(module_context):
    with pytest.raises(LabError, match="status 7"):
        module_context.workshop.shell("exit 7")


def test_runc_without_containerd(module_context):
    alone = runtimes.runc_alone(module_context)
    assert alone.output.startswith("hello from process 1") and alone.listed == [] and alone.ping == "OK"
    assert alone.namespaces == ["mnt", "uts", "ipc", "pid", "net"]


def test_what_needs_root_on_the_machine_refuses_a_host_engine(module_context):
    if module_context.facts.owned:
        pytest.skip("this engine is owned")
    for experiment in (lxc.lxc_against_docker, runtimes.ctr_without_dockerd):
        with pytest.raises(NotPossibleHere, match="not the lab's own"):
            experiment(module_context, module_context)


def test_lxc_answers_to_python_and_to_c(module_context):
    found = lxc_api.by_api(module_context)
    assert found.names == ["by-python"] and "lxc.uts.name = named-by-python" in found.lines
