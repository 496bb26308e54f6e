"""Which packages make the machine, by distribution, and what of them is left out."""

from __future__ import annotations

import platform
import re
from pathlib import Path

#: Installed in the machine, whatever the distribution. A trailing ``?`` marks what may be missing there.
COMMON = (
    "docker.io",
    "docker-cli?",  # split from docker.io in Debian 13
    "containerd",
    "runc",
    "tini",
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
KERNELS = {
    "debian": "linux-image-cloud-{arch}",
    "ubuntu": "linux-image-virtual",
}

#: Dependencies of maintainer scripts, service managers and features that no lab uses. They are
#: neither downloaded nor unpacked.
UNUSED = re.compile(
    r"^(perl.*|libperl.*|libgdbm.*|libdb5.*|libfile-find-rule-perl|libtext-glob-perl|libnumber-compare-perl"
    r"|initramfs-tools.*|dracut.*|linux-base|klibc-utils|libklibc|udev|systemd.*|dpkg|adduser|passwd|login.*"
    r"|debconf|cpio|logsave|usrmerge|usr-is-merged|lsb-base|sysvinit-utils|init-system-helpers|netbase"
    r"|gcc-\d+-base|dnsmasq.*|libnettle.*|libhogweed.*|libsemanage.*|libsepol.*|libpam-modules-bin"
    r"|dmsetup|e2fsprogs|libss2|libext2fs2.*|ubuntu-fan|bridge-utils|ca-certificates|openssl|crda|wireless.*"
    r"|lxcfs|lxc-templates|cloud-image-utils|uidmap|cloud-guest-utils|rsync|apparmor|tzdata|libc-bin|libc-l10n"
    r"|linux-firmware|amd64-microcode|intel-microcode|thermald|iucode-tool|libnss-systemd|linux-sysctl-defaults)$"
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


def distribution(os_release: Path = Path("/etc/os-release")) -> str:
    """``debian`` or ``ubuntu`` (or what descends from it), by ``/etc/os-release``."""
    try:
        text = os_release.read_text()
    except OSError:
        return "debian"
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, flags=re.M))
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
    return "ubuntu" if "ubuntu" in names else "debian"


def wanted(arch: str, distro: str | None = None) -> tuple[list[str], list[str]]:
    """The packages to ask for: those that must exist, and those left out where they don't."""
    kernel = KERNELS[distro or distribution()].format(arch=arch)
    must = [kernel] + [name for name in COMMON if not name.endswith("?")]
    return must, [name[:-1] for name in COMMON if name.endswith("?")]


def qemu_package(machine: str | None = None) -> str:
    """The package that brings QEMU for this processor, on Debian and Ubuntu."""
    machine = machine or platform.machine()
    return "qemu-system-arm" if machine in ("aarch64", "arm64") else "qemu-system-x86"
