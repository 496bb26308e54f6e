"""Forty years of containers as a list of steps, with those that the notes leave out."""

from dataclasses import dataclass

from ...course.context import Context
from ...course.result import Result


@dataclass(frozen=True)
class Milestone:
    """One step of the history: year, name, what it brought, whether the notes have it, where it is shown."""

    year: int
    name: str
    brought: str
    in_notes: bool
    shown: str


#: From the man pages, kernel documentation and changelogs named in the lab; the notes' own steps are marked. Process
#: containers: Menage on linux-kernel, October 2006. rkt: CoreOS, 1 December 2014. Podman: 1.0 on 14 January 2019, first
#: releases in 2018. Incus: forked in August 2023 (README of lxc/incus).
EVENTS = (
    Milestone(1979, "chroot", "another root directory", True, "live"),
    Milestone(2000, "FreeBSD jails", "files, users, network, processes", True, "drawn: needs FreeBSD"),
    Milestone(2001, "Linux-VServer", "patched kernels", False, "drawn"),
    Milestone(2002, "mount namespace", "Linux 2.4.19", False, "live"),
    Milestone(2004, "Solaris zones", "zones and resources", False, "drawn"),
    Milestone(2005, "OpenVZ", "patched kernels", False, "drawn"),
    Milestone(2006, "process containers", "Google's, later cgroups", False, "drawn"),
    Milestone(2006, "UTS and IPC namespaces", "Linux 2.6.19", True, "live"),
    Milestone(2008, "PID and network namespaces, cgroups", "Linux 2.6.24", True, "live"),
    Milestone(2008, "LXC", "a usable whole", True, "live"),
    Milestone(2013, "Docker", "images, layers, registries", True, "live"),
    Milestone(2013, "user namespaces", "Linux 3.8", False, "live"),
    Milestone(2014, "Kubernetes", "orchestration", True, "drawn: needs a cluster"),
    Milestone(2014, "Docker's own driver replaces LXC", "Docker 0.9", False, "drawn"),
    Milestone(2014, "rkt", "pods, and no daemon", False, "drawn"),
    Milestone(2015, "OCI, runc", "an open standard", False, "live"),
    Milestone(2016, "cgroup v2", "Linux 4.5", False, "live"),
    Milestone(2016, "containerd inside Docker", "Docker 1.11", True, "live"),
    Milestone(2017, "CRI-O", "a runtime for Kubernetes", True, "drawn: needs Kubernetes"),
    Milestone(2018, "Podman", "docker's commands, no daemon", False, "drawn"),
    Milestone(2023, "Incus", "LXD's fork: system containers", False, "drawn"),
)


class Timeline(Result):
    """The steps, oldest first."""

    events: tuple[Milestone, ...]

    def facts(self) -> str:
        live = sum(event.shown == "live" for event in self.events)
        return f"{len(self.events)} steps from {self.events[0].year} to {self.events[-1].year}; {live} of them live in this lab"


def timeline(on: Context) -> Timeline:
    """The history in steps, with those that the notes leave out."""
    return Timeline(on.facts, EVENTS)
