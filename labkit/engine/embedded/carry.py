"""A built machine in one file, and from that file: for a hub's image, a room's USB stick, a Mac without apt.

The file holds no private key: a build's disk never has one, its snapshot is of a machine that never had one, and
whoever imports it makes keys of their own.
"""

import contextvars
import hashlib
import json
import os
import posixpath
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import labkit

from ...errors import BadInput, LabError, NotPossibleHere
from ...files import telling
from ...paths import cache_dir
from ...saying import say
from . import accel, archive, builder, download, host, keys, packages, qemu, sharing, snapshot, store
from .archive import Archive, Damaged

#: Folders of the cache whose own folders travel along, each as it is, if its manifest says that it is whole.
ALONG = ("programs",)

#: What of a build's files travels.
_BUILD = tuple(name for name in builder.FILES if name not in keys.FILES)


def export(target: Path, *, images: builder.Images = None, variant: packages.Variant | None = None) -> dict[str, Any]:
    """Write the engine into one file, built first where it isn't yet.

    Args:
        target: the file; one that is there is replaced when the new one is whole.
        images, variant: which engine, as for :func:`builder.build`.

    Returns its table of contents: the facts, and a row for each file.

    Raises:
        BadInput: no such folder.
        NotPossibleHere, LabError: as for a build; no space, a damaged build.
    """
    if target.is_dir() or not target.parent.is_dir():
        what = f"{target} is a folder" if target.is_dir() else f"There is no folder {target.parent}"
        raise BadInput(f"{what}.", next_step="Name a file in a folder that exists, such as engine.labkit")
    build = builder.build(images=images, variant=variant)
    if not store.intact(build, thorough=True):
        raise LabError(
            "The engine's files are damaged: they are not exported.", next_step="First: labkit engine build --force"
        )
    arch = variant.arch if variant else ""
    known, found = store.manifest(build) or {}, host.find_qemu(arch)
    # Emulated, wherever it is made: that snapshot resumes on every machine with this QEMU.
    shape = qemu.Shape(host.fitting_memory(host.memory_limit()), min(2, host.cpu_limit()), "tcg", arch)
    facts = {
        "labkit": labkit.__version__,
        "architecture": host.machine_type(arch),
        **{name: known[name] for name in ("suite", "store", "packages", "kernel", "images")},
    }
    files = {f"build/{name}": build / name for name in _BUILD}
    files |= {f"images/{path.name}": path for path in builder.archives(build)}
    links = {}
    for folder in _along():
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(cache_dir()).as_posix()
            if path.is_symlink():
                links[name] = os.readlink(path)
            elif path.is_file():
                files[name] = path
    with snapshot.keyless(build, found, shape) as saved:
        if saved is not None:
            row = store.manifest(saved) or {}
            facts["snapshot"] = {name: row[name] for name in ("shape", "qemu", "command")}
            files |= {f"snapshot/{name}": saved / name for name in snapshot.FILES}
        say(f"Writing {target}")
        archive.write(target, {**facts, "links": links}, files, builder.scratch())
    return Archive(target).facts


def _along() -> Iterator[Path]:
    for top in ALONG:
        for folder in sorted((cache_dir() / top).glob("*")):
            if "." not in folder.name and store.intact(folder):
                yield folder


def bring(source: str, *, shared: bool = False) -> Path:
    """Import an engine from a file or an ``http(s)`` address; returns its build's folder.

    Its private keys are made now. Two imports at once: the second waits, and finds it done.

    Args:
        shared: for all users of a machine, who may only read it. It has no keys: each user's labkit makes its own.

    Raises:
        BadInput: no such file, or it is no exported engine.
        NotPossibleHere: it is for another processor, or from a newer labkit.
        LabError: damaged, no connection, no space, a cache that can't be written.
    """
    began = time.time()
    if not re.match(r"https?://", source):
        return _import(Archive(Path(source).expanduser()), source, shared)
    folder = cache_dir("downloads")
    with store.locked(folder, lambda: say("Waiting for another import to finish")):
        done = _newest_from(source, began)
        if done:
            return done
        path = download.fetch(source, folder)
        try:
            done = _import(Archive(path), source, shared)
        except (BadInput, Damaged, NotPossibleHere):
            download.discard(source, folder)  # to go on with it would change nothing
            raise
        download.discard(source, folder)
        return done


