"""Commands that a helper runs on the engine's machine, timed where they run."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import kernel

NOBODY = 65534


def run(_request: Any, script: str, limit: float = 60.0, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a shell script; its exit status, and its output with errors mixed in."""
    child = subprocess.Popen(
        ["sh", "-c", script], env={**os.environ, **(environment or {})}, cwd="/", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise TimeoutError(f"a command did not end within {limit:.0f} seconds") from None
    return {"status": child.returncode, "output": output.decode("utf-8", "replace")}


def timed(program: str, arguments: list[str], count: int) -> list[float]:
    """Seconds from starting a program (posix_spawn) to knowing its end, ``count`` times, one after the other.

    Where one fails, its last words on standard error are in the RuntimeError.
    """
    found = []
    nowhere, words = os.open("/dev/null", os.O_RDWR), os.memfd_create("stderr")
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate((nowhere, nowhere, words))]
    try:
        for _ in range(count):
            began = time.perf_counter()
            child = os.posix_spawnp(program, arguments, os.environ, file_actions=actions)
            _, status = os.waitpid(child, 0)
            found.append(time.perf_counter() - began)
            if status:
                said = os.pread(words, 1 << 16, 0).decode("utf-8", "replace").strip()[-300:]
                raise RuntimeError(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}: {said}")
    finally:
        os.close(nowhere)
        os.close(words)
    return found


def spawn(_request: Any, command: list[str], count: int = 1) -> list[float]:
    """As :func:`timed`, in this container."""
    return timed(command[0], command, count)


_outside: dict[int, "subprocess.Popen[str]"] = {}
_one_at_a_time = threading.Lock()


def outside(_request: Any, op: str, command: list[str], user: int = NOBODY, limit: float = 30.0, **more: Any) -> Any:
    """``run``, ``spawn`` or ``crowd`` a command as plain processes of this machine; see ``outside.py``.

    As an ordinary user (nobody) unless another one is named: it can look, and change nothing.
    """
    with _one_at_a_time:
        there = _outside.get(user)
        if there is None or there.poll() is not None:
            program = os.path.join(os.path.dirname(__file__), "outside.py")
            there = _outside[user] = subprocess.Popen(
                [sys.executable, program, str(kernel.host_pid()), str(user)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        assert there.stdin and there.stdout
        there.stdin.write(json.dumps({"op": op, "command": command, **more}) + "\n")
        there.stdin.flush()
        if not select.select([there.stdout], [], [], limit)[0]:
            there.kill()
            raise TimeoutError(f"a plain process did not end within {limit:.0f} seconds")
        said = there.stdout.readline()
        if not said.startswith("{"):
            there.kill()
            raise PermissionError("".join([said, *there.stdout]).strip().rpartition("\n")[2])
    answer = json.loads(said)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["done"]


def plain(request: Any, script: str, limit: float = 30.0) -> dict[str, Any]:
    """Run a script as a plain process, by the shell of containers; a status above 0 also where there can be none.

    The machine may have no shell of its own.
    """
    try:
        return dict(outside(request, "run", ["busybox", "sh", "-c", script], limit=limit))
    except PermissionError as fault:
        return {"status": 1, "output": str(fault)}


OPERATIONS = {"outside": outside, "plain": plain, "run": run, "spawn": spawn}
