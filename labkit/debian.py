"""Debian's packages for an ordinary user: fetch a closure, unpack it, no root.

``apt-get`` does the work (dependency resolution, downloads, signatures). It is given state, cache,
sources, keys and an empty status file of its own, so it neither needs root nor looks at what the
system has installed or which system it is: the same packages arrive on Debian, on Ubuntu and on
what descends from them. Of the system's settings only its proxies and a nearer mirror are used.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import LabError, NotPossibleHere
from .files import full, locked, telling
from .paths import cache_dir, text_beside
from .saying import say

#: Package lists older than this many seconds are refreshed before a fetch.
LISTS_MAX_AGE = 24 * 3600

#: The suite that tools and lab images come from: a released one, whose packages stay as they are.
STABLE = "trixie"

#: Where Debian says to fetch from when no mirror is nearer (https://www.debian.org/mirror/list).
DEFAULT_MIRROR = "http://deb.debian.org/debian"

#: Debian's public archive keys (package debian-archive-keyring 2025.1), so that signatures are
#: checked on systems that know nothing of Debian.
KEYRING = Path(__file__).resolve().parent / "keyring"

#: The system's own sources, looked at for a mirror only.
_SYSTEM_SOURCES = Path("/etc/apt")

Progress = Callable[[str], None]


def available() -> bool:
    """Whether this machine has the package client (``apt-get`` and ``dpkg-deb``)."""
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


def architecture() -> str:
    """This machine's Debian architecture name, such as ``amd64``."""
    tool = shutil.which("dpkg")
    if tool:  # which may be there without its data, or be another system's: it says darwin-arm64 on a Mac
        said = subprocess.run([tool, "--print-architecture"], capture_output=True, text=True).stdout.strip()
        if re.fullmatch(r"[a-z0-9]+", said):
            return said
    name = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386"}.get(name, name)


def mirrors() -> list[str]:
    """Where packages are fetched from, best first: ``$LABKIT_MIRROR``, else the system's own Debian mirror, else the public one."""
    chosen = os.environ.get("LABKIT_MIRROR")
    if chosen:
        return [chosen.rstrip("/")]
    found = []
    for path in (_SYSTEM_SOURCES / "sources.list", *sorted(_SYSTEM_SOURCES.glob("sources.list.d/*"))):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(("deb ", "URIs:")):
                found += re.findall(r"https?://\S+/debian(?=/?(?:\s|$))", line)
    return list(dict.fromkeys([*found, DEFAULT_MIRROR]))


def _require_client() -> None:
    if not available():
        raise NotPossibleHere(
            "Packages can't be fetched: this machine has no apt-get.",
            cause="labkit makes its engine and its images from Debian's packages.",
            next_step="Make an archive on a Debian or Ubuntu machine (labkit engine export FILE) and bring it here "
            "(labkit engine import FILE); for another engine's images, set LABKIT_BUSYBOX and LABKIT_PYTHON.",
        )


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
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Trusted": "/dev/null",
        "Dir::Etc::TrustedParts": KEYRING,
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",  # no switch to the _apt user: we aren't root
        "APT::Update::Error-Mode": "any",  # a list that could not be fetched is no list
        "Debug::NoLocking": "true",  # dpkg's lock is root's; ours is fetch()'s
        "Acquire::Retries": "3",
        "Acquire::Languages": "none",
    }
    tool = "apt-cache" if arguments[0] == "madison" else "apt-get"
    command = [tool, "-qq"] if tool == "apt-cache" else [tool, "-qq", "-y"]
    for key, value in options.items():
        command += ["-o", f"{key}={value}"]
    status, output, errors = _watched([*command, *arguments], where or folder)
    if status:
        raise _refused(errors.strip(), folder)
    return output


def _refused(message: str, folder: Path) -> LabError:
    if "No space left" in message or "enough free space" in message:
        return full(folder)
    last = message.splitlines()[-1] if message else "no reason given"
    for row in tomllib.loads(text_beside(__file__, "debian.toml"))["refusals"]:
        told = next((line for line in message.splitlines() if re.search(row["pattern"], line)), None)
        if told:
            return LabError(f"{row['what']}: {told.strip()}", cause=row["cause"], next_step=row["next_step"])
    return LabError(
        f"apt-get could not finish: {last}.",
        cause="Most often the network is down or the package lists are out of reach.",
        next_step="Check that apt-get update works here, then run the command again.",
    )


def _update(folder: Path, suite: str, arch: str) -> None:
    # From the first mirror that has the suite; the refusal of the first is what is told.
    refusals: list[LabError] = []
    for mirror in mirrors():
        (folder / "sources.list").write_text(f"deb {mirror} {suite} main\n", encoding="utf-8")
        try:
            _apt(folder, arch, "update")
            return
        except LabError as reason:
            refusals.append(reason)
    raise refusals[0]


def _watched(command: list[str], where: Path) -> tuple[int, str, str]:
    """Run a command in a folder that it writes to: its status, output and errors.

    When the disk fills up under its lists, apt-get waits for a helper that has given up, for
    ever; so the space is looked after from here.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        cwd=where, env={**os.environ, "LC_ALL": "C"},  # its refusals are recognized by their words
        start_new_session=True, close_fds=False,  # it keeps the lock, also where this process is killed
    )  # fmt: skip
    tight = 0
    try:
        while True:
            try:
                output, errors = process.communicate(timeout=1)
                return process.returncode, output, errors
            except subprocess.TimeoutExpired:
                tight = tight + 1 if shutil.disk_usage(where).free < 64 * 1024 else 0
                if tight >= 3:
                    raise full(where) from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # an interrupt reaches us alone: it has a session of its own
        process.communicate()
        raise


def _known(folder: Path, arch: str, names: Sequence[str]) -> list[str]:
    # Those of the names that the package lists hold.
    if not names:
        return []
    listed = {line.split("|", 1)[0].strip() for line in _apt(folder, arch, "madison", *names).splitlines()}
    return [name for name in names if name in listed]


def fetch(
    packages: Sequence[str],
    *,
    suite: str = STABLE,
    arch: str | None = None,
    progress: Progress | None = None,
    optional: Sequence[str] = (),
    skip: re.Pattern[str] | None = None,
) -> list[Path]:
    """Download the packages and all they depend on; return the ``.deb`` files.

    Args:
        packages: package names, each optionally ``name=version``.
        suite: Debian's name of a release, such as ``trixie``.
        arch: Debian architecture; this machine's by default.
        progress: called with one line of text at each step; what is said is heard by who listens otherwise.
        optional: more packages, left out silently where the suite hasn't got them.
        skip: dependencies whose names match are neither downloaded nor returned.

    Files already in the cache are not downloaded again, so an interrupted fetch resumes.

    Raises:
        NotPossibleHere: no ``apt-get`` here.
        LabError: no mirror, a suite that is gone, a wrong signature, a download that failed, a full disk.
    """
    _require_client()
    arch = arch or architecture()
    tell = progress or say
    folder = cache_dir("packages", suite, arch)
    # Two kernels may prepare at once; the second waits and then finds the work done.
    with telling("LABKIT_CACHE", folder), locked(folder / "lock") as handle:
        os.set_inheritable(handle.fileno(), True)
        stamp = folder / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_MAX_AGE:
            tell("Reading package lists")
            _update(folder, suite, arch)
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
            tell(f"Downloading {len(missing)} packages, {megabytes:.0f} MB")
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
        done = subprocess.run(
            ["dpkg-deb", "-x", str(deb), str(into)], capture_output=True, text=True, errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if done.returncode:
            if "No space left" in done.stderr:
                raise full(into)
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
