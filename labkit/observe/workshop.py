"""A helper with tools and rights for building containers by hand, on the engine's machine.

The notebook itself has no root there. The workshop is a container that plays the machine: it has
its own processes and files, and the capabilities that making namespaces, mounts and control groups
takes, by name. Its control groups lie below its own, so they go with it.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docker import APIClient

from .. import debian, images
from ..engine.faults import explained
from ..engine.session import Session
from ..errors import LabError
from ..files import Temporary, write_whole
from ..images.archive import layer_from_folder
from ..paths import cache_dir
from .helper import Helper
from .observer import host_cgroups

#: What the workshop may do beyond Docker's default, and why.
CAPABILITIES = {
    "SYS_ADMIN": "unshare namespaces, mount, pivot_root, write control groups",
    "NET_ADMIN": "bring up the loopback of a new network namespace",
    "SYS_PTRACE": "read the namespaces of processes that it started",
}

# Programs by the package that brings them; the image has everything else (busybox, Python).
_TOOLS = {
    "runc": ("usr/sbin/runc", "usr/bin/runc"),
    "libseccomp2": ("usr/lib/*/libseccomp.so.2*",),
    "util-linux": ("usr/bin/unshare", "usr/bin/nsenter"),
}

#: What only some experiments need, and some distributions lack: files by package, by name.
EXTRA: dict[str, dict[str, tuple[str, ...]]] = {
    "runsc": {"runsc": ("usr/bin/runsc",)},
    # LXC's Python binding, its library, and what that is linked with.
    "lxc": {
        "python3-lxc": ("usr/lib/python3/dist-packages/_lxc.*.so", "usr/lib/python3/dist-packages/lxc/__init__.py"),
        "liblxc1t64": ("usr/lib/*/liblxc.so.1",),
        "libdbus-1-3": ("usr/lib/*/libdbus-1.so.3",),
        "libsystemd0": ("usr/lib/*/libsystemd.so.0",),
        "libseccomp2": ("usr/lib/*/libseccomp.so.2",),
        "libselinux1": ("usr/lib/*/libselinux.so.1",),
        "libpcre2-8-0": ("usr/lib/*/libpcre2-8.so.0",),
        "libapparmor1": ("usr/lib/*/libapparmor.so.1",),
        "libcap2": ("usr/lib/*/libcap.so.2",),
        "libgcc-s1": ("usr/lib/*/libgcc_s.so.1",),
    },
}


def tools(arch: str, wanted: dict[str, tuple[str, ...]] | None = None, *, name: str = "tools") -> bytes:
    """A tar of programs, made from Debian packages once and kept in the cache.

    Args:
        arch: the engine's architecture, by its own name or Debian's.
        wanted: files (as patterns) by package; what every workshop has when None.
        name: of the tar in the cache.

    Raises:
        NotPossibleHere: no package client here, and nothing in the cache.
        LabError: this distribution has no such package, or it is out of reach.
    """
    arch, wanted = images.DEBIAN_ARCH.get(arch, arch), wanted or _TOOLS
    target = cache_dir("workshop") / f"{name}-{arch}-2.tar"
    if target.exists():
        return target.read_bytes()
    debs = [deb for deb in debian.fetch(list(wanted), arch=arch)
            if debian.package_name(deb) in wanted]  # fmt: skip
    with Temporary(target.parent) as folder:
        root, chosen = Path(folder, "root"), Path(folder, "chosen")
        debian.unpack(debs, root)
        debian.merge_usr(root)
        for pattern in [pattern for patterns in wanted.values() for pattern in patterns]:
            for path in root.glob(pattern):
                # The image's /sbin and /usr/sbin differ by distribution: all programs go to /usr/bin.
                place = chosen / str(path.relative_to(root)).replace("usr/sbin", "usr/bin")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path.resolve(), place)
        data = layer_from_folder(chosen)
    write_whole(target, data)
    return data


def all_tools(arch: str, **more: dict[str, tuple[str, ...]]) -> Iterator[Callable[[], bytes]]:
    """Calls that make each tar of tools that a workshop may ask for, and ``more`` by their names."""
    for name, wanted in {"tools": _TOOLS, **EXTRA, **more}.items():
        yield functools.partial(tools, arch, wanted, name=name)


class Workshop(Helper):
    """The helper; ``shell`` runs a script in it as root."""

    role = "workshop"
    modules = ("cgroups", "commands")

    def __init__(self, session: Session, arch: str):
        super().__init__(session)
        self._arch = arch
        self._tools = tools(arch)

    def _prepare(self, api: APIClient) -> None:
        api.put_archive(self.container_id, "/", self._tools)

    def _host_config(self, api: APIClient) -> dict[str, Any]:
        config = api.create_host_config(
            network_mode="none",
            cap_add=list(CAPABILITIES),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            binds=["/sys/fs/cgroup:/sys/fs/cgroup", "/sys/fs/cgroup:/host/cgroup"],
            init=True,
        )
        return host_cgroups(config)  # it must find its own

    def add(self, extra: str) -> None:
        """Put something of :data:`EXTRA` into the workshop.

        Raises:
            NotPossibleHere, LabError: as for :func:`tools`.
        """
        data = tools(self._arch, EXTRA[extra], name=extra)
        self.start()
        with explained(self._session.engine.endpoint):
            self._session.docker.api.put_archive(self.container_id, "/", data)

    def shell(self, script: str, *, timeout: float = 60.0, check: bool = True, **environment: str) -> str:
        """Run a shell script in the workshop; returns its output, errors mixed in.

        Raises:
            LabError: with ``check``, when its exit status is not 0.
        """
        done = self.call("run", timeout=timeout + 10, script=script, limit=timeout, environment=environment)
        status, output = int(done["status"]), str(done["output"])
        if check and status:
            raise LabError(f"A step in the workshop ended with status {status}.", cause=output.strip()[-400:])
        return output
