"""Debian and Ubuntu packages for an ordinary user: fetch a closure, unpack it, no root.

``apt-get`` does the work (dependency resolution, mirrors, signatures). It is given state,
cache and an empty status file of its own, so it neither needs root nor looks at what the
system has installed. The system's own sources and keys are used as they are.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError, NotPossibleHere
from .paths import cache_dir

#: Package lists older than this many seconds are refreshed before a fetch.
LISTS_MAX_AGE = 24 * 3600

Progress = Callable[[str], None]


def available() -> bool:
    """Whether this machine has the package client (``apt-get`` and ``dpkg-deb``)."""
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


def architecture() -> str:
    """This machine's Debian architecture name, such as ``amd64``."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def _require_client() -> None:
    if not available():
        raise NotPossibleHere(
            "Packages can't be fetched: this machine has no apt-get.",
            cause="labkit makes its images from Debian or Ubuntu packages.",
            next_step="Set LABKIT_BUSYBOX and LABKIT_PYTHON to images given by digest, "
            "or prepare the cache on a Debian or Ubuntu machine.",
        )


@contextmanager
def _locked(folder: Path):
    # Two kernels may prepare at once; the second waits and then finds the work done.
    with open(folder / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _apt(folder: Path, arch: str, *arguments: str, where: Path | None = None) -> str:
    state, cache = folder / "state", folder / "cache"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    options = {
        "Dir::State": state,
        "Dir::State::status": folder / "status",
        "Dir::Cache": cache,
        "Dir::Log": folder,
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",  # no switch to the _apt user: we aren't root
        "Debug::NoLocking": "true",  # dpkg's lock is root's; ours is _locked()
        "Acquire::Retries": "3",
        "Acquire::Languages": "none",
    }
    tool = "apt-cache" if arguments[0] == "madison" else "apt-get"
    command = [tool, "-qq"] if tool == "apt-cache" else [tool, "-qq", "-y"]
    for key, value in options.items():
        command += ["-o", f"{key}={value}"]
    status, output, errors = _watched([*command, *arguments], where or folder)
    if status:
        message = errors.strip()
        if "No space left" in message or "enough free space" in message:
            raise _full(folder)
        raise LabError(
            f"apt-get could not finish: {message.splitlines()[-1] if message else 'no reason given'}.",
            cause="Most often the network is down or the package lists are out of reach.",
            next_step="Check that apt-get update works here, then run the command again.",
        )
    return output


def _watched(command: list[str], where: Path) -> tuple[int, str, str]:
    """Run a command in a folder that it writes to: its status, output and errors.

    When the disk fills up under its lists, apt-get waits for a helper that has given up, for
    ever; so the space is looked after from here.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where,
        start_new_session=True,
    )  # fmt: skip
    full = 0
    try:
        while True:
            try:
                output, errors = process.communicate(timeout=1)
                return process.returncode, output, errors
            except subprocess.TimeoutExpired:
                full = full + 1 if shutil.disk_usage(where).free < 64 * 1024 else 0
                if full >= 3:
                    raise _full(where) from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # an interrupt reaches us alone: it has a session of its own
        process.communicate()
        raise


def _full(folder: Path) -> LabError:
    return LabError(
        f"The disk under {folder} is full.",
        next_step="Free some space, or set LABKIT_CACHE to a larger disk.",
    )


def _known(folder: Path, arch: str, names: Sequence[str]) -> list[str]:
    # Those of the names that the package lists hold.
    if not names:
        return []
    listed = {line.split("|", 1)[0].strip() for line in _apt(folder, arch, "madison", *names).splitlines()}
    return [name for name in names if name in listed]


def fetch(
    packages: Sequence[str],
    *,
    arch: str | None = None,
    progress: Progress | None = None,
    optional: Sequence[str] = (),
    skip: re.Pattern | None = None,
) -> list[Path]:
    """Download the packages and all they depend on; return the ``.deb`` files.

    Args:
        packages: package names, each optionally ``name=version``.
        arch: Debian architecture; this machine's by default.
        progress: called with one line of text at each step.
        optional: more packages, left out silently where the distribution hasn't got them.
        skip: dependencies whose names match are neither downloaded nor returned.

    Files already in the cache are not downloaded again, so an interrupted fetch resumes.

    Raises:
        NotPossibleHere: no ``apt-get`` here.
        LabError: download failed or the disk is full.
    """
    _require_client()
    arch = arch or architecture()
    say = progress or (lambda line: None)
    folder = cache_dir("packages", arch)
    with _locked(folder):
        stamp = folder / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_MAX_AGE:
            say("Reading package lists")
            _apt(folder, arch, "update")
            stamp.touch()
        # apt leaves out what its archive folder holds: ask with an empty one for the whole closure.
        (folder / "none" / "partial").mkdir(parents=True, exist_ok=True)
        nothing = ["-o", f"Dir::Cache::archives={folder / 'none'}"]
        chosen = [*packages, *_known(folder, arch, optional)]
        wanted = _apt(folder, arch, *nothing, "install", "--print-uris", *chosen)
        rows = re.findall(r"^'[^']+' (\S+) (\d+)", wanted, flags=re.M)
        rows = [row for row in rows if not (skip and skip.search(row[0].split("_", 1)[0]))]
        archives = folder / "cache" / "archives"
        missing = [
            (name, int(size))
            for name, size in rows
            if not (archives / name).exists() or (archives / name).stat().st_size != int(size)
        ]
        if missing:
            megabytes = sum(size for _, size in missing) / 1e6
            say(f"Downloading {len(missing)} packages, {megabytes:.0f} MB")
            # By exact name and version: "install" would bring what is skipped as well.
            exact = [re.sub(r"^([^_]+)_([^_]+)_.*", r"\1=\2", name).replace("%3a", ":") for name, _ in missing]
            _apt(folder, arch, "download", *exact, where=archives)
        return [archives / name for name, _ in rows]


def package_name(deb: Path) -> str:
    """The package's name, from its file name (``name_version_arch.deb``)."""
    return deb.name.split("_", 1)[0]


def unpack(debs: Sequence[Path], into: Path) -> None:
    """Unpack the packages' files into a folder, one over the other, as ``dpkg-deb -x`` does.

    Maintainer scripts do not run.

    Raises:
        LabError: a package is damaged or the disk is full.
    """
    into.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        done = subprocess.run(["dpkg-deb", "-x", str(deb), str(into)], capture_output=True, text=True)
        if done.returncode:
            if "No space left" in done.stderr:
                raise _full(into)
            deb.unlink(missing_ok=True)  # damaged: the next fetch brings it again
            raise LabError(
                f"The package {deb.name} could not be unpacked: {done.stderr.strip()}.",
                next_step="Run the same command again: the package will be fetched anew.",
            )


def merge_usr(root: Path) -> None:
    """Move ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` below ``/usr`` and link to them.

    Installed systems have had this layout since Debian 12, but packages of that age still
    carry the old paths, and ``dpkg-deb -x`` replaces links by folders.
    """
    for name in ("bin", "sbin", "lib", "lib64"):
        old, new = root / name, root / "usr" / name
        new.mkdir(parents=True, exist_ok=True)
        if old.is_dir() and not old.is_symlink():
            # -n: what both places hold is the same file; hard links keep it cheap.
            subprocess.run(["cp", "-al", "--no-clobber", f"{old}/.", f"{new}/"], check=True, capture_output=True)
            shutil.rmtree(old)
        if not old.is_symlink():
            old.symlink_to(f"usr/{name}")
