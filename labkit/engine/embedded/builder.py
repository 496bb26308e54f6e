"""From packages to a disk image that boots into dockerd. No root, nothing outside the cache."""

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from ... import debian
from ...errors import LabError, NotPossibleHere
from ...paths import cache_dir
from ...saying import say
from . import accel, host, initramfs, keys, machine, packages, qemu, rootfs, sharing, store

Images = Sequence[Path] | Callable[..., Sequence[Path]] | None

#: Bytes that a build needs on the cache's disk, packages and snapshot included.
SPACE = int(2.2e9)

#: What a build's folder holds and must stay as it is.
FILES = ("kernel", "initrd", "base.qcow2", "docker", *keys.FILES)


def home() -> Path:
    """The folder of all builds."""
    return cache_dir("embedded")


def scratch() -> Path:
    """Where running machines keep what they change on their disks: in the cache, or where that is shared
    read-only, in ``$TMPDIR`` or ``/var/tmp``, which keep large files."""
    try:
        place = cache_dir("embedded", "scratch")
        if os.access(place, os.W_OK):
            return place
    except LabError:
        pass
    above = Path(os.environ.get("TMPDIR") or "/var/tmp")
    if not os.access(above, os.W_OK):
        above = Path(tempfile.gettempdir())
    # A folder below it: others share such a cache, and their scratch is there, too. (And QEMU takes a TMPDIR of exactly
    # /tmp for /var/tmp: block.c, up to 7.2.)
    place = above / f"labkit-scratch-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.lstat().st_uid != os.getuid():
        raise LabError(f"{place} belongs to somebody else.", next_step="Set TMPDIR to a folder of your own.")
    return place


def recipe(variant: packages.Variant) -> str:
    """A short name for how a machine is made: another recipe, another build."""
    sources = [Path(__file__).parent / name for name in ("packages.py", "rootfs.py", "initramfs.py", "keys.py")]
    sources += sorted((Path(__file__).parent / "guest").iterdir())
    # The machine holds the lab images from the start: others, another machine.
    sources.append(Path(__file__).parents[2] / "images/recipes.py")
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in sources if path.is_file()]
    return f"{variant.name}-" + store.key(texts, FILES, host.machine_type(variant.arch), str(variant))


def imported(variant: packages.Variant) -> str:
    """The same for machines that were imported, whatever the recipe of the labkit that made them."""
    return f"{variant.name}-{host.machine_type(variant.arch)}-imported"


def current(variant: packages.Variant | None = None) -> Path | None:
    """The newest whole build of a variant's present recipe, or import, whichever images it holds; None when there
    is none.

    Without a variant, the one asked for by the environment, or what took its place when it failed. Where nobody
    asked for any, an import of whichever suite is better than none.
    """
    if variant is None:
        chosen = packages.variant()
        anything = [f"*-{host.machine_type()}-imported"] if not packages.asked_for() else []
        return current(chosen) or _stand_in(chosen) or _newest(anything)
    return _newest([recipe(variant), imported(variant)])


def _newest(names: Sequence[str]) -> Path | None:
    found = [folder for name in names for folder in home().glob(f"{name}-*") if "." not in folder.name]
    whole = [folder for folder in found if store.intact(folder)]
    return max(whole, key=lambda folder: (folder / store.MANIFEST).stat().st_mtime, default=None)


def _stand_in(chosen: packages.Variant) -> Path | None:
    # A build of the last good suite that was made because the chosen one failed, and says so.
    place = current(packages.Variant(packages.LAST_GOOD, chosen.store)) if chosen.suite == packages.CURRENT else None
    return place if place and (store.manifest(place) or {}).get("instead_of") == str(chosen) else None


def archives(folder: Path) -> list[Path]:
    """The image archives that a build was made with, as far as they are still in the cache."""
    names = (store.manifest(folder) or {}).get("images", ())
    return [path for path in (cache_dir("images") / name for name in names) if path.exists()]


def _holds_images(folder: Path) -> bool:
    """Whether there is anything to run in a build's engine; what was imported is as it is."""
    known = store.manifest(folder) or {}
    return bool(known.get("images")) or "-imported-" in folder.name


def versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a build was made of: the suite, the kernel's release, and the versions of the packages that matter."""
    found = {"Debian": manifest["suite"], "kernel": manifest["kernel"]}
    for name in manifest["packages"]:
        package, version = name.split("_")[:2]
        if package in ("docker.io", "containerd", "runc"):
            found[package] = version.replace("%3a", ":")
    return found


