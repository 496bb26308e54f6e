"""The keys with which one build's machine and its users know each other."""

from __future__ import annotations

import os
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

#: What :func:`make` writes, below a build's folder.
FILES = tuple(
    f"keys/{name}"
    for name in ("ca.pem", "cert.pem", "key.pem", "server/ca.pem", "server/server.pem", "server/server-key.pem")
)


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

    @property
    def server(self) -> Path:
        """The folder of what dockerd is given when its machine has booted."""
        return self.folder / "server"


def _whole(keys: Keys) -> bool:
    try:
        ours, theirs = (
            ssl.create_default_context(cafile=keys.ca),
            ssl.create_default_context(cafile=keys.server / "ca.pem"),
        )
        ours.load_cert_chain(keys.cert, keys.key)
        theirs.load_cert_chain(keys.server / "server.pem", keys.server / "server-key.pem")
    except (OSError, ValueError):
        return False
    return True


def make(folder: Path, earlier: Path | None = None) -> Keys:
    """Make an authority, a server's and a client's certificate.

    The authority's own key is never written: nobody can add a certificate later.

    Args:
        earlier: the keys of the build whose place the new one takes: they stay in use if they are whole, for engines
            that were started from it still run, and are reached with them.
        folder: gets ``ca.pem``, ``cert.pem`` and ``key.pem``, and in its own folder ``server`` what dockerd
            needs: ``ca.pem``, ``server.pem`` and ``server-key.pem``. Folders with mode 0700, files with 0600.
    """
    if earlier is not None and _whole(Keys(earlier)):
        shutil.copytree(earlier, folder)
        return Keys(folder)
    import trustme  # imported here: a resume needs no new keys

    authority = trustme.CA(organization_name="labkit", organization_unit_name="embedded engine")
    ours = authority.issue_cert("127.0.0.1", "localhost", common_name="labkit engine")
    theirs = authority.issue_cert("labkit@localhost", common_name="labkit client")
    root = authority.cert_pem.bytes()
    made = Keys(folder)
    for place, names, pair in (
        (made.folder, ("cert.pem", "key.pem"), theirs),
        (made.server, ("server.pem", "server-key.pem"), ours),
    ):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.chmod(0o700)
        _write(place / "ca.pem", root)
        _write(place / names[0], b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        _write(place / names[1], pair.private_key_pem.bytes())
    return made


def _write(path: Path, data: bytes) -> None:
    # Never readable by anybody else, not even for a moment.
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
