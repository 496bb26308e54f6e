"""What the lab images hold, and how each is made from Debian packages.

Two images serve most labs. ``labkit/busybox:1`` (2 MB) is one static program with many names.
``labkit/python:1`` adds Debian's Python; the observer and the sample apps run in it.
``labkit/registry:1`` holds Debian's build of the registry that the Docker project wrote.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import debian
from ..errors import LabError, NotPossibleHere
from ..paths import cache_dir
from . import archive

BUSYBOX = "labkit/busybox:1"
PYTHON = "labkit/python:1"
REGISTRY = "labkit/registry:1"

#: Raised by one whenever a recipe changes what it makes, so that old archives and images are not reused.
RECIPE = 6

#: Carried by the base images instead of a session: they are a cache, not a lab's leftovers.
BASE_LABEL = {"labkit.base": "1", "labkit.recipe": str(RECIPE)}

# Needed by packages that python3 depends on, but not by what the labs run.
_NOT_IN_PYTHON = (
    "dpkg", "tar", "gcc-", "libselinux", "libpcre2", "libmd0", "libacl1", "libdb5", "libkrb5",
    "libk5", "libkeyutils", "libgssapi", "libcom-err", "libtirpc", "libnsl", "readline-common",
    "libreadline", "libncurses", "media-types", "tzdata", "debconf", "perl", "libperl",
)  # fmt: skip
_NOT_IN_STDLIB = (
    "idlelib", "lib2to3", "ensurepip", "distutils", "pydoc_data", "test", "tkinter",
    "turtledemo", "curses", "dbm", "sqlite3", "venv", "wsgiref", "xmlrpc",
)  # fmt: skip
_COMPILED = ("", "json", "encodings", "collections", "importlib", "importlib/metadata", "importlib/resources", "html",
             "http", "email", "urllib", "concurrent", "concurrent/futures", "logging", "pathlib", "re", "ctypes",
             "sysconfig", "unittest", "zipfile", "zipfile/_path")  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One lab image: its reference, the packages it starts from and its default command."""

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]


RECIPES = {
    BUSYBOX: Recipe(BUSYBOX, ("busybox-static",), ("sh",)),
    PYTHON: Recipe(PYTHON, ("busybox-static", "python3"), ("python3",)),
    REGISTRY: Recipe(
        REGISTRY, ("busybox-static", "docker-registry"), ("docker-registry", "serve", "/etc/docker/registry/config.yml")
    ),
}


def _skeleton(root: Path) -> None:
    debian.merge_usr(root)
    for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "home"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nlearner:x:1000:1000::/home:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nlearner:x:1000:\n")


def _busybox_binary(arch: str, scratch: Path, progress: debian.Progress | None) -> Path:
    """The static busybox of the package; the installed one where nothing can be fetched."""
    try:
        [deb] = [d for d in debian.fetch(["busybox-static"], arch=arch, progress=progress)
                 if debian.package_name(d) == "busybox-static"]  # fmt: skip
    except LabError:
        installed = shutil.which("busybox")
        static = installed and b"/lib64/ld-" not in Path(installed).read_bytes()[:4096]
        if installed and static and debian.available() and arch == debian.architecture():
            return Path(installed)
        raise
    debian.unpack([deb], scratch)
    return next(path for path in (scratch / "bin/busybox", scratch / "usr/bin/busybox") if path.exists())


def _install_busybox(root: Path, arch: str, progress: debian.Progress | None) -> None:
    binary = _busybox_binary(arch, root.with_name("busybox"), progress)
    target = root / "usr/bin/busybox"
    shutil.copyfile(binary, target)
    target.chmod(0o755)
    listed = subprocess.run([target, "--list"], capture_output=True, text=True) if _native(arch) else None
    names = listed.stdout.split() if listed and listed.returncode == 0 else _APPLETS
    # The engine's init and the packages' own programs keep their names.
    for name in names:
        link = root / "usr/bin" / name
        if name not in ("busybox", "dpkg", "dpkg-deb", "rpm") and not link.exists():
            link.symlink_to("busybox")


# Names for an image of a foreign architecture, whose busybox can't be asked for its list.
_APPLETS = (
    "sh ash awk basename cat chmod chown chroot cp cut date dd df dmesg du echo env expr false find free "
    "getopt grep gunzip gzip head hostname httpd id ifconfig ip kill killall ln ls md5sum mkdir mkfifo mknod "
    "mktemp more mount mv nc netstat nice nohup nsenter od ping pivot_root printf ps pwd readlink renice rm "
    "rmdir route sed seq setsid sha256sum sleep sort stat sync sysctl tail tar tee test time timeout top touch "
    "tr true tty umount uname uniq unshare uptime usleep vi wc wget which whoami xargs yes"
).split()


def _native(arch: str) -> bool:
    return debian.available() and arch == debian.architecture()


