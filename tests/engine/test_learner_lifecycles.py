"""Kind 8, lifecycles: what is left on an engine when a kernel is killed whose children live on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

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
