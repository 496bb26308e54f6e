"""Commands that a helper runs on the engine's machine, timed where they run."""

import os
import signal
import subprocess
import time
from typing import Any

import kernel


def run(
    _request: Any, script: str, limit: float = 60.0, environment: dict[str, str] | None = None, directory: str = "/"
) -> dict[str, Any]:
    """Run a shell script; its exit status, its output with errors mixed in, and the seconds it took."""
    began = time.monotonic()
    child = subprocess.Popen(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=directory,
        env={**os.environ, **(environment or {})},
    )
    try:
        output, _ = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise TimeoutError(f"a command did not end within {limit:.0f} seconds") from None
    return {
        "status": child.returncode,
        "output": output.decode("utf-8", "replace"),
        "seconds": time.monotonic() - began,
    }


def plain(_request: Any, script: str, limit: float = 30.0) -> dict[str, Any]:
    """Run a shell script as a plain process of this machine, in none of a container's namespaces.

    As an ordinary user (nobody): it can look, and change nothing.
    """
    enter = ["nsenter", "-t", str(kernel.host_pid()), "-m", "-u", "-i", "-n", "-p", "-S", "65534", "-G", "65534"]
    done = subprocess.run([*enter, "sh", "-c", script], capture_output=True, timeout=limit, cwd="/")
    return {"status": done.returncode, "output": (done.stdout + done.stderr).decode("utf-8", "replace")}


def spawn(_request: Any, command: list[str], count: int = 1) -> list[float]:
    """Seconds from starting a program to knowing its end, ``count`` times, one after the other."""
    found = []
    nowhere = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1, 2)]
    try:
        for _ in range(count):
            began = time.perf_counter()
            child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
            _, status = os.waitpid(child, 0)
            found.append(time.perf_counter() - began)
            if status:
                raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    finally:
        os.close(nowhere)
    return found


_crowd: list[subprocess.Popen[bytes]] = []


def crowd(_request: Any, command: list[str], count: int) -> list[int]:
    """Start programs and keep them running; their process ids. An empty command ends them all."""
    if not command:
        for child in _crowd:
            child.kill()
        for child in _crowd:
            child.wait()
        _crowd.clear()
        return []
    fresh = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    _crowd.extend(fresh)
    return [child.pid for child in fresh]


def memory_of(_request: Any, pids: list[int]) -> dict[int, int]:
    """Each process's own share of memory in bytes: its pages, shared ones divided by their users."""
    found = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as lines:
                found[pid] = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except (OSError, ProcessLookupError):
            pass  # it ended meanwhile
    return found


OPERATIONS = {"crowd": crowd, "memory_of": memory_of, "plain": plain, "run": run, "spawn": spawn}