def _target(images: Sequence[Path], variant: packages.Variant) -> Path:
    return home() / f"{recipe(variant)}-{store.key([store.file_digest(path) for path in images])[:8]}"


def build(*, images: Images = None, force: bool = False, variant: packages.Variant | None = None) -> Path:
    """Make the machine's files unless they are there; returns their folder.

    Args:
        images: archives (``docker save`` format) that the machine's engine shall hold from the start,
            or a function that makes them when they are needed: any build that holds some will do. None: any
            build will do.
        force: make it anew, with the newest packages.
        variant: which machine; the environment's choice by default. Only then, when the current suite's
            packages fail to build or to boot, the last good suite takes its place, with a sentence.

    Two builds at once: the second waits, and uses what the first has made.

    Raises:
        NotPossibleHere: no QEMU, no package client.
        LabError: no space, packages out of reach, a machine that does not boot.
    """
    if not force and (images is None or callable(images)):
        have = current(variant)
        if have and (images is None or _holds_images(have)):
            return have
    host.find_qemu(variant.arch if variant else "")  # before anything is downloaded
    host.find_mke2fs()
    if callable(images):
        store.require_space(home(), SPACE)
    wanted = list(images() if callable(images) else images or ())
    chosen = variant or packages.variant()
    try:
        return _build(wanted, force, chosen)
    except NotPossibleHere:
        raise
    except LabError as reason:
        if variant is not None or chosen.suite != packages.CURRENT:
            raise
        store.require_space(home(), SPACE)  # a full disk is not the suite's fault
        instead = packages.Variant(packages.LAST_GOOD, chosen.store)
        say(f"{chosen} failed ({str(reason).splitlines()[0]}): taking {instead}, the last that is known to work")
        try:
            return _build(wanted, force, instead, instead_of=str(chosen))
        except LabError:
            raise reason from None  # neither: what ails the first is what is told


def _build(images: Sequence[Path], force: bool, variant: packages.Variant, **facts: object) -> Path:
    target = _target(images, variant)
    started = time.time()
    with store.locked(home(), lambda: say("Waiting for another build to finish")):
        if store.intact(target) and (not force or (target / store.MANIFEST).stat().st_mtime > started):
            return target
        store.require_space(home(), SPACE)
        with store.made_aside(target) as aside:
            _make(aside, target / "keys", images, variant, facts)
        _clear_old(target)
    return target


def _make(
    folder: Path, earlier: Path, images: Sequence[Path], variant: packages.Variant, facts: Mapping[str, object]
) -> None:
    begun = time.monotonic()
    arch = variant.arch or debian.architecture()
    must, optional = packages.wanted(arch)
    debs = debian.fetch(must, suite=variant.suite, arch=arch, optional=optional, skip=packages.UNUSED)
    say(f"Unpacking {len(debs)} packages ({variant})")
    root = folder / "root"
    keys.make(folder / "keys", earlier)
    busybox = (root if arch == debian.architecture() else _tools(folder / "tools", variant)) / "usr/bin/busybox"
    kernel = rootfs.make(debs, root, images, busybox=busybox, settings=packages.STORES[variant.store])
    release = rootfs.kernel_release(kernel)
    table = initramfs.trim_modules(root, release, busybox)
    (folder / "initrd").write_bytes(initramfs.make(root, release, table))
    shutil.move(kernel, folder / "kernel")
    shutil.rmtree(root / "boot", ignore_errors=True)
    shutil.copy(root / "usr/bin/docker", folder / "docker")
    say("Writing the disk image")
    rootfs.disk_image(root, folder / "disk.raw")
    _discard(root)
    shutil.rmtree(folder / "tools", ignore_errors=True)
    _furnish(folder, images, variant.arch)
    # Holes in a raw image would be lost where a cache is copied into a container image.
    found = host.find_qemu(arch=variant.arch)
    host.run_tool([found.img, "convert", "-O", "qcow2", "disk.raw", "base.qcow2"], folder)
    (folder / "disk.raw").unlink()
    store.seal(
        folder,
        FILES,
        suite=variant.suite,
        store=variant.store,
        packages=sorted(deb.name for deb in debs),
        kernel=release,
        **facts,
        images=[path.name for path in images],
        seconds=round(time.monotonic() - begun, 1),
    )


