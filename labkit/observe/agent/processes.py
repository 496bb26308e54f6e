"""Processes of the engine's machine, with their parents, namespaces and control groups."""

import os

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def _read(path):
    with open(path, "rb") as handle:
        return handle.read()


def one(pid):
    """One process, or None when it is gone."""
    try:
        stat = _read(f"/proc/{pid}/stat").decode("utf-8", "replace")
        comm, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
        command = _read(f"/proc/{pid}/cmdline").split(b"\0")
        status = dict(
            line.split(":\t", 1) for line in _read(f"/proc/{pid}/status").decode().splitlines() if ":\t" in line
        )
    except (OSError, ValueError):
        return None
    spaces = {}
    for name in NAMESPACES:
        try:
            spaces[name] = os.readlink(f"/proc/{pid}/ns/{name}")
        except OSError:
            pass
    try:
        exe = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        exe = ""
    return {
        "pid": int(pid),
        "ppid": int(fields[1]),
        "comm": comm,
        "state": fields[0],
        "exe": exe,
        "command": [part.decode("utf-8", "replace") for part in command if part],
        "uid": int(status.get("Uid", "0").split()[0]),
        "rss": int(status.get("VmRSS", "0 kB").split()[0]) * 1024,
        "inner_pid": int(status.get("NSpid", str(pid)).split()[-1]),
        "started": int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        "namespaces": spaces,
    }


def processes(_request, pids=None):
    """All processes, or the given ones; those that end while being read are left out."""
    wanted = pids if pids is not None else [name for name in os.listdir("/proc") if name.isdigit()]
    return [found for found in map(one, wanted) if found]


OPERATIONS = {"processes": processes}
