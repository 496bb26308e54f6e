"""Programs from Debian's packages, unpacked into the cache and started from there: nothing is installed.

A program from a newer system often can't use this one's C library. Then it is started through the loader and
with the libraries of its own packages; small scripts hide which of both it is.
"""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from ... import debian
from ...errors import LabError
from ...files import telling
from ...paths import cache_path
from ...saying import say
from . import store

#: Dependencies of maintainer scripts, and what no program here needs to start.
UNUSED = re.compile(
    r"^(perl.*|libperl.*|debconf|dpkg|adduser|passwd|tzdata|gcc-\d+-base|libc-gconv-modules-extra|libc-bin|libc-l10n"
    r"|init-system-helpers|systemd.*|logsave)$"
)

#: Files that are not needed once unpacked.
TRIMMED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian",
           "usr/share/bash-completion", "usr/share/zsh", "usr/share/fish", "usr/lib/*/gconv", "usr/lib/*/audit",
           "usr/share/applications", "usr/share/icons", "usr/share/bug", "usr/lib/systemd", "usr/lib/udev",
           "etc/init.d", "etc/cron.d", "var")  # fmt: skip


@dataclass(frozen=True)
class Program:
    """One program of a kit.

    ``path`` is its place in the packages; ``options`` come before all others, and ``settings`` are variables it
    starts with; ``{root}`` in both is the packages' root. ``check`` are arguments with which it only says
    something and ends well.
    """

    path: str
    check: tuple[str, ...] = ("--version",)
    options: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Kit:
    """Programs that come together.

    Args:
        name: the kit's name in the cache.
        title: what it is, in words for a learner.
        packages: Debian packages that bring them.
        programs: where each is started, relative to the kit's folder (``bin/docker``), and which it is.
        suites: Debian's suites to take them from; the second where the first fails.
        skip: more dependencies that it does without, as a pattern of their names.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    programs: tuple[tuple[str, Program], ...]
    suites: tuple[str, ...] = (debian.STABLE,)
    skip: str = ""


def folder(kit: Kit) -> Path:
    """Where a kit is or would be: another recipe, processor or C library, another folder."""
    name = store.key(asdict(kit), UNUSED.pattern, TRIMMED, _LAUNCHER, platform.machine(), platform.libc_ver())
    return cache_path("programs", f"{kit.name}-{name}")


def existing(kit: Kit) -> Path | None:
    """The kit's folder where it is whole, else None. Makes nothing, writes nothing."""
    place = folder(kit)
    return place if store.intact(place) else None


def ensure(kit: Kit) -> Path:
    """The kit's folder; fetched and unpacked first unless it is there and whole.

    A kit is whole or not there: what an interrupted try left is removed, and a damaged one is made anew.

    Raises:
        NotPossibleHere: no package client here.
        LabError: no mirror, a full disk, a cache that can't be written, programs that don't start.
    """
    place = existing(kit)
    if place is not None:
        return place
    place = folder(kit)
    waiting = f"Waiting: {kit.title} is being fetched already"
    with telling("LABKIT_CACHE", place.parent), store.locked(place.parent, lambda: say(waiting)):
        if not store.intact(place):
            with store.made_aside(place) as aside:
                _make(kit, aside)
            _clear_old(kit, place)
    return place


def _make(kit: Kit, aside: Path) -> None:
    root = aside / "root"
    refusals: list[LabError] = []
    skip = re.compile("|".join(filter(None, (UNUSED.pattern, kit.skip))))
    for suite in kit.suites:
        try:
            say(f"Fetching {kit.title} (once)")
            debs = debian.fetch(kit.packages, suite=suite, skip=skip)
            debian.unpack(debs, root)
            break
        except LabError as reason:
            shutil.rmtree(root, ignore_errors=True)
            refusals.append(reason)
    else:
        raise refusals[0]  # of the first: that is the one wanted
    for pattern in TRIMMED:
        for path in root.glob(pattern):
            shutil.rmtree(path)
    debian.merge_usr(root)
    native = all(_starts([root / program.path, *program.check]) for _, program in kit.programs)
    for name, program in kit.programs:
        script = aside / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_launcher(name, program, root, native), encoding="utf-8")
        script.chmod(0o755)
        said = _said([script, *program.check])
        if "Permission denied" in said:
            raise LabError(
                f"No program may be started under {aside.parent}: {said}.",
                cause="Its disk is mounted with noexec.",
                next_step="Set LABKIT_CACHE to a folder on another disk.",
            )
        if said:
            raise LabError(
                f"{script.name}, from Debian {suite}'s packages, does not start here: {said}.",
                next_step="Please report it, with the output of: labkit doctor",
            )
    files = [path.relative_to(aside) for path in aside.rglob("*") if path.is_file() and not path.is_symlink()]
    aside.chmod(0o755)  # there is nothing private in it: a class may share one cache
    store.seal(aside, map(str, files), packages=sorted(deb.name for deb in debs), suite=suite, native=native)


#: Finds its folder from where it is, so that a cache can be copied.
_LAUNCHER = """#!/bin/sh
root=${{0%/*}}/{up}root
{settings}exec {loader}"$root/{path}"{options} "$@"
"""


def _launcher(name: str, program: Program, root: Path, native: bool) -> str:
    place = {"root": "$root"}
    loader = ""
    if not native:
        found = sorted(root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"))
        if not found:
            raise LabError(f"The packages of {name} brought no loader.", next_step="Run the same command again.")
        # What a program starts must be started the same way: it is told the script's name as its own.
        libraries = sorted({path.parent.relative_to(root) for path in root.glob("usr/lib/**/*.so*")})
        path = ":".join(f"$root/{library}" for library in libraries)
        loader = f'"$root/{found[0].relative_to(root)}" --argv0 "$0" --library-path "{path}" '
    settings = "".join(f'export {key}="{value.format(**place)}"\n' for key, value in program.settings)
    options = "".join(f' "{option.format(**place)}"' for option in program.options)
    up = "../" * name.count("/")
    return _LAUNCHER.format(up=up, settings=settings, loader=loader, path=program.path, options=options)


def _said(command: Sequence[str | Path]) -> str:
    """Why a program doesn't start, in its own words; empty where it does."""
    with tempfile.TemporaryDirectory() as home:  # it shall leave nothing in this user's home
        try:
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=60, stdin=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "HOME": home},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as fault:
            return str(fault)
    return (done.stderr.strip() or "no reason given").splitlines()[-1] if done.returncode else ""


def version_of(path: str) -> str:
    """A program's first words of itself, whole: a snapshot is only good for the same build. Empty where it doesn't run."""
    return _version(path, os.stat(path).st_mtime_ns)


@lru_cache
def _version(path: str, _changed: int) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""


def _starts(command: Sequence[str | Path]) -> bool:
    return not _said(command)


def _clear_old(kit: Kit, kept: Path) -> None:
    for old in kept.parent.glob(f"{kit.name}-*"):
        if old != kept and not store.recent(old):
            shutil.rmtree(old, ignore_errors=True)
