"""Sees the network of the engine's machine: interfaces, rules and their counters, and whose a socket is."""

from . import rows
from .observer import Lookout

#: All that the porter may do as root, and why.
CAPABILITIES = {
    "NET_ADMIN": "read the packet filter's rules: who may read them may change them, and the porter only reads",
    "SYS_ADMIN": "enter the engine's network and mount namespaces",
    "SYS_PTRACE": "find these namespaces, and whose a socket is",
    "SYS_CHROOT": "enter the mount namespace",
    "DAC_READ_SEARCH": "read files of other users in /proc",
}


class Porter(Lookout):
    """The porter of one session: a helper apart from the observer, which has no right over networks."""

    role = "porter"
    modules = ("processes", "wires")
    capabilities = CAPABILITIES

    def links(self) -> list[rows.Link]:
        """The interfaces of the engine's machine."""
        return list(self.call("links"))

    def rules(self) -> dict[str, str]:
        """The packet filter's rules by table, as ``iptables -v -S`` prints them.

        Raises:
            NotPossibleHere: the machine has no ``iptables``, or does not let a container read them.
        """
        return dict(self.call("rules", timeout=120))

    def holders(self, pid: int, address: str) -> list[str]:
        """The names of the programs that hold the UDP sockets of an address, in a process's network."""
        return list(self.call("holders", pid=pid, address=address))
