"""All kinds together: whatever combination of variables and folders, a live round trip or one sentence, and nothing left.

Every value is tried, and by `make slow` every pair of values of two dimensions (a covering array), and what Hypothesis
thinks of beside them. Each example is a process of its own, as a user that owns nothing where the tests run as root.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from labkit import images
from labkit.paths import COURSE

from ..helpers import left_behind
from ..unit.test_learner_folders import LATIN, NOBODY

ROOT = os.getuid() == 0
NOWHERE = "http://127.0.0.1:9"

#: ``{root}`` is the example's own folder, ``None`` a variable that is not set. What can't be made without being
#: root (a disk that is full, a folder of somebody else's) is left out for others.
DIMENSIONS: dict[str, list[str]] = {
    "engine": ["DOCKER_HOST", "loopback", "context", "Docker Desktop's socket", "none"],
    "home": ["own", "no HOME", "missing", "odd name", *["read-only", "full"] * ROOT],
    "cache": ["unset", "relative", "tilde", "a file", *["read-only"] * ROOT],
    "state": ["unset", "relative", "a file", *["read-only", "full"] * ROOT],
    "runtime": ["unset", "own", "missing", "long"],
    "temporary": ["unset", "own", "long", "missing"],
    "locale": ["UTF-8", "latin"],
    "network": ["plain", "proxies", "company certificates", "TLS log"],
    "config": ["none", "credential helper", "proxies", "damaged", "lost context"],
    "client": ["plain", "variables", "lost context"],
    "path": ["docker", "nothing", "podman", "system"],
}

PROGRAM = """
import json, sys
from labkit.errors import LabError
told = {}
try:
    import labkit
    with labkit.open("00-start-here", engine="host") as lab:
        told["session"] = lab._session.id
        told["said"] = lab.context.ran("labkit/busybox:1", ["echo", "live"]).text.strip()
        lab.progress.checked(lab.name, next(iter(lab.content.exercises)), True)
        told["kept"] = lab.progress.unkept or "kept"
        try:
            told["typed"] = lab.cli("docker container ls -aq --no-trunc", show=False, check=True)
            told["typed"] += lab.cli(f"docker run --rm --network none labkit/busybox:1 echo typed", show=False)
        except LabError as fault:
            told["typed"] = {"what": fault.what, "cause": fault.cause, "next": fault.next_step}
except LabError as fault:
    told["fault"] = {"what": fault.what, "cause": fault.cause, "next": fault.next_step}
print("\\n" + json.dumps(told))
"""


def pairwise() -> list[dict[str, str]]:
    """Rows in which every pair of values of two dimensions comes together at least once; greedy, always the same."""
    names = list(DIMENSIONS)
    open_pairs = {
        frozenset([(one, x), (other, y)])
        for one, other in itertools.combinations(names, 2)
        for x, y in itertools.product(DIMENSIONS[one], DIMENSIONS[other])
    }
    rows = []
    while open_pairs:
        row = dict(sorted(min(open_pairs, key=sorted)))
        for name in names:
            if name not in row:
                row[name] = max(
                    DIMENSIONS[name],
                    key=lambda value: sum(frozenset([(name, value), pair]) in open_pairs for pair in row.items()),
                )
        open_pairs -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def place(engine):
    """A folder for all examples, with the engine's socket for everybody in it, and the engine at a loopback port."""
    if not engine.endpoint.startswith("unix://"):
        pytest.skip("needs an engine behind a socket")
    from labkit.engine import Session

    with_images = Session(engine, "tests", None)
    for name in images.RECIPES:
        images.ensure(with_images.docker, name)
    with_images.close()
    root = Path(tempfile.mkdtemp(prefix="labkit-env-", dir="/tmp"))
    root.chmod(0o755)
    usual = socket.socket(socket.AF_UNIX)
    usual.bind(str(root / "docker.sock"))
    usual.listen()
    (root / "docker.sock").chmod(0o777)
    loopback = socket.create_server(("127.0.0.1", 0))
    for listener in (usual, loopback):
        threading.Thread(target=_serve, args=[listener, engine.endpoint], daemon=True).start()
    if ROOT:
        (root / "full").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=1777", "full", root / "full"], check=True)
        subprocess.run(["sh", "-c", f"cat /dev/zero > {root}/full/filled"], capture_output=True)
        (root / "theirs").mkdir(mode=0o755)
    wrapper(root / "docker", f'exec {engine.cli_path()} "$@"')
    wrapper(root / "podman", '[ "$1" = --version ] && echo podman version 5.4.2 || touch /tmp/podman-was-asked')
    for folder in ("docker", "nothing", "podman"):
        for tool in ("sh", "env"):
            (root / folder).mkdir(exist_ok=True)
            (root / folder / tool).symlink_to(f"/bin/{tool}")
    yield root, loopback.getsockname()[1]
    for listener in (usual, loopback):
        listener.close()
    if ROOT:
        subprocess.run(["umount", root / "full"], check=True)
    shutil.rmtree(root)


