"""Sees the engine's machine: processes, control groups, the kernel's log and tracepoints.

The observer asks for the capabilities that it needs by name, never for ``--privileged``; it has no network, and
what it only reads it can't write.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from docker import APIClient

from ..errors import LabError
from . import rows
from .clock import Clock
from .helper import Helper
from .rows import Rows

#: All that the observer may do as root, and why.
CAPABILITIES = {
    "SYS_ADMIN": "mount tracefs, enter namespaces",
    "SYS_PTRACE": "read other processes' namespaces and programs",
    "SYSLOG": "read the kernel's log",
    "DAC_READ_SEARCH": "read files of other users in /proc",
    "SYS_CHROOT": "enter the machine's mount namespace",
    "SETUID": "be nobody there",
    "SETGID": "be nobody there",
    "KILL": "end what runs too long there",
    "NET_RAW": "ping there",
}


class Lookout(Helper):
    """A helper that sees the machine's processes, and may do as root what its ``capabilities`` name."""

    capabilities: Mapping[str, str]

    def _host_config(self, api: APIClient, **more: Any) -> dict[str, Any]:
        # What is timed here counts as a plain process of the machine: no filter may slow it down.
        return dict(api.create_host_config(
            network_mode="none", pid_mode="host", cap_drop=["ALL"], cap_add=list(self.capabilities),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"], **more,
        ))  # fmt: skip

    def processes(self, pids: Sequence[int] | None = None) -> list[rows.ProcessRow]:
        """Processes on the engine's machine, each with parent, namespaces and program."""
        return list(self.call("processes", pids=pids))


class Observer(Lookout):
    """The observer of one session."""

    role = "observer"
    modules = ("cgroups", "commands", "kernel", "processes", "trace")
    capabilities = CAPABILITIES

    def _host_config(self, api: APIClient, **more: Any) -> dict[str, Any]:
        # When the machine runs out, the observer should live to see it. Lowering a score takes
        # CAP_SYS_RESOURCE, which a host engine may itself lack.
        score = -500 if self._session.engine.owned else None
        binds, devices = ["/sys/fs/cgroup:/host/cgroup:ro"], ["/dev/kmsg:/dev/kmsg:r"]
        return host_cgroups(super()._host_config(api, binds=binds, devices=devices, oom_score_adj=score, **more))

    # The operations by name, so that experiments read well.

    def outside(self, operation: str, *command: str, limit: float = 60.0, **more: Any) -> Any:
        """A command as a plain process of the machine: in its namespaces, its control group, without a filter.

        Args:
            operation: ``run`` (status and output), ``spawn`` (seconds, ``count`` times) or ``crowd`` (process ids of
                ``count`` that keep running; 0 ends them).
            command: ``busybox`` is the observer's own, so that the same program runs as in a container.
            limit: seconds that it may take.
            more: ``count``; ``user``, an id (nobody's by default).

        Raises:
            NotPossibleHere: the engine's machine can't be entered (a rootless engine, gVisor).
        """
        return self.call("outside", op=operation, command=command, limit=limit, timeout=limit + 10, **more)

    def machine(self) -> rows.Machine:
        """Kernel, boot id, processors and memory of the engine's machine."""
        return cast(rows.Machine, self.call("machine"))

    def clock(self) -> Clock:
        """The machine's clocks beside ours: the best of a few round trips, for the shortest leaves the least doubt."""
        found = []
        for _ in range(4):
            sent = time.monotonic()
            there = self.call("clocks")
            half = (time.monotonic() - sent) / 2
            found.append(Clock(sent + half, there["monotonic"], there["wall"], half))
        return min(found, key=lambda one: one.doubt)

    def watch(self) -> Rows[rows.Look, rows.Ending]:
        """The processes that appear, turn into another program and end, by looking again and again."""
        return Rows(self.stream("watch"), rows.Look)

    def trace(self, events: Sequence[str], *, size_kb: int = 64, rest: float = 0.0) -> Rows[rows.Event, rows.Ending]:
        """The kernel's trace of some events (``system/name``); ``first["missing"]`` names those it lacks.

        Args:
            events: tracepoints.
            size_kb: the kernel's buffer for each processor.
            rest: seconds to leave events there, so that reading them does not slow down what is traced.
        """
        return Rows(self.stream("trace", events=list(events), size_kb=size_kb, rest=rest), rows.Event)

    def cgroup_files(self, container: str, names: Sequence[str], **where: Any) -> rows.CgroupFiles:
        """Files of a container's control group; see the agent's ``cgroup_files``."""
        return cast(rows.CgroupFiles, self.call("cgroup_files", container=container, names=list(names), **where))

    def sample(self, container: str, hz: float, **where: Any) -> Rows[rows.Sample, rows.Sampled]:
        """A container's memory ``hz`` times a second, from its control group's birth to its removal.

        Ask before the container starts; see the agent's ``cgroup_sample``.
        """
        return Rows(self.stream("cgroup_sample", container=container, hz=hz, **where), rows.Sample)

    def sample_machine(self, hz: float) -> Rows[rows.MachineSample, rows.Ending]:
        """The whole machine's memory ``hz`` times a second, until stopped."""
        return Rows(self.stream("memory_sample", hz=hz), rows.MachineSample)

    def file_facts(self, path: str) -> rows.FileFacts:
        """What ``ls -l`` would say of a file on the engine's machine, outside of any container."""
        return cast(rows.FileFacts, self.call("file_facts", path=path))

    def kernel_log(self, since: float, pattern: str, wait: float = 0.0) -> list[rows.LogLine]:
        """Kernel log lines since a monotonic time (s) that match; empty where the log can't be read."""
        try:
            found = self.call("kmsg", since=since, pattern=pattern, wait=wait, timeout=wait + 30)
        except LabError:
            return []
        return [rows.LogLine(*row) for row in found]


class Steward(Helper):
    """Makes control groups on the engine's machine that are nobody's own: the one helper that may write among them."""

    role = "steward"
    modules = ("cgroups",)

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        # The folders of the hierarchies are closed to writing, and root's way around that is this capability.
        config = api.create_host_config(
            network_mode="none", cap_drop=["ALL"], cap_add=["DAC_OVERRIDE"], binds=["/sys/fs/cgroup:/host/cgroup"]
        )
        return host_cgroups(config)


def host_cgroups(config: dict[str, Any]) -> dict[str, Any]:
    """A container's configuration in which its own control group has the name that the machine uses."""
    config["CgroupnsMode"] = "host"  # docker-py has no argument for that before API 1.41
    return config
