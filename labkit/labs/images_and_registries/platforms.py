"""One name, several platforms: an index in a registry, the engine's choice, the kernel's refusal.

The program in these images is made here, byte by byte: a static ELF file of some 170 bytes whose
machine code writes one line and ends. There is one for amd64 and one for arm64; each is a real
program of its processor, which the other's kernel refuses.
"""

import gzip
import json
import struct
from typing import Any

from docker.errors import APIError

from ...course.context import Context
from ...course.result import Result
from ...engine.client import remove_container
from ...images.archive import CREATED, layer_from_files, sha256
from ...units import yes_no
from .registry import RunningRegistry
from .registry_api import OCI_INDEX, OCI_MANIFEST

# ELF's numbers for the two processors (e_machine).
MACHINES = {"amd64": 62, "arm64": 183}
#: What ``/info`` calls an architecture, and what images call it.
GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI_IMAGE = "application/vnd.oci.image"
_START, _BASE = 120, 0x400000


def _amd64(text: int, length: int) -> bytes:
    # write(1, text, length); exit(0)
    return (
        b"\xbf\x01\0\0\0" + b"\xbe" + struct.pack("<I", text) + b"\xba" + struct.pack("<I", length)
        + b"\xb8\x01\0\0\0\x0f\x05" + b"\x31\xff\xb8\x3c\0\0\0\x0f\x05"
    )  # fmt: skip


def _arm64(text: int, length: int) -> bytes:
    def movz(register: int, value: int, shift: int = 0) -> int:
        return 0xD2800000 | (shift // 16) << 21 | (value & 0xFFFF) << 5 | register

    def movk(register: int, value: int, shift: int) -> int:
        return 0xF2800000 | (shift // 16) << 21 | (value & 0xFFFF) << 5 | register

    svc = 0xD4000001
    code = [movz(0, 1), movz(1, text), movk(1, text >> 16, 16), movz(2, length), movz(8, 64), svc,
            movz(0, 0), movz(8, 93), svc]  # fmt: skip
    return struct.pack(f"<{len(code)}I", *code)


def program(architecture: str) -> bytes:
    """A static program for ``amd64`` or ``arm64`` that writes ``hello from ARCHITECTURE``."""
    line = f"hello from {architecture}\n".encode()
    make = {"amd64": _amd64, "arm64": _arm64}[architecture]
    place = _BASE + _START + len(make(0, 0))
    code = make(place, len(line)) + line
    size = _START + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, MACHINES[architecture], 1, _BASE + _START, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return header + segment + code


class OneName(Result):
    """One name in a registry that stands for two platforms.

    ``index`` is the document behind the tag, as JSON; ``manifests`` are those that it points to, by
    architecture; ``picked`` is the one that the engine has then, and ``says`` what it wrote.
    """

    repository: str
    digest: str
    index: str
    manifests: dict[str, str]
    picked: str
    says: str

    def facts(self) -> str:
        names = " and ".join(sorted(self.manifests))
        own = GOARCH.get(self.engine.architecture, self.engine.architecture)
        return (
            f"one tag, one index, {len(self.manifests)} manifests: {names}\n"
            f"the engine picked its own architecture: {yes_no(self.picked == own and own in self.says)}"
        )


class Refusal(Result):
    """What became of a program of another processor: the words and the exit code (None: never started)."""

    platform: str
    words: str
    exit_code: int | None
    ran: bool

    def facts(self) -> str:
        if self.ran:
            return "it ran: this machine has an emulator registered for that processor"
        return f"refused: {'exec format error' if 'exec format' in self.words.lower() else self.words}"


def publish(on: Context, registry: RunningRegistry, repository: str = "hello") -> OneName:
    """Put an image for two platforms into the registry, by hand over its HTTP API; then pull and run it.

    Blobs first, then a manifest for each platform, then the index that points to both.
    """
    rows = [index_row(registry, repository, image_manifest(on, registry, repository, name), name) for name in MACHINES]
    manifests = dict(zip(MACHINES, (row["digest"] for row in rows)))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    digest = registry.put_manifest(repository, "1", index)
    name = registry.pull(repository, "1")
    picked = on.docker.api.inspect_image(name)["Architecture"]
    says = run_once(on, name)[0]
    document = json.dumps(registry.manifest(repository, "1"), indent=1)
    return OneName(on.facts, repository, digest, document, manifests, picked, says)


def blob(registry: RunningRegistry, repository: str, kind: str, data: bytes) -> dict[str, Any]:
    """Store a blob; returns what a manifest says of it."""
    return {"mediaType": kind, "digest": registry.put_blob(repository, data), "size": len(data)}


def index_row(
    registry: RunningRegistry, repository: str, manifest: dict[str, Any], processor: str, system: str = "linux"
) -> dict[str, Any]:
    """Store a manifest; returns what an index says of it."""
    return {
        "mediaType": manifest["mediaType"],
        "digest": registry.put_manifest(repository, "", manifest),
        "size": len(json.dumps(manifest).encode()),
        "platform": {"architecture": processor, "os": system},
    }


def image_manifest(on: Context, registry: RunningRegistry, repository: str, architecture: str) -> dict[str, Any]:
    """Store the program of :func:`program` and its configuration as blobs; returns their manifest."""
    layer = layer_from_files({"hello": program(architecture)}, mode=0o755)
    config = json.dumps(
        {
            "architecture": architecture, "os": "linux", "created": CREATED,
            "config": {"Cmd": ["/hello"], "Labels": on.docker.lab_labels},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
            "history": [{"created": CREATED, "created_by": f"a program for {architecture}, made by hand"}],
        }
    ).encode()  # fmt: skip
    layers = [blob(registry, repository, f"{_OCI_IMAGE}.layer.v1.tar+gzip", gzip.compress(layer, mtime=0))]
    kept = blob(registry, repository, f"{_OCI_IMAGE}.config.v1+json", config)
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": kept, "layers": layers}


def force(on: Context, registry: RunningRegistry, repository: str = "hello") -> Refusal:
    """Ask for the platform that this engine's machine has not, and run it all the same."""
    own = GOARCH.get(on.facts.architecture, on.facts.architecture)
    other = next(name for name in MACHINES if name != own)
    name = registry.pull(repository, "1", platform=f"linux/{other}")
    words, code = run_once(on, name, platform=f"linux/{other}", **on.facts.stock)
    registry.pull(repository, "1")  # leave the name as it was
    return Refusal(on.facts, other, words.strip(), code, f"hello from {other}" in words)


def run_once(on: Context, name: str, **options: str) -> tuple[str, int | None]:
    """Run an image to its end: what it wrote and its exit code, or why it did not start and None."""
    try:
        container = on.docker.containers.create(name, network_mode="none", **options)
        try:
            container.start()
            code = container.wait(timeout=60)["StatusCode"]
            return container.logs().decode("utf-8", "replace"), code
        finally:
            remove_container(container)
    except APIError as fault:
        return str(fault.explanation), None
