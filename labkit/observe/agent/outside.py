"""A plain process of the machine: leaves its container, and starts from there what it is told.

In no container's namespaces and in no container's control group, but in those of the process of the machine that
its first argument names; a helper has no filter either. Its second argument is the user that it turns into. It is a
program of its own, because a thread can't leave a mount namespace alone. It answers a JSON request a line, and
whatever it has started ends with it.

The command ``busybox`` is this container's, held open: the machine may have none, and what is compared in several
places is one program.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import commands
import files

KINDS = ("ipc", "uts", "net", "pid", "cgroup", "mnt")

_libc = ctypes.CDLL(None, use_errno=True)
_busybox = os.open("/usr/bin/busybox", os.O_RDONLY)
_crowd: list["subprocess.Popen[bytes]"] = []


def leave(host: str, user: int) -> None:
    """Go where a process of the machine is, and be a user of it. The pid namespace counts for what is started next."""
    spaces = [os.open(f"/proc/{host}/ns/{kind}", os.O_RDONLY) for kind in KINDS]
    for line in files.read(f"/proc/{host}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        members = f"/proc/{host}/root/sys/fs/cgroup/{names.removeprefix('name=')}{path}/cgroup.procs"
        if os.path.exists(members):  # a hierarchy that is mounted nowhere can't be changed, by anybody
            files.write(members, str(os.getpid()))
    for space in spaces:
        if _libc.setns(space, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.close(space)
    os.chdir("/")
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _start(command: list[str], output: int) -> "subprocess.Popen[bytes]":
    program, arguments = _program(command)
    # Killed by the kernel when this one is gone (prctl(2), PR_SET_PDEATHSIG).
    return subprocess.Popen(
        arguments, executable=program, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        pass_fds=(_busybox,), preexec_fn=lambda: _libc.prctl(1, signal.SIGKILL),
    )  # fmt: skip


def _program(command: list[str]) -> tuple[str, list[str]]:
    """Where a command's program is, and its arguments; busybox goes by the name of its applet."""
    return (f"/proc/self/fd/{_busybox}", command[1:]) if command[0] == "busybox" else (command[0], command)


def run(command: list[str]) -> dict[str, Any]:
    """Run a command; its exit status and its output with errors mixed in."""
    child = _start(command, subprocess.PIPE)
    output, _ = child.communicate()
    return {"status": child.returncode, "output": output.decode("utf-8", "replace")}


def spawn(command: list[str], count: int) -> list[float]:
    """As the operation of that name, from here."""
    return list(commands.timed(*_program(command), count))


def crowd(command: list[str], count: int) -> list[int]:
    """Start programs and keep them running; their process ids. A count of 0 ends them all."""
    if not count:
        for child in _crowd:
            child.kill()
        for child in _crowd:
            child.wait()
        _crowd.clear()
    fresh = [_start(command, subprocess.DEVNULL) for _ in range(count)]
    _crowd.extend(fresh)
    return [child.pid for child in fresh]


OPERATIONS: dict[str, Callable[..., Any]] = {"run": run, "spawn": spawn, "crowd": crowd}


def main() -> None:
    try:
        leave(sys.argv[1], int(sys.argv[2]))
    except OSError as fault:
        sys.exit(f"{type(fault).__name__}: {fault}")  # in one line, and at once: who reads it waits for no second one
    requests: list[str] = []
    come = threading.Semaphore(0)

    def listen() -> None:
        for line in sys.stdin:
            requests.append(line)
            come.release()
        os._exit(0)  # the agent is gone: at once, whatever runs

    threading.Thread(target=listen, daemon=True).start()
    while come.acquire():
        asked = json.loads(requests.pop(0))
        try:
            answer = {"done": OPERATIONS[asked.pop("op")](**asked)}
        except (OSError, RuntimeError) as fault:
            answer = {"error": str(fault)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
