"""An index with more in it than platforms: a statement on how an image was built, made by hand.

Source: moby/buildkit, ``docs/attestations/attestation-storage.md``.
"""

import json
import re

from ...course.context import Context
from ...course.result import Result
from ...units import yes_no
from .platforms import GOARCH, MACHINES, blob, image_manifest, index_row, run_once
from .registry import RunningRegistry
from .registry_api import OCI_INDEX, OCI_MANIFEST

_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "https://slsa.dev/provenance/v0.2"


class Attested(Result):
    """An image with an attestation beside it: both documents, and what the engine fetched when it pulled the name.

    ``index`` and ``statement`` are JSON; ``asked`` are the pull's requests, from the registry's access log; ``blobs`` the
    digests of the attestation's own documents, its manifest first.
    """

    index: str
    statement: str
    asked: list[str]
    blobs: list[str]
    says: str

    def facts(self) -> str:
        rows = json.loads(self.index)["manifests"]
        listed = ", ".join("{os}/{architecture}".format(**row["platform"]) for row in rows)
        [about] = [row["annotations"]["vnd.docker.reference.digest"] for row in rows if "annotations" in row]
        own = GOARCH.get(self.engine.architecture, self.engine.architecture)
        [image] = [row["digest"] for row in rows if row["platform"]["architecture"] == own]
        subject = json.loads(self.statement)["subject"][0]["digest"]["sha256"]
        fetched = any(digest in row for digest in self.blobs for row in self.asked)
        return (
            f"the index lists {listed}\n"
            f"the unknown one is about this machine's image: {yes_no(about == image == f'sha256:{subject}')}\n"
            f"the engine pulled and ran its own platform: {yes_no(own in self.says)}\n"
            f"it fetched the attestation: {yes_no(fetched)}"
        )


def attested(on: Context, registry: RunningRegistry) -> Attested:
    """Put an image into the registry with a statement on it, as BuildKit stores one; then pull and run it.

    The statement is an in-toto one, unsigned. BuildKit writes a whole provenance where this has two words.
    """
    repository, own = "attested", GOARCH.get(on.facts.architecture, on.facts.architecture)
    rows = [index_row(registry, repository, image_manifest(on, registry, repository, name), name) for name in MACHINES]
    [about] = [row["digest"] for row in rows if row["platform"]["architecture"] == own]
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "subject": [{"name": repository, "digest": {"sha256": about.removeprefix("sha256:")}}],
            "predicateType": _PREDICATE,
            "predicate": {"builder": {"id": "lab 03"}, "buildType": "by hand"},
        }, indent=1,
    )  # fmt: skip
    layer = blob(registry, repository, _STATEMENT, statement.encode())
    layer["annotations"] = {"in-toto.io/predicate-type": _PREDICATE}
    # A configuration like an image's, for clients that look for one.
    config = {"architecture": "unknown", "os": "unknown", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}  # fmt: skip
    kept = blob(registry, repository, "application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": kept, "layers": [layer]}
    row = index_row(registry, repository, manifest, "unknown", "unknown")
    row["annotations"] = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*rows, row]}
    registry.put_manifest(repository, "1", index)
    before = len(registry.requests())
    name = registry.pull(repository, "1")
    asked = [line for line in registry.requests()[before:] if re.match(r"(GET|HEAD) /v2/.", line)]
    says = run_once(on, name)[0]
    blobs = [row["digest"], layer["digest"], kept["digest"]]
    return Attested(on.facts, json.dumps(index, indent=1), statement, asked, blobs, says)
