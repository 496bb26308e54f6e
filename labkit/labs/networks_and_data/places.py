"""Where a container's files can lie: what each place survives, who may write there, and how a volume is carried."""

import contextlib
from collections.abc import Iterator
from typing import Any

from docker.errors import NotFound
from docker.types import Mount

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.session import SESSION
from ...units import yes_no

#: What is written to a file in each place.
MARK = "mark"

#: The places by their folder in the container, each with the flag that one types for it.
PLACES = {
    "/layer": "(no flag)",
    "/named": "-v data:/named",
    "/anonymous": "-v /anonymous",
    "/bind": "-v /a/folder:/bind",
    "/memory": "--tmpfs /memory",
}


@contextlib.contextmanager
def volumes(on: Context, *words: str) -> Iterator[list[str]]:
    """New, empty volumes for the length of a ``with`` block; yields their names."""
    names = [on.session.name(f"lab-{word}") for word in words]

    def drop() -> None:
        for name in names:
            with contextlib.suppress(NotFound):
                volume = on.docker.volumes.get(name)
                if (volume.attrs.get("Labels") or {}).get(SESSION) == on.session.id:
                    volume.remove(force=True)

    drop()  # an interrupted cell may have left them
    try:
        for name in names:
            on.docker.volumes.create(name)
        yield names
    finally:
        drop()


def folder_of(on: Context, volume: str) -> str:
    """The folder of the engine's machine in which a volume's files lie.

    It stands for any folder of that machine, which is often not the one where the notebook runs.
    """
    return str(on.docker.volumes.get(volume).attrs["Mountpoint"])


def _asked(on: Context, volume: str) -> str:
    """The engine's answer to the question for a volume: 200 and its folder, or 404 and its words."""
    try:
        return f"200 {on.docker.volumes.get(volume).attrs['Mountpoint']}"
    except NotFound as answer:
        return f"404 {answer.explanation}"


class Survival(Result):
    """What a look for the file said, by place: after a restart, and in a new container with the same flags.

    ``orphan`` and ``gone`` are the engine's answers to who asks for the anonymous volume, after ``docker rm`` and after
    ``docker rm -v``.
    """

    restarted: dict[str, str]
    renewed: dict[str, str]
    orphan: str
    gone: str

    def facts(self) -> str:
        lines = [f"{'written to':<14}{'flag':<22}{'after a restart':<18}in a new container"]
        for place, flag in PLACES.items():
            cells = ["kept" if found[place] == MARK else "lost" for found in (self.restarted, self.renewed)]
            lines.append(f"{place:<14}{flag:<22}{cells[0]:<18}{cells[1]}")
        return "\n".join(lines) + (
            f"\nafter docker rm, the anonymous volume is left, and nobody's: {yes_no(self.orphan.startswith('200'))}"
            f" · after docker rm -v: {yes_no(self.gone.startswith('200'))}"
        )


def survival(on: Context) -> Survival:
    """Write a file to each place; restart the container; remove it, and make a new one with the same flags."""
    folders = " ".join(PLACES)
    mark = f"for f in {folders}; do mkdir -p $f && echo {MARK} > $f/mark; done"
    look = ["sh", "-c", f"for f in {folders}; do cat $f/mark 2>&1; done"]  # a line for each place
    with volumes(on, "data", "folder") as (data, folder):
        options: dict[str, Any] = {
            "mounts": [
                Mount("/named", data, type="volume"), Mount("/anonymous", None, type="volume"),
                Mount("/bind", folder_of(on, folder), type="bind"),
            ],
            "tmpfs": {"/memory": ""}, "network_mode": "none",
        }  # fmt: skip
        orphans, orphan = [], ""
        try:
            with on.container(images.BUSYBOX, ["sleep", "600"], **options) as first:
                first.exec_run(["sh", "-c", mark])
                orphans = [row["Name"] for row in first.attrs["Mounts"] if row["Destination"] == "/anonymous"]
                first.restart(timeout=0)
                restarted = first.exec_run(look).output.decode().splitlines()
                first.remove(force=True)  # without -v
                orphan = "\n".join(_asked(on, name) for name in orphans)
        finally:
            for name in orphans:
                with contextlib.suppress(NotFound):
                    on.docker.volumes.get(name).remove()
        with on.container(images.BUSYBOX, ["sleep", "600"], **options) as second:
            second.reload()
            [other] = [row["Name"] for row in second.attrs["Mounts"] if row["Destination"] == "/anonymous"]
            renewed = second.exec_run(look).output.decode().splitlines()
    return Survival(on.facts, dict(zip(PLACES, restarted)), dict(zip(PLACES, renewed)), orphan, _asked(on, other))


