"""A learner in a class: joined by choice, each change of the progress sent, never in the way of a lab.

The class's side is :mod:`labkit.commands.roll`. What is sent is :meth:`Progress.hand_in` and nothing else. Each message
carries an HMAC-SHA256 (RFC 2104) over its bytes, with a secret that only this learner and the board know, and a counter
that only grows: nobody sends for somebody else, and nothing is taken twice.
"""

import contextlib
import hashlib
import hmac
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from ..errors import BadInput, LabError, NotPossibleHere
from ..files import locked, telling, write_whole

#: The header that carries a message's HMAC, in hexadecimal digits.
SIGNED = "X-Labkit-Signature"
#: Seconds that a board may take to answer; between two tries, the first and the longest pause.
PATIENCE, FIRST_PAUSE, LONGEST_PAUSE = 5.0, 2.0, 60.0
#: Seconds in which several changes become one message.
GATHER = 0.3

#: What a learner is told who has joined.
JOINED = """The class knows you as {name}. This is what is sent, now and each time that it changes, and nothing else:
{sent}
To end it: labkit join --leave, or lab.leave()."""

Report = dict[str, Any]


def signature(secret: str, body: bytes) -> str:
    """What a message of the learner with this secret carries."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def joined(path: Path) -> dict[str, Any]:
    """What ``class.json`` says: address, learner, name, counter, secret, says; empty where no class was joined."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if all(isinstance(found[key], str) for key in ("address", "learner", "name", "secret")) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def join(path: Path, address: str, code: str, name: str = "") -> str:
    """Join a class; returns the name that its board shows: the learner's own, or a pseudonym.

    Raises:
        BadInput: no such address, or another code.
        NotPossibleHere: nothing answers there, or no class; or another class is joined already.
    """
    before = joined(path)
    if before:
        raise NotPossibleHere(f"You are in a class already, at {before['address']}.", next_step="labkit join --leave")
    found = re.fullmatch(
        r"(?:(https?)://)?((?:[^/\s?#@:\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d+)?(?:/[^\s?#]*)?)", address.strip()
    )
    if not found:
        raise BadInput(f"{address!r} is no address.", next_step="Such as labkit join 192.168.1.5:8890 AB2CD3")
    place = f"{found[1] or 'http'}://{found[2].rstrip('/')}"
    answer = _post(place, "join", json.dumps({"code": code, "name": name}).encode())
    if answer.status_code in (403, 429):
        raise BadInput(f"The class at {place} refuses: {_said(answer)}", next_step="Ask for its code again.")
    try:
        made = {key: str(answer.json()[key]) for key in ("learner", "secret", "name")}
    except (ValueError, KeyError, TypeError):
        raise _no_class(place) from None
    _keep(path, {"address": place, **made, "anonymous": not name, "counter": 0, "says": ""})
    return made["name"]


def leave(path: Path) -> str:
    """Leave the class: its board forgets this learner; returns a sentence. Where it is gone, only this side forgets.

    Raises:
        BadInput: no class was joined.
    """
    known = joined(path)
    if not known:
        raise BadInput("You are in no class.", next_step="labkit join ADDRESS CODE")
    try:
        answered = _sent(path, {"leave": True}).status_code
    except NotPossibleHere:
        answered = 0
    path.unlink(missing_ok=True)
    told = (
        "It has removed your row." if answered in (200, 404) else "It could not be told: ask to have your row removed."
    )
    return f"You have left the class at {known['address']}. {told}"


def send(path: Path, report: Report) -> bool:
    """Send a report now; False where the board refuses it for good, which is kept in ``says``.

    Raises:
        NotPossibleHere: nothing answers there.
    """
    answer = _sent(path, {"report": report})
    if answer.status_code == 200:
        return True
    if answer.status_code < 500:
        _keep(path, {"says": f"The class at {joined(path)['address']} refuses: {_said(answer)}"})
        return False
    raise _gone(joined(path)["address"])


def _sent(path: Path, content: dict[str, Any]) -> requests.Response:
    # One at a time, so that counters arrive in their order; the board says where it stands if it knows a later one.
    with telling("LABKIT_STATE", path), locked(path.with_suffix(".lock")):
        known = joined(path)
        if not known:
            raise NotPossibleHere("You have left the class.")
        for _ in range(2):
            known["counter"] = int(known.get("counter", 0)) + 1
            write_whole(path, json.dumps(known, indent=1) + "\n", durable=True)
            body = json.dumps({"learner": known["learner"], "counter": known["counter"], **content}).encode()
            answer = _post(known["address"], "progress", body, signature(known["secret"], body))
            if answer.status_code != 409:
                break
            with contextlib.suppress(ValueError, KeyError, TypeError):
                known["counter"] = max(known["counter"], int(answer.json()["counter"]))
        return answer


def _keep(path: Path, facts: dict[str, Any]) -> None:
    with telling("LABKIT_STATE", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            path.touch(0o600)
            write_whole(path, json.dumps({**joined(path), **facts}, indent=1) + "\n", durable=True)
            path.chmod(0o600)


def _post(address: str, what: str, body: bytes, signed: str = "") -> requests.Response:
    session = requests.Session()
    session.trust_env = False  # a room's address is not behind the learner's proxy, nor a matter for ~/.netrc
    try:
        with session:
            return session.post(
                f"{address}/{what}", data=body, timeout=PATIENCE, allow_redirects=False,
                headers={"Content-Type": "application/json", **({SIGNED: signed} if signed else {})},
            )  # fmt: skip
    except (requests.RequestException, UnicodeError):
        raise _gone(address) from None


def _gone(address: str) -> NotPossibleHere:
    return NotPossibleHere(f"No class answers at {address}.", next_step="Ask for its address; the labs work without.")


def _no_class(address: str) -> NotPossibleHere:
    return NotPossibleHere(f"Something else than a class answers at {address}.", next_step="Ask for its address.")


def _said(answer: requests.Response) -> str:
    try:
        return str(answer.json()["says"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}."


_senders: dict[Path, threading.Event] = {}
_senders_lock = threading.Lock()
os.register_at_fork(after_in_child=_senders.clear)  # a forked process has none of the threads


def changed(path: Path, report: Callable[[], Report]) -> None:
    """Progress has changed: send it, as it is then, from a thread, as often as it takes; at once back here."""
    if not path.exists():
        return
    with _senders_lock:
        if path in _senders:
            _senders[path].set()
            return
        _senders[path] = threading.Event()
        _senders[path].set()
    threading.Thread(target=_keep_sending, args=(path, report), name="labkit-class", daemon=True).start()


def _keep_sending(path: Path, report: Callable[[], Report]) -> None:
    news, pause = _senders[path], FIRST_PAUSE
    while True:
        time.sleep(GATHER)
        news.clear()
        try:
            send(path, report())
        except NotPossibleHere:
            news.set()  # lost, not sent: once more
            if path.exists():
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        except (LabError, OSError):
            pass  # a disk that is full or read-only: the progress itself says so
        else:
            pause = FIRST_PAUSE
        with _senders_lock:
            if not news.is_set() or not path.exists():
                del _senders[path]
                return