def wrapper(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "docker").chmod(0o755)


def _serve(listener: socket.socket, endpoint: str) -> None:
    from .test_learner_proxies import pump

    while True:
        try:
            ours, _ = listener.accept()
        except OSError:
            return
        theirs = socket.socket(socket.AF_UNIX)
        theirs.connect(endpoint.removeprefix("unix://"))
        for pair in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def environment(row: dict[str, str], root: Path, port: int, own: Path) -> dict[str, str]:
    """The variables of an example, whose folders are made below ``own``."""
    folders = {
        "own": own / "own", "odd name": own / "ü 'x', y", "missing": own / "missing", "long": own / ("x" * 120),
        "read-only": root / "theirs", "full": root / "full", "a file": own / "file",
    }  # fmt: skip
    for name in ("own", "odd name", "long"):
        folders[name].mkdir()
        os.chmod(folders[name], 0o777)
    folders["a file"].touch()
    found = {"PYTHONPATH": str(COURSE), "LC_ALL": "C.UTF-8", "LABKIT_MIRROR": f"{NOWHERE}/debian"}
    if row["home"] != "no HOME":
        found["HOME"] = str(folders[row["home"]])
    for name, variable in (("cache", "LABKIT_CACHE"), ("state", "LABKIT_STATE"), ("runtime", "XDG_RUNTIME_DIR"),
                           ("temporary", "TMPDIR")):  # fmt: skip
        value = {"relative": f"kept/{name}", "tilde": "~/kept"}.get(row[name]) or folders.get(row[name])
        if value:
            found[variable] = str(value)
    if row["locale"] == "latin":
        found |= LATIN
    found |= {
        "proxies": dict.fromkeys(("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), NOWHERE),
        "company certificates": {"REQUESTS_CA_BUNDLE": "/nowhere.pem", "SSL_CERT_FILE": "/nowhere.pem"},
        "TLS log": {"SSLKEYLOGFILE": "/nowhere/keys"},
    }.get(row["network"], {})
    found |= {
        "variables": {"DOCKER_CONTENT_TRUST": "1", "DOCKER_API_VERSION": "1.99", "BUILDX_BUILDER": "elsewhere"},
        "lost context": {"DOCKER_CONTEXT": "lost"},
    }.get(row["client"], {})
    config = own / "docker"
    _configure(config, row["config"], row["engine"], f"unix://{root}/docker.sock")
    found["DOCKER_CONFIG"] = str(config)
    found |= {
        "DOCKER_HOST": {"DOCKER_HOST": f"unix://{root}/docker.sock"},
        "loopback": {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"},
    }.get(row["engine"], {})
    if row["engine"] == "Docker Desktop's socket" and row["home"] in ("own", "odd name"):
        (folders[row["home"]] / ".docker/run").mkdir(parents=True)
        (folders[row["home"]] / ".docker/run/docker.sock").symlink_to(root / "docker.sock")
    found["PATH"] = os.environ["PATH"] if row["path"] == "system" else str(root / row["path"])
    return found


def _configure(folder: Path, kind: str, engine: str, endpoint: str) -> None:
    content: dict = {
        "credential helper": {"credsStore": "nowhere"},
        "proxies": {"proxies": {"default": {"httpProxy": NOWHERE, "httpsProxy": NOWHERE}}},
        "lost context": {"currentContext": "lost"},
    }.get(kind, {})
    folder.mkdir()
    if engine == "context":
        content["currentContext"] = "here"
        meta = folder / "contexts/meta" / hashlib.sha256(b"here").hexdigest()
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(json.dumps({"Name": "here", "Endpoints": {"docker": {"Host": endpoint}}}))
    (folder / "config.json").write_text("{" if kind == "damaged" else json.dumps(content))


def must_live(row: dict[str, str]) -> bool:
    """Whether an engine can be found: then a sentence won't do."""
    if row["engine"] in ("DOCKER_HOST", "loopback"):
        return True
    if row["client"] == "lost context":
        return False  # named by the user, and wrong
    if row["engine"] == "context":
        return row["config"] != "damaged"
    return row["engine"] == "Docker Desktop's socket" and row["home"] in ("own", "odd name")


#: What the examples have shown: counted, and printed at the end (pytest -s).
counts: dict[str, int] = {"examples": 0, "live": 0, "sentences": 0, "typed": 0}


def each_value(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The first rows in which each value occurs at least once."""
    seen: set[tuple[str, str]] = set()
    return [row for row in rows if len(seen) < len(seen := seen | row.items())]


def tried(rows: list[dict[str, str]], more: int):
    """A test that tries these rows, and ``more`` that Hypothesis thinks of."""

    def wrap(test):
        test = functools.reduce(lambda made, row: example(row=row)(made), rows, test)
        return settings(
            max_examples=more, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )(given(row=st.fixed_dictionaries({name: st.sampled_from(every) for name, every in DIMENSIONS.items()}))(test))  # fmt: skip

    return wrap


@pytest.mark.timeout(1200)
@tried(each_value(pairwise()), 2)
def test_environments_end_live_or_with_one_sentence(place, engine, row):
    _try(place, engine, row)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@tried(pairwise(), 5)
def test_environments_every_pair_of_values(place, engine, row):
    _try(place, engine, row)


def _try(place, engine, row: dict[str, str]) -> None:
    root, port = place
    own = Path(tempfile.mkdtemp(prefix="e", dir=root))
    own.chmod(0o755)
    (own / "here").mkdir()
    os.chmod(own / "here", 0o777)
    try:
        done = subprocess.run(
            [*NOBODY, sys.executable, "-c", PROGRAM], env=environment(row, root, port, own), cwd=own / "here",
            capture_output=True, text=True, errors="replace", timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{row}\n{done.stderr}"
        told = json.loads(done.stdout.splitlines()[-1])
        counts["examples"] += 1
        counts["live"] += "said" in told
        counts["sentences"] += "fault" in told
        _judge(row, told)
        if "session" in told:
            assert left_behind(engine, told["session"]) == []
        _nothing_left(row, own)
    finally:
        shutil.rmtree(own)


def _judge(row: dict[str, str], told: dict) -> None:
    if must_live(row):
        assert told.get("said") == "live" and "fault" not in told, f"{row}\n{told}"
    for fault in filter(None, [told.get("fault"), told["typed"] if isinstance(told.get("typed"), dict) else None]):
        assert fault["what"] and fault["next"], f"{row}\n{fault}"
        assert "Traceback" not in str(fault)
    if "said" in told and row["path"] == "docker":
        assert "typed" in str(told["typed"]) and not isinstance(told["typed"], dict), f"{row}\n{told}"
        counts["typed"] += 1
    if "kept" in told and told["kept"] != "kept":
        assert "LABKIT_STATE" in told["kept"] and row["state"] not in ("relative",), f"{row}\n{told}"


def _nothing_left(row: dict[str, str], own: Path) -> None:
    assert not Path("/tmp/podman-was-asked").exists()
    allowed = {"kept"} if "relative" in (row["cache"], row["state"]) else set()
    assert {path.name for path in (own / "here").iterdir()} <= allowed, row
    if not ROOT:
        return
    processes = [path for path in Path("/proc").glob("[0-9]*") if _uid(path) == 12345]
    assert processes == [], row
    places = [path.name for path in (*Path("/tmp").iterdir(), *Path("/var/tmp").iterdir()) if _uid(path) == 12345]
    assert set(places) <= {"labkit-12345"}, row


def _uid(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except OSError:
        return -1


def test_environments_were_many_and_not_all_alike(place):
    """The figures of the tests above; they have run before this one."""
    print(f"\n{counts}, of {sum(map(len, DIMENSIONS.values()))} values")
    assert counts["examples"] >= len(each_value(pairwise()))
    assert counts["live"] > counts["examples"] / 2 > counts["sentences"] > 0