def _install_python(root: Path, arch: str, progress: debian.Progress | None) -> None:
    debs = [
        deb
        for deb in debian.fetch(["python3"], arch=arch, progress=progress)
        if not debian.package_name(deb).startswith(_NOT_IN_PYTHON)
    ]
    debian.unpack(debs, root)
    debian.merge_usr(root)
    for waste in ("usr/share", "usr/lib/python3/dist-packages", "etc/python3", "usr/lib/valgrind"):
        shutil.rmtree(root / waste, ignore_errors=True)
    for folder in root.glob("usr/lib/*-linux-gnu*/gconv"):
        shutil.rmtree(folder)  # character sets that Python doesn't use
    [stdlib] = root.glob("usr/lib/python3.*")
    for name in _NOT_IN_STDLIB:
        shutil.rmtree(stdlib / name, ignore_errors=True)
    for config in stdlib.glob("config-3.*"):
        shutil.rmtree(config)
    if _native(arch):
        _compile(root, stdlib)


def _compile(root: Path, stdlib: Path) -> None:
    """Byte-compile what is used most, with the image's own interpreter: it starts twice as fast.

    ``-B``: what an interpreter writes beside its own imports goes by the sources' times, which the image's layer sets,
    so it is stale there; and compileall leaves it as it finds it.
    """
    found = sorted(root.glob("usr/lib/*-linux-gnu*/ld-linux-*"))
    if not found:
        return
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu*"))
    command = [
        str(found[0]), "--library-path", libraries, str(root / f"usr/bin/{stdlib.name}"), "-S", "-B", "-m",
        "compileall", "-q", "-l", "--invalidation-mode", "unchecked-hash", "-s", str(root),
        *[str(stdlib / name) for name in _COMPILED if (stdlib / name).is_dir()],
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0"}
    subprocess.run(command, env=environment, capture_output=True)  # without it Python is only slower


def _install_registry(root: Path, arch: str, progress: debian.Progress | None) -> None:
    """The registry's program and the C library it is linked with; its init scripts stay out."""
    wanted = ("docker-registry", "libc6")
    debs = debian.fetch(["docker-registry"], arch=arch, progress=progress)
    debian.unpack([deb for deb in debs if debian.package_name(deb) in wanted], root)
    debian.merge_usr(root)
    for waste in ("usr/share", "etc", "var", "usr/lib/systemd"):
        shutil.rmtree(root / waste, ignore_errors=True)
    for folder in root.glob("usr/lib/*-linux-gnu*/gconv"):
        shutil.rmtree(folder)
    config = root / "etc/docker/registry/config.yml"
    config.parent.mkdir(parents=True)
    config.write_text(_REGISTRY_CONFIG)


# Everything in the container's own writable layer: it goes with the container.
_REGISTRY_CONFIG = """version: 0.1
log: {accesslog: {disabled: false}, level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""


def make(name: str, arch: str, *, progress: debian.Progress | None = None) -> Path:
    """Make one lab image's archive, or find the one made before.

    Args:
        name: a key of :data:`RECIPES`.
        arch: Debian's name of the engine's architecture, such as ``amd64``.
        progress: called with a line of text at each step.

    Returns:
        The archive in the user's cache, ready for ``docker load``.

    Raises:
        NotPossibleHere: this machine has no Debian packages to make it from.
        LabError: the disk is full or packages are out of reach.
    """
    recipe = RECIPES[name]
    stem = name.replace("labkit/", "").replace(":", "-")
    target = cache_dir("images") / f"{stem}-{arch}-r{RECIPE}.tar"
    if target.exists():
        return target
    if not debian.available():
        raise NotPossibleHere(
            f"The image {name} is not on the engine and can't be made here: no apt-get.",
            next_step=f"Set {variable(name)} to an image given by digest (NAME@sha256:…), "
            "or load the archive made on a Debian or Ubuntu machine.",
        )
    (progress or (lambda line: None))(f"Making {name} from Debian packages")
    with tempfile.TemporaryDirectory(prefix=f"{stem}-", dir=cache_dir("images")) as folder:
        root = Path(folder, "root")
        try:
            root.mkdir()
            if "python3" in recipe.packages:
                _install_python(root, arch, progress)
            if "docker-registry" in recipe.packages:
                _install_registry(root, arch, progress)
            _skeleton(root)
            _install_busybox(root, arch, progress)
            layer = archive.layer_from_folder(root)
            config = archive.image_config(
                [archive.sha256(layer)],
                architecture=arch,
                command=recipe.command,
                labels=BASE_LABEL,
                created_by=[f"labkit: {' '.join(recipe.packages)} from Debian packages"],
            )
            archive.write_archive(target, name, [layer], config)
        except OSError as fault:
            if fault.errno in (28, 122):  # ENOSPC, EDQUOT
                raise LabError(
                    f"The disk under {cache_dir('images')} filled up while making {name}.",
                    next_step="Free some space, or set LABKIT_CACHE to a larger disk.",
                ) from fault
            raise
    return target


def variable(name: str) -> str:
    """The environment variable that names another source for a lab image (``LABKIT_BUSYBOX``)."""
    return "LABKIT_" + name.partition("/")[2].partition(":")[0].upper()
