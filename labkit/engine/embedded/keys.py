"""The keys with which one build's machine and its users know each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keys:
    """The folder of one build's keys, named as Docker clients expect them in ``DOCKER_CERT_PATH``."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"


def make(client: Path, server: Path) -> Keys:
    """Make an authority, a server's and a client's certificate.

    The authority's own key is never written: nobody can add a certificate later.

    Args:
        client: folder for ``ca.pem``, ``cert.pem`` and ``key.pem``; made with mode 0700, the files with 0600.
        server: folder for ``ca.pem``, ``server.pem`` and ``server-key.pem``, likewise.
    """
    import trustme  # imported here: a resume needs no new keys

    authority = trustme.CA(organization_name="labkit", organization_unit_name="embedded engine")
    ours = authority.issue_cert("127.0.0.1", "localhost", common_name="labkit engine")
    theirs = authority.issue_cert("labkit@localhost", common_name="labkit client")
    root = authority.cert_pem.bytes()
    for folder, names, pair in (
        (client, ("cert.pem", "key.pem"), theirs),
        (server, ("server.pem", "server-key.pem"), ours),
    ):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        _write(folder / "ca.pem", root)
        _write(folder / names[0], b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        _write(folder / names[1], pair.private_key_pem.bytes())
    return Keys(client)


def _write(path: Path, data: bytes) -> None:
    # Never readable by anybody else, not even for a moment.
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
