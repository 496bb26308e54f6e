"""Image archives with deterministic content, written without an engine.

The file that comes out is an OCI image layout which also carries Docker's ``manifest.json``,
as ``docker save`` writes it since Engine 25, so engines old and new can load it, with the
classic image store and with containerd's. Same input, same bytes: times, owners and order
are fixed, so digest, diffID and image ID are the same on every machine.

Sources: OCI image-spec ``image-layout.md``, ``config.md``, ``layer.md``.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_whole

#: The one time stamp in all lab images (seconds since 1970: 2026-01-01 00:00 UTC).
EPOCH = 1767225600
CREATED = "2026-01-01T00:00:00Z"

#: Debian's architecture names and the names that images use for them (GOARCH).
GOARCH = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "i386": "386", "riscv64": "riscv64"}


def sha256(data: bytes) -> str:
    """``sha256:`` and the hex digest, as image formats write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = EPOCH
    return info


def _plain_mode(info: tarfile.TarInfo) -> tarfile.TarInfo:
    # Modes without this user's umask: what may be run or entered is 755, the rest 644.
    if not info.mode & 0o1000:  # /tmp keeps its sticky bit
        info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return _plain(info)


def layer_from_folder(folder: Path) -> bytes:
    """The folder's content as an uncompressed layer tar, owned by root, in sorted order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for root, folders, files in os.walk(folder):
            folders.sort()
            links = [name for name in folders if os.path.islink(os.path.join(root, name))]
            inside = [name for name in folders if name not in links]
            for name in sorted([*inside, *links, *files]):
                path = Path(root, name)
                tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain_mode)
    return buffer.getvalue()


def layer_from_files(files: dict[str, str | bytes], *, mode: int = 0o644) -> bytes:
    """A layer tar that holds these files (path to content); missing parent folders are added."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        parents: set[str] = set()
        for name in sorted(files):
            parts = Path(name).parts[:-1]
            parents.update("/".join(parts[: n + 1]) for n in range(len(parts)))
        for name in sorted(parents):
            info = _plain(tarfile.TarInfo(name))
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name in sorted(files):
            content = files[name]
            data = content.encode() if isinstance(content, str) else content
            info = _plain(tarfile.TarInfo(name))
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def image_config(
    diff_ids: Sequence[str],
    *,
    architecture: str,
    command: Sequence[str],
    labels: dict[str, str] | None = None,
    created_by: Sequence[str] = (),
) -> bytes:
    """The image configuration, as canonical JSON (its SHA-256 is the classic image ID)."""
    steps = list(created_by) or ["labkit"] * len(diff_ids)
    config = {
        "architecture": GOARCH.get(architecture, architecture),
        "os": "linux",
        "created": CREATED,
        "config": {
            "Cmd": list(command),
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": dict(labels or {}),
        },
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": CREATED, "created_by": step} for step in steps],
    }
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()


def write_archive(target: Path, name: str, layers: Sequence[bytes], config: bytes) -> None:
    """Write the archive atomically: an interrupted write never leaves half a file.

    Args:
        target: the ``.tar`` file to make.
        name: the image's reference, such as ``labkit/busybox:1``.
        layers: uncompressed layer tars, base first.
        config: what :func:`image_config` gave for these layers.
    """
    blobs = {sha256(config): config, **{sha256(layer): layer for layer in layers}}

    def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    manifest_blob = json.dumps(manifest, sort_keys=True).encode()
    blobs[sha256(manifest_blob)] = manifest_blob
    entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest_blob)
    # containerd names the loaded image by this annotation.
    entry["annotations"] = {
        "io.containerd.image.name": f"docker.io/{name}",
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }

    def blob_path(digest: str) -> str:
        return "blobs/sha256/" + digest.removeprefix("sha256:")

    docker_manifest = [
        {
            "Config": blob_path(sha256(config)),
            "RepoTags": [name],
            "Layers": [blob_path(sha256(layer)) for layer in layers],
        }
    ]
    files: dict[str, str | bytes] = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}, sort_keys=True),
        "manifest.json": json.dumps(docker_manifest, sort_keys=True),
        **{blob_path(digest): data for digest, data in blobs.items()},
    }
    write_whole(target, layer_from_files(files))
