"""Kind 8, lifecycles: what is left on an engine when a kernel is killed whose children live on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

from jupyter_client.manager import start_new_kernel

from labkit.engine.session import dead_sessions
from labkit.paths import COURSE

from ..helpers import left_behind, wait_until

KERNEL = """
    import multiprocessing, os, time
    import labkit
    lab = labkit.open("00-start-here", engine={endpoint!r})
    lab.docker.containers.create("labkit/busybox:1", "true", name=lab.name_for("left"))
    lab.context.observer.machine()
    {fork}
    print("session", lab._session.id, worker, flush=True)
    time.sleep(600)
"""

WORKER = (
    "made = multiprocessing.get_context('fork').Process(target=time.sleep, args=[600]); made.start(); worker = made.pid"
)
LEAVES = "worker = os.fork() or exit(0); os.waitpid(worker, 0)"


def opened(script, engine, fork: str):
    """A kernel with an open lab: its session, and the process that it forked off."""
    kernel = script(KERNEL.format(endpoint=engine.endpoint, fork=fork))
    line = ""
    while not line.startswith("session"):
        line = kernel.line()
    _, session, worker = line.split()
    return kernel, session, int(worker)


def test_lifecycles_a_killed_kernel_whose_worker_lives_is_swept(engine, script, lab_context):
    kernel, session, worker = opened(script, engine, WORKER)
    try:
        kernel.process.kill()
        kernel.process.wait()
        os.kill(worker, 0)
        wait_until(lambda: session in dead_sessions(lab_context.docker), 20)
        lab_context.session.sweep()
        wait_until(lambda: left_behind(engine, session) == [], 20)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_lifecycles_a_child_that_ends_by_itself_takes_nothing_along(engine, script, lab_context):
    kernel, session, _ = opened(script, engine, LEAVES)
    assert any("left" in row for row in left_behind(engine, session))
    assert session not in dead_sessions(lab_context.docker)
    kernel.process.terminate()
    kernel.process.wait()
    wait_until(lambda: session in dead_sessions(lab_context.docker), 20)
    lab_context.session.sweep()
    wait_until(lambda: left_behind(engine, session) == [], 20)


def test_lifecycles_clean_says_what_it_removed_and_from_where(engine, script):
    kernel, session, worker = opened(script, engine, WORKER)
    os.kill(worker, signal.SIGKILL)
    kernel.process.kill()
    kernel.process.wait()
    environment = {**os.environ, "PYTHONPATH": str(COURSE)}
    command = [sys.executable, "-m", "labkit", "clean", "--engine", engine.endpoint]
    wait_until(
        lambda: "container" in subprocess.run(command, env=environment, capture_output=True, text=True).stdout, 30
    )
    assert left_behind(engine, session) == []


def test_lifecycles_a_kernel_that_is_told_to_end_tidies_up_first(engine, monkeypatch):
    """As VS Code ends one: by SIGTERM, and in the middle of a cell."""
    monkeypatch.setenv("PYTHONPATH", str(COURSE))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        opening = f"""
            import labkit, time
            lab = labkit.open("00-start-here", engine={engine.endpoint!r})
            lab.docker.containers.run("labkit/busybox:1", "sleep 600", detach=True)
        """
        told = client.execute(textwrap.dedent(opening), reply=True, timeout=120)["content"]
        found = client.execute("", user_expressions={"session": "lab._session.id"}, reply=True, timeout=30)["content"]
        session = found["user_expressions"]["session"]["data"]["text/plain"].strip("'")
        assert told["status"] == "ok" and left_behind(engine, session)
        client.execute("time.sleep(600)")
        os.kill(manager.provisioner.pid, signal.SIGTERM)
        wait_until(lambda: not manager.is_alive(), 30)
        assert left_behind(engine, session) == []
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
