"""The network of the engine's machine: its interfaces, the rules of its packet filter, who holds a socket."""

import os
import re
import socket
import struct
import subprocess
from typing import Any

import files
import kernel

# Where programs of a machine's administrator are: a helper's own PATH is that of its image.
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_TABLES = ("raw", "nat", "filter")


def _beside(*command: str, files_too: bool = False) -> str:
    """What a program prints in the engine's network; with ``files_too`` it is the machine's own program."""
    enter = ["nsenter", "-t", str(kernel.host_pid()), "-n", *(["-m"] if files_too else [])]
    done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=30, env={"PATH": _PATH}, cwd="/")
    if done.returncode:
        raise OSError((done.stderr or done.stdout).strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout


def links(_request: Any) -> list[dict[str, Any]]:
    """The interfaces of the engine's machine: number, name, the number of the other end, bridge and addresses."""
    addresses: dict[str, list[str]] = {}
    for name, address in re.findall(r"^\d+: (\S+) +inet ([\d.]+)", _beside("ip", "-o", "-4", "addr"), re.M):
        addresses.setdefault(name, []).append(address)
    rows = re.findall(r"^(\d+): ([^@:]+)(?:@([^:]+))?:(.*)$", _beside("ip", "-o", "link"), re.M)
    # The other end's number; where the machine has an interface of that number too, its name stands there instead.
    numbers = {name: int(index) for index, name, _, _ in rows}
    return [
        {
            "index": int(index), "name": name, "addresses": addresses.get(name, []),
            "peer": numbers.get(other, int(other[2:]) if re.fullmatch(r"if\d+", other) else 0),
            "bridge": " ".join(re.findall(r" master (\S+)", rest)),
        }
        for index, name, other, rest in rows
    ]  # fmt: skip


def rules(_request: Any) -> dict[str, str]:
    """The rules of each table of the packet filter with their counters, by the machine's own ``iptables``.

    It is the program through which dockerd makes them, so it looks where they are, with the old interface of the
    kernel and with the new one (nftables). A table that is not there is left out.
    """
    found, fault = {}, OSError("no table")
    for table in _TABLES:
        try:
            found[table] = _beside("iptables", "-w", "5", "-t", table, "-v", "-S", files_too=True)
        except OSError as why:
            fault = why
    if not found:
        raise fault
    return found


def holders(_request: Any, pid: int, address: str) -> list[str]:
    """Which programs hold the UDP sockets of an address in the network namespace of a process, by their names."""
    wanted = f"{struct.unpack('<I', socket.inet_aton(address))[0]:08X}:"
    rows = [line.split() for line in files.read(f"/proc/{pid}/net/udp").splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].startswith(wanted)}
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(files.link(f"/proc/{name}/fd/{one}") in sockets for one in os.listdir(f"/proc/{name}/fd")):
                found.add(files.stat(name)[0])
        except OSError:
            continue  # it has ended
    return sorted(found)


def machine_net(_request: Any) -> str:
    """The network namespace of the engine's machine, as a process's link names it."""
    return str(files.link(f"/proc/{kernel.host_pid()}/ns/net"))


OPERATIONS = {"holders": holders, "links": links, "machine_net": machine_net, "rules": rules}
