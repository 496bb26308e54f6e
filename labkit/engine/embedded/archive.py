"""The file that carries a built machine: one tar archive, its table of contents first, every member checked.

The tar itself is not compressed, its members are (gzip), so that they are packed and unpacked side by side.
The first member is the table, in JSON: facts about the whole, and each file's size, mode and SHA-256 (of what is
unpacked). A file's name is its path relative to where it is unpacked to.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import BadInput, LabError
from ...files import telling

#: Raised whenever an older labkit could no longer run what a newer one exports, or the other way round.
FORMAT = 1

_TABLE = "labkit-engine.json"
_BLOCK = 1 << 20
_EMPTY = bytes(1 << 16)
#: How deflate and gzip's header are asked for together (zlib's documentation of ``wbits``).
_GZIP = 31
#: Two at a time: more would only wait for the disk.
_WORKERS = 2

#: Bytes that a table may have at most; thousands of files fit.
_TABLE_LIMIT = 16 << 20


class Damaged(LabError):
    """An archive is not what was exported."""

    def __init__(self, path: Path, detail: str):
        super().__init__(
            f"{path} is damaged: {detail}.",
            cause="It was copied or downloaded in part, or changed on its way.",
            next_step="Copy or download it again; its own checksums say when it is whole.",
        )


def leads_outside(path: Path, name: str) -> BadInput:
    """What is said of an archive that would write where it must not."""
    return BadInput(
        f"{path} holds {name!r}, which would be written outside of labkit's cache.",
        cause="labkit does not make such a file.",
        next_step="Do not use it; get an export from somebody you trust.",
    )


def write(path: Path, facts: Mapping[str, Any], files: Mapping[str, Path], scratch: Path) -> None:
    """Write an archive; it takes its name when it is whole.

    Args:
        path: the file to write; one that is there is replaced.
        facts: for the table, as JSON.
        files: each member's name and the file that it is made from.
        scratch: a folder for what is packed meanwhile, about as large as the archive.

    Raises:
        LabError: no space, or no right to write there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with telling("LABKIT_CACHE", scratch), tempfile.TemporaryDirectory(dir=scratch, prefix="export") as packed:
        places = {name: Path(packed) / str(number) for number, name in enumerate(files)}
        with ThreadPoolExecutor(_WORKERS) as pool:
            rows = pool.map(lambda name: _pack(files[name], places[name]), files)
            table = {**facts, "format": FORMAT, "files": dict(zip(files, rows, strict=True))}
        with telling("", path.parent):
            try:
                with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
                    head = json.dumps(table, indent=1).encode()
                    tar.addfile(_entry(_TABLE, len(head)), io.BytesIO(head))
                    for name, place in places.items():
                        with open(place, "rb") as stream:
                            tar.addfile(_entry(f"{name}.gz", place.stat().st_size), stream)
                        place.unlink()
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    # No owner, no time: the same machine gives the same archive, whoever exports it.
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _pack(source: Path, target: Path) -> dict[str, int | str]:
    digest, packer = hashlib.sha256(), zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    with open(source, "rb") as stream, open(target, "wb") as out:
        while block := stream.read(_BLOCK):
            digest.update(block)
            out.write(packer.compress(block))
        out.write(packer.flush())
    found = source.stat()
    return {"size": found.st_size, "mode": found.st_mode & 0o777, "sha256": digest.hexdigest()}


def safe(name: str) -> bool:
    """Whether a member's name is a relative path of plain components, leading nowhere else."""
    # Packages have files such as "QEMU,VGA.bin"; what matters is that no part leads up or away.
    return all(part not in ("", ".", "..") and part.isprintable() and "\\" not in part for part in name.split("/"))


class Archive:
    """An archive that is there: its table read and its size checked, nothing unpacked yet.

    Attributes:
        facts: the table.
        files: each member's row of the table.
    """

    def __init__(self, path: Path):
        """Raises BadInput when it is no such archive, LabError when it is damaged or can't be read."""
        self.path = path
        try:
            with open(path, "rb") as stream:
                if stream.read(len(_TABLE) + 1) != _TABLE.encode() + b"\0":
                    raise BadInput(
                        f"{path} is not an engine that labkit has exported.",
                        next_step="Make one with: labkit engine export FILE",
                    )
            # Read to its end: half an archive is told before anything is unpacked.
            with tarfile.open(path, "r:") as tar:
                entries = {entry.name: entry for entry in tar}
                if entries[_TABLE].size > _TABLE_LIMIT:
                    raise Damaged(path, "its table of contents is too long")
                table = tar.extractfile(entries[_TABLE])
                self.facts: dict[str, Any] = json.loads(table.read() if table else b"null")
            self.format = int(self.facts["format"])
            self.files = {str(name): row for name, row in self.facts["files"].items()}
            for row in self.files.values():
                row["size"], row["mode"], row["sha256"] = int(row["size"]), int(row["mode"]), str(row["sha256"])
        except OSError as reason:
            raise BadInput(
                f"{path} can't be read: {reason.strerror or reason}.", next_step="Check the name: ls -l FILE"
            ) from None
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError) as reason:
            raise Damaged(path, f"its table of contents can't be read ({reason})") from None
        self._places = {name: (entry.offset_data, entry.size) for name, entry in entries.items() if entry.isreg()}
        end = path.stat().st_size
        for name in self.files:
            if not safe(name):
                raise leads_outside(path, name)
            start, size = self._places.get(f"{name}.gz", (end, 1))
            if start + size > end:
                raise Damaged(path, "it ends too early")

    def size(self) -> int:
        """Bytes of all files once unpacked."""
        return sum(row["size"] for row in self.files.values())

    def unpack(self, targets: Mapping[str, Path]) -> None:
        """Unpack members, each to its target; their folders are made.

        Raises:
            LabError: damaged, or the disk is full.
        """
        for target in targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_WORKERS) as pool:
            # The largest first, so that both workers end at about the same time.
            largest_first = sorted(targets, key=lambda name: -self.files[name]["size"])
            for _ in pool.map(lambda name: self._unpack(name, targets[name]), largest_first):
                pass

    def _unpack(self, name: str, target: Path) -> None:
        row = self.files[name]
        start, left = self._places[f"{name}.gz"]
        digest, unpacker, size = hashlib.sha256(), zlib.decompressobj(_GZIP), 0
        with telling("LABKIT_CACHE", target.parent), open(self.path, "rb") as stream, open(target, "wb") as out:
            stream.seek(start)
            while left and size <= row["size"]:
                packed = stream.read(min(left, _BLOCK // 4))
                left -= len(packed)
                try:
                    block = unpacker.decompress(packed)
                except zlib.error:
                    raise Damaged(self.path, f"{name} can't be unpacked") from None
                if not packed:
                    raise Damaged(self.path, "it ends too early")
                digest.update(block)
                size += len(block)
                _write_with_holes(out, block)
            out.truncate(size)
        if size != row["size"] or not unpacker.eof or digest.hexdigest() != row["sha256"]:
            raise Damaged(self.path, f"{name} is not what its checksum says")
        target.chmod(row["mode"] & 0o755 | 0o600)


def _write_with_holes(out: BinaryIO, block: bytes) -> None:
    # A machine's memory is empty in large parts: what is zero takes no space on the disk.
    for start in range(0, len(block), len(_EMPTY)):
        part = block[start : start + len(_EMPTY)]
        if part == _EMPTY[: len(part)]:
            out.seek(len(part), os.SEEK_CUR)
        else:
            out.write(part)
