"""A registry's HTTP API (the OCI distribution specification), word for word and by name.

Requests are made by the visitor, inside the registry's network. What the registry refuses
becomes a sentence that keeps the registry's own words.
"""

import json
import re
from typing import Any

from ...course.context import Context
from ...errors import BadInput, LabError, NotPossibleHere
from ...images.archive import sha256
from ...observe.visitor import Reply

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
ANY_MANIFEST = ", ".join((MANIFEST, OCI_MANIFEST, INDEX, OCI_INDEX))


def named(repository: str, reference: str) -> str:
    """Repository and tag or digest as people write them.

    Raises:
        BadInput: not a repository's name, or not a digest.
    """
    if not re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", repository):
        raise BadInput(
            f"{repository!r} is no name of a repository.",
            next_step="Write it in lowercase letters and digits, with - . _ or / between them, such as team/shop.",
        )
    if reference.startswith("sha256:"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", reference):
            raise BadInput(
                f"{reference!r} is no digest: sha256: and 64 hexadecimal digits.",
                next_step="registry.digest(repository, tag) gives a whole one.",
            )
        return f"{repository}@{reference}"
    if not re.fullmatch(r"\w[\w.-]{0,127}", reference, re.ASCII):
        raise BadInput(f"{reference!r} is no tag.", next_step="Write letters, digits, - . or _, such as 1 or stable.")
    return f"{repository}:{reference}"


class RegistryAPI:
    """What one asks a registry over HTTP. ``base`` is its address as the visitor sees it."""

    base: str
    network: str
    _on: Context

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """One HTTP request to the registry, such as ``("GET", "/v2/_catalog")``."""
        url = path if path.startswith("http") else self.base + path
        visitor = self._on.visitor(self.network)
        return visitor.request(method, url, headers=headers, body=body, timeout=30)

    def get(self, path: str) -> Reply:
        """A GET by an asker who understands every kind of manifest."""
        return self.request("GET", path, headers={"Accept": ANY_MANIFEST})

    # What one asks most, by name.

    def catalogue(self) -> list[str]:
        """The repositories it has: ``GET /v2/_catalog``."""
        return self._json("/v2/_catalog", "catalogue")["repositories"] or []

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository: ``GET /v2/NAME/tags/list``; empty where it has none left."""
        named(repository, "any")
        return sorted(self._json(f"/v2/{repository}/tags/list", f"repository {repository}").get("tags") or [])

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """A manifest or index by tag or digest: ``GET /v2/NAME/manifests/REFERENCE``."""
        return self._json(f"/v2/{repository}/manifests/{reference}", named(repository, reference))

    def digest(self, repository: str, tag: str) -> str:
        """The digest that a tag stands for now: ``HEAD``, header ``Docker-Content-Digest``."""
        what = named(repository, tag)
        return self._ask("HEAD", f"/v2/{repository}/manifests/{tag}", what).headers["docker-content-digest"]

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob's bytes: ``GET /v2/NAME/blobs/DIGEST``."""
        what = named(repository, digest)
        return self._ask("GET", f"/v2/{repository}/blobs/{digest}", what).body

    def hashed(self, repository: str, digest: str) -> tuple[str, str]:
        """Fetch a blob and hash it: SHA-256 as stored, and of the unpacked bytes where it is gzip."""
        what = named(repository, digest)
        url = f"{self.base}/v2/{repository}/blobs/{digest}"
        status, stored, opened = self._on.visitor(self.network).digest(url)
        self._expect(Reply(status, {}, b"", 0.0), what)
        return stored, opened

    def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest by tag or digest; every tag that stands for it goes with it."""
        what = named(repository, reference)
        digest = reference if reference.startswith("sha256:") else self.digest(repository, reference)
        self._ask("DELETE", f"/v2/{repository}/manifests/{digest}", what, 202)

    # By hand: what a client does when it pushes.

    def put_blob(self, repository: str, data: bytes) -> str:
        """Upload a blob: POST for a place, PUT with the digest; returns the digest."""
        digest = sha256(data)
        place = self._ask("POST", f"/v2/{repository}/blobs/uploads/", "place for an upload", 202)
        target = place.headers["location"]
        join = "&" if "?" in target else "?"
        kind = "application/octet-stream"
        self._ask("PUT", f"{target}{join}digest={digest}", digest, 201, headers={"Content-Type": kind}, body=data)
        return digest

    def put_manifest(self, repository: str, reference: str, manifest: dict[str, Any]) -> str:
        """Store a manifest or index under a tag or its digest (``reference=""``); returns the digest."""
        data = json.dumps(manifest).encode()
        path = f"/v2/{repository}/manifests/{reference or sha256(data)}"
        headers = {"Content-Type": manifest["mediaType"]}
        self._ask("PUT", path, f"{repository}:{reference}", 201, headers=headers, body=data)
        return sha256(data)

    def _json(self, path: str, what: str) -> dict[str, Any]:
        return dict(self._ask("GET", path, what).json())

    def _ask(self, method: str, path: str, what: str, status: int = 200, **more: Any) -> Reply:
        reply = self.request(method, path, **{"headers": {"Accept": ANY_MANIFEST}, **more})
        self._expect(reply, what, status)
        return reply

    def _expect(self, reply: Reply, what: str, status: int = 200) -> None:
        if reply.status == status:
            return
        said = _codes(reply)
        cause = f"It says: {', '.join(said)}." if said else ""
        if reply.status == 0:
            raise LabError(
                "The registry does not answer.",
                cause=f"Its container was stopped or removed ({reply.error}).",
                next_step="Start one again: lab.registry.start(). What it stored is gone with it.",
            )
        if reply.status == 404:
            raise NotPossibleHere(
                f"The registry has no {what}.",
                cause=cause,
                next_step="Look at catalogue() and tags(): a name or a digest may be misspelt, or was never pushed.",
            )
        raise LabError(f"The registry answered {reply.status} for {what}.", cause=cause)


def _codes(reply: Reply) -> list[str]:
    """The errors that an answer names, in words: JSON where the path is the API's, plain text elsewhere."""
    try:
        return [f"{error['code']} ({error['message']})" for error in reply.json().get("errors", [])]
    except ValueError:
        return [line for line in [reply.text().strip()] if line]