#: What is mounted where, to see who may write: a volume at a folder that the image has not, one at a folder that
#: anybody may write, a folder of root's, and memory.
_OWNED = {"/new": "a volume at a new folder", "/tmp": "a volume at the image's /tmp", "/bind": "a bind of root's folder",
          "/memory": "--tmpfs"}  # fmt: skip


class Owners(Result):
    """Who could write where: by place and user, the owner of the file that was made there, or why it was refused.

    ``image`` is what a volume and a bind show of a file that the image has at their place: its first line, or none.
    """

    owners: dict[str, dict[str, str]]
    image: tuple[str, str]

    def facts(self) -> str:
        lines = [f"{'':<30}{'user 0':<22}user 1000"]
        for place, what in _OWNED.items():
            cells = [f"writes, owner {said}" if said.isdigit() else "refused" for said in self.owners[place].values()]
            lines.append(f"{what:<30}{cells[0]:<22}{cells[1]}")
        volume, bind = (yes_no(line.startswith("root:")) for line in self.image)
        return "\n".join(lines) + f"\nshows the files that the image has there: a new volume {volume} · a bind {bind}"


def owners(on: Context) -> Owners:
    """Let user 0 and user 1000 write to each kind of place, and look whose their files are."""
    script = f"for f in {' '.join(_OWNED)}; do touch $f/by-$(id -u) 2>&1 && stat -c %u $f/by-$(id -u); done"
    found: dict[str, dict[str, str]] = {place: {} for place in _OWNED}
    with volumes(on, "new", "tmp", "folder", "etc") as (new, tmp, folder, etc):
        mounts = [
            Mount("/new", new, type="volume"), Mount("/tmp", tmp, type="volume"),
            Mount("/bind", folder_of(on, folder), type="bind"),
        ]  # fmt: skip
        for user in ("0", "1000"):
            text = on.ran(images.BUSYBOX, ["sh", "-c", script], user=user, mounts=mounts, tmpfs={"/memory": ""}).text
            for place, said in zip(_OWNED, text.splitlines()):
                found[place][user] = said
        at = [Mount("/etc", etc, type="volume"), Mount("/etc", folder_of(on, folder), type="bind")]
        image = [on.ran(images.BUSYBOX, ["head", "-n1", "/etc/passwd"], mounts=[mount]).text.strip() for mount in at]
    return Owners(on.facts, found, (image[0], image[1]))


class Carried(Result):
    """A volume before its backup and the one that was made of it: a line for each file, the same in both when alike.

    ``listed`` are the names in the archive, ``removed`` is the engine's answer to who asked for the first volume then.
    """

    before: list[str]
    after: list[str]
    listed: list[str]
    removed: str

    def facts(self) -> str:
        return (
            f"files and folders in the volume: {len(self.before)} · in the archive: {len(self.listed)}\n"
            f"the volume is removed: {yes_no(self.removed.startswith('404'))}\n"
            f"a new one, filled from the archive, has the same content, owners and modes: "
            f"{yes_no(self.before == self.after)}"
        )


_FILL = """mkdir /data/orders && cd /data/orders && echo 'ann 3' > today && chmod 640 today && chown 1000:1000 today
head -c 1000000 /dev/urandom > picture && ln -s today latest && cd / """
_LIST = """cd /data && find . | sort | while read -r f; do
  echo "$f $(stat -c '%F %u:%g %a' "$f") $([ -f "$f" ] && sha256sum < "$f")"; done"""


def carry(on: Context) -> Carried:
    """Back a volume up with ``tar`` in a container, remove it, and fill a new one from the archive.

    The archive lies on another volume, which stands for wherever you keep such things.
    """

    def run(script: str, **where: str) -> list[str]:
        mounts = [Mount(f"/{place}", name, type="volume") for place, name in where.items()]
        return on.ran(images.BUSYBOX, ["sh", "-e", "-c", script], mounts=mounts).text.splitlines()

    with volumes(on, "data", "again", "shelf") as (data, again, shelf):
        before = run(f"{_FILL}; {_LIST}", data=data)
        listed = run("tar -C /data -czf /shelf/data.tgz . && tar -tzf /shelf/data.tgz", data=data, shelf=shelf)
        on.docker.volumes.get(data).remove()
        removed = _asked(on, data)
        after = run(f"tar -C /data -xzf /shelf/data.tgz; {_LIST}", data=again, shelf=shelf)
    return Carried(on.facts, before, after, listed, removed)
