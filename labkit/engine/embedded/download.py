"""One large file over HTTP, in as many pieces as it takes: what has arrived is kept and continued."""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ...errors import LabError
from ...files import telling
from ...saying import say

#: Seconds without a byte after which a connection counts as broken, and how many broken ones in a row are too many.
STALLED, TRIES = 30.0, 4
_BLOCK = 1 << 18


def partial(url: str, folder: Path) -> Path:
    """Where the part of a URL's file that has arrived is kept."""
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"


def fetch(url: str, folder: Path) -> Path:
    """Download a file, or what is missing of it; returns :func:`partial`, whole.

    A part is continued only where the server says that its file is still the same (``If-Range``, RFC 9110);
    otherwise, and where the server knows no ranges, it is fetched from the start. Its contents are for the
    caller to check.

    Raises:
        LabError: no such file, no connection, or one that broke too often; the part stays for the next try.
    """
    part = partial(url, folder)
    broken = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part)
            return part
        except urllib.error.HTTPError as reason:
            if reason.code == 416 and before:  # another file than the part's, and a shorter one
                part.unlink()
                continue
            raise LabError(
                f"{url} can't be fetched: the server answers {reason.code} {reason.reason}.",
                next_step="Check the address in a browser.",
            ) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as reason:
            after = part.stat().st_size if part.exists() else 0
            broken = 1 if after > before else broken + 1
            if broken >= TRIES:
                raise LabError(
                    f"{url} can't be fetched: {getattr(reason, 'reason', None) or reason}.",
                    cause=f"{after / 1e6:.0f} MB have arrived and are kept.",
                    next_step="Run the same command again when the network works: it goes on from there.",
                ) from None
            say(f"The connection broke after {after / 1e6:.0f} MB: trying again")
            time.sleep(broken)


def _continue(url: str, part: Path) -> None:
    mark = part.with_suffix(".mark")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "labkit", "Accept-Encoding": "identity"})
    known = _read(mark)
    if have and known.get("validator"):
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known["validator"])
    if have and have == known.get("size"):
        return
    with urllib.request.urlopen(request, timeout=STALLED) as answer:
        continued = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        length = int(answer.headers.get("Content-Length") or 0)
        total = length + (have if continued else 0)
        # A weak validator (W/…) may not be used with If-Range.
        tag = answer.headers.get("ETag") or ""
        validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""
        with telling("LABKIT_CACHE", part.parent):
            mark.write_text(json.dumps({"validator": validator, "size": total}), encoding="utf-8")
            say(f"Downloading {total / 1e6:.0f} MB" + (f", {have / 1e6:.0f} MB are here already" if continued else ""))
            arrived, told = have if continued else 0, time.monotonic()
            with open(part, "ab" if continued else "wb") as out:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    arrived += len(block)
                    if time.monotonic() - told > 5:
                        told = time.monotonic()
                        say(f"{arrived / 1e6:.0f} of {total / 1e6:.0f} MB")
        if arrived < total:
            raise http.client.IncompleteRead(b"", total - arrived)


def _read(mark: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
        return known
    except (OSError, ValueError):
        return {}


def discard(url: str, folder: Path) -> None:
    """Remove what has arrived of a file."""
    part = partial(url, folder)
    part.unlink(missing_ok=True)
    part.with_suffix(".mark").unlink(missing_ok=True)