def check(source: Path) -> None:
    """Raises what :func:`bring` would raise of a file that is no engine for this labkit and this processor."""
    _variant(Archive(source))


def _newest_from(source: str, began: float) -> Path | None:
    # What another import of the same address has brought since this one began.
    for folder in builder.home().glob("*-imported-*"):
        known = store.manifest(folder) or {}
        if known.get("imported", {}).get("source") == source:
            if (folder / store.MANIFEST).stat().st_mtime >= began and store.intact(folder):
                return folder
    return None


def _numbers(version: object) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", str(version))]


def _variant(found: Archive) -> packages.Variant:
    """The machine that an archive holds, if it is one for this labkit and this processor."""
    facts, path = found.facts, found.path
    theirs, ours = str(facts.get("labkit")), labkit.__version__
    if found.format > archive.FORMAT or _numbers(theirs) > _numbers(ours):
        raise NotPossibleHere(
            f"{path} was made by a newer labkit ({theirs}, format {found.format}) than this one "
            f"({ours}, format {archive.FORMAT}).",
            next_step="Update labkit here (git pull, or pip install --upgrade), then import it again.",
        )
    if found.format < archive.FORMAT:
        raise NotPossibleHere(
            f"{path} was made by an older labkit ({theirs}, format {found.format}; this one reads {archive.FORMAT}).",
            next_step="Export it again, with a labkit like this one.",
        )
    if facts.get("architecture") != host.machine_type():
        raise NotPossibleHere(
            f"{path} is for another processor: {facts.get('architecture')}; this machine's is {host.machine_type()}.",
            next_step="Export the engine on a machine with a processor like this one's.",
        )
    if facts.get("suite") not in packages.SUITES or facts.get("store") not in packages.STORES:
        raise NotPossibleHere(
            f"{path} holds an engine that this labkit does not know: "
            f"suite {facts.get('suite')!r}, image store {facts.get('store')!r}.",
            next_step=f"Known suites: {', '.join(packages.SUITES)}. Perhaps another labkit is installed there: update.",
        )
    return packages.Variant(facts["suite"], facts["store"])


def _sort(found: Archive) -> dict[str, str]:
    """Each member's place below the import's folder; only members that labkit itself would have written."""
    exact = {f"build/{name}": name for name in _BUILD}
    exact |= {f"snapshot/{name}": f"snapshots/{snapshot.KEYLESS}/{name}" for name in snapshot.FILES}
    places, pattern = {}, re.compile(rf"images/[^/]+|({'|'.join(ALONG)})/[^/]+/.+")
    for name in found.files:
        place = exact.get(name) or (name if pattern.fullmatch(name) else None)
        if place is None:
            raise BadInput(
                f"{found.path} holds {name!r}, which belongs to no engine that labkit knows.",
                next_step="Do not use it; get an export from somebody you trust.",
            )
        places[name] = place
    snapshots = [name for name in snapshot.FILES if f"snapshot/{name}" in places]
    missing = [name for name in exact if name not in places and (name.startswith("build/") or snapshots)]
    if missing or bool(snapshots) != ("snapshot" in found.facts):
        raise Damaged(found.path, f"it lacks {', '.join(missing) or 'facts about its snapshot'}")
    return places


def _links(found: Archive) -> dict[str, str]:
    links: dict[str, str] = found.facts.get("links", {})
    for name, target in links.items():
        inside = "/".join(name.split("/")[:2]) + "/"
        reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if name.split("/")[0] not in ALONG or not archive.safe(name) or not f"{reached}/".startswith(inside):
            raise archive.leads_outside(found.path, f"{name} -> {target}")
    return links


