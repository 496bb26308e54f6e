"""Sees the network of the engine's machine: interfaces, rules and their counters, and whose a socket is."""

from collections.abc import Sequence
from typing import Any

from docker import APIClient

from . import rows
from .helper import Helper

#: All that the porter may do as root, and why.
CAPABILITIES = {
    "NET_ADMIN": "read the packet filter's rules: who may read them may change them, and the porter only reads",
    "SYS_ADMIN": "enter the engine's network and mount namespaces",
    "SYS_PTRACE": "find these namespaces, and whose a socket is",
    "SYS_CHROOT": "enter the mount namespace",
    "DAC_READ_SEARCH": "read files of other users in /proc",
}


class Porter(Helper):
    """The porter of one session: a helper apart from the observer, which has no right over networks."""

    role = "porter"
    modules = ("processes", "wires")

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        config: dict[str, Any] = api.create_host_config(
            network_mode="none",
            pid_mode="host",
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        )
        return config

    def links(self) -> list[rows.Link]:
        """The interfaces of the engine's machine."""
        found: list[rows.Link] = self.call("links")
        return found

    def rules(self) -> dict[str, str]:
        """The packet filter's rules by table, as ``iptables -v -S`` prints them.

        Raises:
            NotPossibleHere: the machine has no ``iptables``, or does not let a container read them.
        """
        found: dict[str, str] = self.call("rules", timeout=120)
        return found

    def holders(self, pid: int, address: str) -> list[str]:
        """The names of the programs that hold the UDP sockets of an address, in a process's network."""
        found: list[str] = self.call("holders", pid=pid, address=address)
        return found

    def processes(self, pids: Sequence[int] | None = None) -> list[rows.ProcessRow]:
        """As the observer's."""
        found: list[rows.ProcessRow] = self.call("processes", pids=pids)
        return found
