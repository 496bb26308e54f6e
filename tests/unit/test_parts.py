"""Which daemons are behind a shim, and what a request's body shows, without an engine."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from labkit.errors import BadInput
from labkit.labs.engine_architecture import figures_architecture, parts, xray
from labkit.labs.engine_architecture.figures_architecture import _shortened
from labkit.labs.engine_architecture.parts import _daemons, _filled


def process(pid, parent, *command, files="mnt:[1]"):
    name = command[0].rsplit("/", 1)[-1]
    return {
        "pid": pid, "ppid": parent, "comm": name, "exe": command[0], "command": list(command), "started": pid,
        "namespaces": {"mnt": files},
    }  # fmt: skip


def shim(address, **more):
    command = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", "ab", "-address", address]
    return process(99, 1, *command, **more)


def machine(*processes):
    return {one["pid"]: one for one in processes}


TEST_DAEMONS = (
    process(10, 1, "/usr/bin/containerd", "--config", "/tmp/x/containerd.toml", "--address", "/tmp/x/containerd.sock"),
    process(11, 1, "/usr/sbin/dockerd", "--containerd", "/tmp/x/containerd.sock"),
)


def test_a_containerd_that_dockerd_started_itself():
    rows = machine(
        *TEST_DAEMONS, process(20, 1, "/usr/sbin/dockerd"),
        process(21, 20, "/usr/bin/containerd", "--config", "/var/run/docker/containerd/containerd.toml"),
    )  # fmt: skip
    assert _daemons(rows, shim("/var/run/docker/containerd/containerd.sock")) == [20, 21]
    assert _daemons(rows, shim("/tmp/x/containerd.sock")) == [11, 10]


def test_a_containerd_of_its_own_at_the_usual_address():
    rows = machine(
        *TEST_DAEMONS, process(20, 1, "/usr/bin/containerd"),
        process(21, 1, "/usr/bin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock"),
    )  # fmt: skip
    assert _daemons(rows, shim("/run/containerd/containerd.sock")) == [21, 20]


def test_none_at_all():
    assert _daemons(machine(process(5, 1, "/usr/bin/podman")), process(6, 1, "/usr/bin/conmon")) == []


def test_two_engines_that_call_their_sockets_alike():
    """Each has a root of its own, where its containerd's socket has the same name."""
    files, ours = "/var/run/docker/containerd", [process(30, 1, "dockerd", files="mnt:[2]")]
    ours.append(process(31, 30, "containerd", "--config", f"{files}/containerd.toml", files="mnt:[2]"))
    beside = [process(20, 1, "dockerd"), process(21, 20, "containerd", "--config", f"{files}/containerd.toml")]
    rows = machine(*beside, *ours)
    assert _daemons(rows, shim(f"{files}/containerd.sock", files="mnt:[2]")) == [30, 31]
    assert _daemons(rows, shim(f"{files}/containerd.sock")) == [20, 21]


def test_processes_that_only_start_one_another_are_one_row():
    rows = [
        (0, 1, "init", ""), (1, 2, "screen", ""), (2, 3, "bash", ""), (3, 4, "sudo", ""), (4, 7, "dockerd", "the daemon"),
        (5, 8, "containerd", "below it"), (4, 9, "containerd", "beside it"), (1, 10, "shim", "its shim"), (2, 11, "sleep", "process 1"),
    ]  # fmt: skip
    between = "(3 processes, each started by the one before)"
    assert [(depth, name) for depth, _, name, _ in _shortened(rows)] == [
        (0, "init"), (1, between), (2, "dockerd"), (3, "containerd"), (2, "containerd"), (1, "shim"), (2, "sleep"),
    ]  # fmt: skip
    alone = [(0, 1, "init", ""), (1, 2, "python", ""), (2, 7, "dockerd", "the daemon")]
    assert _shortened(alone) == alone


def test_a_body_without_its_empty_members():
    assert _filled({"Cmd": ["true"], "Env": None, "HostConfig": {"Dns": [], "Memory": 0, "Binds": None}}) == {
        "Cmd": ["true"]
    }


@pytest.mark.parametrize(
    "ask", [lambda: parts.wiretap(None, "docker run 'x"), lambda: xray._line(None, "-e 'x", "i", "c")]
)
def test_a_quotation_mark_left_open_is_a_sentence(ask):
    with pytest.raises(BadInput, match="quotation mark"):
        ask()


def test_no_word_of_the_tree_lies_on_another(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures_architecture, "picture", lambda figure, *_, **__: drawn.append(figure))
    line = [(depth, 20 + depth, "sh", "") for depth in range(1, 7)]
    rows = [
        (0, 1, "systemd", ""), (1, 3081, "containerd-shim-runc-v2", "this container's shim"),
        (2, 3105, "sleep", "process 1 inside the container"), *line, (7, 2094, "dockerd", "the daemon: serves the API"),
        (8, 2122, "containerd", "manages container runtimes"),
    ]  # fmt: skip
    facts = SimpleNamespace(name="Docker Engine", version="28", kind="host", kernel="6", cgroup_version=2, cpus=2,
                            memory=2**30, emulated=False)  # fmt: skip
    figures_architecture.plot_tree(SimpleNamespace(rows=rows, engine=facts))
    [figure] = drawn
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