def _import(found: Archive, source: str, shared: bool) -> Path:
    variant, places, links = _variant(found), _sort(found), _links(found)
    if shared and "snapshot" not in found.facts:
        raise NotPossibleHere(
            f"{found.path} can't be shared: it holds no snapshot, so each of its users would have to save one.",
            next_step="Export an engine of the current suite, or let each user import this one.",
        )
    table = hashlib.sha256(json.dumps(found.facts, sort_keys=True).encode()).hexdigest()
    target = builder.home() / f"{builder.imported(variant)}-{table[:8]}"
    with store.locked(builder.home(), lambda: say("Waiting for another import or build to finish")):
        if store.intact(target) and sharing.shared(target) == shared:
            say("It is here already")
            os.utime(target / store.MANIFEST)  # the newest is what is used
            return target
        store.require_space(builder.home(), found.size())
        with telling("LABKIT_CACHE", builder.home()), store.made_aside(target) as aside:
            say(f"Unpacking {found.size() / 1e6:.0f} MB")
            _unpack(found, {name: aside / place for name, place in places.items()}, aside)
            for name, goal in links.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).symlink_to(goal)
            _hand_out(aside)
            if not shared:
                keys.make(aside / "keys", None if sharing.shared(target) else target / "keys")
            _seal(aside, found, source, shared)
            if shared:
                for path in (aside, *aside.rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644 | path.stat().st_mode & 0o111)
        _clear_older(target)
    return target


def _unpack(found: Archive, targets: dict[str, Path], aside: Path) -> None:
    # Trying an accelerator takes seconds of waiting, and only kernel and initrd: meanwhile the rest is unpacked.
    early = {name: targets[name] for name in ("build/kernel", "build/initrd")}
    found.unpack(early)
    emulator = host.have_qemu()
    with ThreadPoolExecutor(1) as pool:
        if emulator:
            work = contextvars.copy_context().run  # what is said there is heard as here
            tried = pool.submit(work, accel.choose, emulator, aside / "kernel", aside / "initrd")
        found.unpack({name: target for name, target in targets.items() if name not in early})
        if emulator:
            tried.result()  # remembered in the cache


def _hand_out(aside: Path) -> None:
    # What is not the build's own goes to its place in the cache, unless it is there.
    for path in sorted(aside.glob("images/*")):
        if not (cache_dir("images") / path.name).exists():
            path.replace(cache_dir("images") / path.name)
    shutil.rmtree(aside / "images", ignore_errors=True)
    for top in ALONG:
        for folder in sorted(aside.glob(f"{top}/*")):
            there = cache_dir(top) / folder.name
            if not store.intact(there):
                shutil.rmtree(there, ignore_errors=True)
                folder.replace(there)
                store.intact(there)  # notes the files' new times, so that nobody reads them all again
        shutil.rmtree(aside / top, ignore_errors=True)


def _seal(aside: Path, found: Archive, source: str, shared: bool) -> None:
    facts = found.facts
    known = {name: found.files[f"build/{name}"]["sha256"] for name in _BUILD}
    if "snapshot" in facts:
        digests = {name: found.files[f"snapshot/{name}"]["sha256"] for name in snapshot.FILES}
        store.seal(aside / "snapshots" / snapshot.KEYLESS, snapshot.FILES, digests, **facts["snapshot"])
    store.seal(
        aside,
        _BUILD if shared else builder.FILES,
        known,
        **{name: facts[name] for name in ("suite", "store", "packages", "kernel", "images")},
        imported={"source": source, "labkit": facts["labkit"], "format": found.format},
    )


def _clear_older(target: Path) -> None:
    # Earlier imports of the same machine, as builds of earlier recipes are cleared.
    for old in target.parent.glob(f"{target.name.rsplit('-', 1)[0]}-*"):
        if old != target and not store.recent(old) and not builder.in_use(old):
            shutil.rmtree(old, ignore_errors=True)


def import_and_prepare(source: str, *, shared: bool = False) -> Path:
    """:func:`bring`, then make its snapshot, so that the first start is quick; a shared one is started as it came.

    Where QEMU is missing and can't be fetched, the engine is imported all the same; a sentence says so.
    """
    from . import prepare

    place = bring(source, shared=shared)
    if shared:
        return place
    known = store.manifest(place) or {}
    variant = packages.Variant(known["suite"], known["store"])
    try:
        host.find_qemu()
    except LabError as reason:
        say(f"The engine is here, but can't start yet. {reason}")
        return place
    prepare(variant=variant)
    if builder.current() != place:
        say(f"This is {variant}; other starts take {packages.variant()}. For this one, set: {variant.settings()}")
    return place
