"""Which suite and packages make the machine, and what of them is left out."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass

from ... import debian
from ...errors import BadInput

#: Debian's suites that a machine can be made from, and the Docker Engine that each has.
SUITES = {"bookworm": "20.10", "trixie": "26.1", "forky": "28.5"}

#: What a learner meets at work today. It is Debian's testing suite and moves; where it fails to build or
#: to boot, the released one takes its place.
CURRENT, LAST_GOOD = "forky", debian.STABLE

#: Image stores, and what dockerd's settings call them; ``""`` leaves the choice to the engine.
STORES: dict[str, dict[str, object]] = {
    "": {},
    "overlay2": {"storage-driver": "overlay2"},
    "containerd": {"features": {"containerd-snapshotter": True}},
}


@dataclass(frozen=True)
class Variant:
    """Which machine: the suite that its packages come from, the image store of its engine, and its processor.

    ``arch`` is Debian's name of the architecture; another than this machine's is emulated. ``""``: this machine's.
    """

    suite: str = CURRENT
    store: str = ""
    arch: str = ""

    @property
    def name(self) -> str:
        """How its builds' folders begin."""
        return f"{self.suite}-{self.store}" if self.store else self.suite

    def settings(self) -> str:
        """How to ask for it in a shell."""
        return f"LABKIT_SUITE={self.suite}" + (f" LABKIT_STORE={self.store}" if self.store else "")

    def __str__(self) -> str:
        foreign = self.arch not in ("", debian.architecture())
        return f"Debian {self.suite}" + (f", {self.store} store" if self.store else "") + f", {self.arch}" * foreign


def asked_for() -> bool:
    """Whether the environment asks for a machine, other than the one that labkit would choose."""
    return bool(os.environ.get("LABKIT_SUITE") or os.environ.get("LABKIT_STORE"))


def variant(suite: str | None = None, store: str | None = None) -> Variant:
    """The machine asked for, by argument, else by ``$LABKIT_SUITE`` and ``$LABKIT_STORE``, else the current one.

    Args:
        suite: a suite's name, or its engine's version such as ``26.1``.
        store: ``overlay2`` or ``containerd``.

    Raises:
        BadInput: no such suite or store.
    """
    suite = suite or os.environ.get("LABKIT_SUITE") or CURRENT
    store = store or os.environ.get("LABKIT_STORE") or ""
    suite = {version: name for name, version in SUITES.items()}.get(suite, suite)
    if suite not in SUITES:
        known = ", ".join(f"{name} (Engine {version})" for name, version in SUITES.items())
        raise BadInput(f"{suite!r} is no suite that labkit makes an engine from.", next_step=f"Choose one of: {known}.")
    if store not in STORES:
        raise BadInput(f"{store!r} is no image store.", next_step="Choose overlay2 or containerd.")
    return Variant(suite, store)


#: Installed in the machine, whatever the suite. A trailing ``?`` marks what may be missing there.
COMMON = (
    "docker.io",
    "docker-cli?",  # split from docker.io in Debian 13
    "containerd",
    "runc",
    "crun",
    "tini",
    "apparmor",
    "iptables",
    "lxc",
    "docker-registry?",
    "strace",
    "kmod",
    "procps",
    "iproute2",
    "util-linux",
    "mount",
    "coreutils",
    "bash",
    "dash",
    "grep",
    "sed",
    "findutils",
    "hostname",
    "tar",
    "busybox-static",
)

#: The kernel's package. Cloud kernels are the smallest that hold everything a container needs.
KERNEL = "linux-image-cloud-{arch}"

#: Dependencies of maintainer scripts, service managers and features that no lab uses. They are
#: neither downloaded nor unpacked.
UNUSED = re.compile(
    r"^(perl.*|libperl.*|libgdbm.*|libdb5.*|libfile-find-rule-perl|libtext-glob-perl|libnumber-compare-perl"
    r"|initramfs-tools.*|dracut.*|linux-base|klibc-utils|libklibc|udev|systemd.*|dpkg|adduser|passwd|login.*"
    r"|debconf|cpio|logsave|usrmerge|usr-is-merged|lsb-base|sysvinit-utils|init-system-helpers|netbase"
    r"|gcc-\d+-base|dnsmasq.*|libnettle.*|libhogweed.*|libsemanage.*|libsepol.*|libpam-modules-bin"
    r"|dmsetup|e2fsprogs|libss2|libext2fs2.*|ubuntu-fan|bridge-utils|ca-certificates|openssl|crda|wireless.*"
    r"|lxcfs|lxc-templates|cloud-image-utils|uidmap|cloud-guest-utils|rsync|tzdata|libc-bin|libc-l10n"
    r"|linux-firmware|amd64-microcode|intel-microcode|thermald|iucode-tool|libnss-systemd|linux-sysctl-defaults"
    r"|libsystemd-shared|3cpio|libc-gconv-modules-extra|openssl-provider-legacy)$"
)

#: Files that are not needed once unpacked.
TRIMMED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/share/zsh",
    "usr/share/fish",
    "usr/share/apport",
    "usr/share/initramfs-tools",
    "usr/share/docker.io",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/lib/modprobe.d",
    "usr/lib/*/gconv",
    "usr/bin/dnet",
    "usr/sbin/ovrouter",
    "usr/bin/containerd-shim",
    "usr/bin/containerd-shim-runc-v1",
    "usr/bin/containerd-stress",
    "boot/System.map-*",
    "etc/init.d",
    "etc/default",
    "etc/systemd",
    "var/lib/dpkg",
)

#: Kernel modules kept, as patterns of paths below ``kernel/``; what they depend on is kept too.
MODULES = (
    "drivers/virtio/virtio_(pci|mmio|balloon).ko",
    "drivers/block/(virtio_blk|loop|zram).ko",
    "drivers/net/(virtio_net|veth|dummy|tun|vxlan|macvlan|ipvlan/ipvlan|net_failover).ko",
    "drivers/char/(virtio_console|hw_random/virtio-rng).ko",
    "fs/(overlayfs/overlay|fuse/fuse|squashfs/squashfs|binfmt_misc).ko",
    "net/(bridge|netfilter|ipv4/netfilter|ipv6/netfilter|bridge/netfilter)/.*.ko",
    "net/sched/sch_(netem|tbf|htb|ingress|fq_codel).ko",
    "net/(packet/af_packet_diag|unix/unix_diag|ipv4/tcp_diag|ipv4/inet_diag|ipv4/udp_diag).ko",
    "net/(ipv6/ipv6|packet/af_packet|unix/unix|netlink/netlink_diag).ko",
    "(crypto|arch/.*/crypto)/crc32c.*.ko",
    "lib/(libcrc32c|crc/.*).ko",
)

#: Loaded from the initramfs, in this order, so that the disk can be mounted (with what they depend on).
DISK_MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4")


def wanted(arch: str) -> tuple[list[str], list[str]]:
    """The packages to ask for: those that must exist, and those left out where they don't."""
    must = [KERNEL.format(arch=arch)] + [name for name in COMMON if not name.endswith("?")]
    return must, [name[:-1] for name in COMMON if name.endswith("?")]


def qemu_package(machine: str | None = None) -> str:
    """The package that brings QEMU for this processor, on Debian and Ubuntu."""
    machine = machine or platform.machine()
    return "qemu-system-arm" if machine in ("aarch64", "arm64") else "qemu-system-x86"