def _tools(root: Path, variant: packages.Variant) -> Path:
    # This processor's busybox, for a machine of another one's: the same package, so the same list of tools.
    debian.unpack(debian.fetch(["busybox-static"], suite=variant.suite, skip=packages.UNUSED), root)
    debian.merge_usr(root)
    return root


def _discard(root: Path) -> None:
    # Packages may hold folders that their owner can't enter as they are.
    for folder in root.rglob("*"):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mode & 0o700 != 0o700:
            folder.chmod(0o700)
    shutil.rmtree(root)


def _furnish(folder: Path, images: Sequence[Path], arch: str) -> None:
    """First boot, on the image itself: owners put right, swap made, images loaded; then a clean end."""
    found = host.find_qemu(arch=arch)
    accelerator = accel.choose(found, folder / "kernel", folder / "initrd", arch=arch)
    shape = qemu.Shape(host.fitting_memory(host.memory_limit()), min(2, host.cpu_limit()), accelerator, arch)
    say("First boot" + ("" if accelerator != "tcg" else " (emulated: about 20 s)"))
    running = cold_boot(folder, found, shape, folder, disk="disk.raw,format=raw", private=False, keyless=True)
    try:
        _load(running, images)
        _finish(running)
    finally:
        running.close()
        (folder / "ram").unlink(missing_ok=True)


def cold_boot(
    build: Path, found: host.Qemu, shape: qemu.Shape, work: Path, *, disk: str, private: bool, keyless: bool = False
) -> machine.Machine:
    """Boot from the disk image; returns a machine whose engine answers (``keyless``: only inside it)."""
    running = machine.Machine(sharing.keys_of(build))
    try:
        running.start(
            lambda own, port: qemu.command(
                found.path, shape, build, own, disk=disk, ram="ram", private=private, port=port
            ),
            work=work,
            scratch=scratch(),
        )
        running.wait_for_clock(machine.BOOT_LIMIT)
        if keyless:
            running.start_keyless()
        else:
            running.hand_over_keys()
            running.wait_for_dockerd(machine.BOOT_LIMIT)
    except BaseException:
        running.close()
        raise
    return running


def _load(running: machine.Machine, images: Sequence[Path]) -> None:
    # From the machine's own disk: through the network, an emulated processor would have to decrypt it all.
    for path in images:
        say(f"Loading image {path.name}")
        _require(running, f"docker -H unix:///run/docker.sock load -q -i {rootfs.IMAGES}/{shlex.quote(path.name)}")


def _require(running: machine.Machine, command: str) -> None:
    status, output = running.shell(command, 900)
    if status:
        raise LabError(
            f"The machine's first boot failed: {output.strip() or command}.",
            next_step="Run the same command again; if it fails again, please report it.",
        )


def _finish(running: machine.Machine) -> None:
    commands = (
        "/usr/lib/labkit/service stop",
        # Every machine made from this disk is an engine of its own. (Engine 20.10 keeps a key for its name.)
        "rm -f /etc/docker/key.json /var/lib/docker/engine-id",
        # busybox lists modules in text only; the kernel loads what it lacks with kmod, which wants its own index.
        "/usr/sbin/depmod -a",
        # Written in full: the kernel can't swap to a file with holes.
        "dd if=/dev/zero of=/swapfile bs=1M count=128 2>&1 && chmod 600 /swapfile && mkswap /swapfile",
        # What was deleted leaves holes in the image again.
        f"rm -rf {rootfs.IMAGES} /var/log/* && sync && fstrim / && sync",
    )
    for command in commands:
        _require(running, command)


def _clear_old(kept: Path) -> None:
    # Builds of older recipes, unless a machine still runs from them or another checkout may want them; and the
    # packages that earlier versions of labkit kept under another name.
    variants = [packages.Variant(suite, kind) for suite in packages.SUITES for kind in packages.STORES]
    current_recipes = {name(each) for each in variants for name in (recipe, imported)}
    for folder in home().glob("*-*"):
        known = folder == kept or folder.name.rsplit("-", 1)[0] in current_recipes
        if not known and not store.recent(folder) and not in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for old in cache_dir("packages").glob("*/state"):
        shutil.rmtree(old.parent, ignore_errors=True)


def in_use(folder: Path) -> bool:
    """Whether a running process of this user's, or one that may be seen, names the folder on its command line."""
    lines = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return any(f"{folder}/" in word for line in lines for word in line)
