"""The engine in one file: exported, imported into an empty cache by an ordinary user; and no key travels. All live."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import docker
import pytest
from cryptography.hazmat.primitives import serialization

from labkit import images
from labkit.engine import clients, embedded
from labkit.engine.embedded import archive, builder, host, snapshot

from .test_embedded_unprivileged import IMAGE, LIMITS, ROOT, USER, mounts, skeleton

#: A private key in PEM. Programs hold the first line alone: it is what they look for.
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+([A-Za-z0-9+/]{64})")

#: The beginning (the public part) of a key that everybody has: Go's net/http/internal/testcert, which programs
#: that import httptest keep in their memory.
EVERYBODYS = b"MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDFyXr1E4l3GM34"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """This checkout's engine in a file, with the folder of the build that it is made from."""
    build = embedded.build(images=images.archives)
    clients.ensure()  # so that the client programs travel along
    path = tmp_path_factory.mktemp("export") / "engine.labkit"
    path.parent.chmod(0o755)  # an ordinary user reads it
    began = time.monotonic()
    embedded.export(path)
    print(f"\nexported {path.stat().st_size / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
    return path, build


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, exported, request):
    """A function that runs labkit as an ordinary user, with no network and a cache that was empty; the cache."""
    try:
        engine = docker.from_env()
        engine.ping()
    except docker.errors.DockerException as reason:
        pytest.skip(f"needs a host engine for the sandbox: {reason}")
    engine.api.import_image_from_data(skeleton(), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    request.addfinalizer(lambda: engine.images.remove(IMAGE, force=True))
    cache = tmp_path_factory.mktemp("cache")
    base = ["docker", "run", "--rm", "--label=labkit.test=sandbox", *mounts()]
    give = [*base, f"--volume={cache}:/cache", IMAGE, "/bin/sh", "-c", f"chown {USER}:{USER} /cache"]
    subprocess.run(give, check=True, timeout=60)

    def run(script, *, cache_mode="rw"):
        environment = {
            "HOME": "/tmp", "LABKIT_CACHE": "/cache", "LABKIT_STATE": "/tmp/state", "LC_ALL": "C.UTF-8",
            "PATH": os.environ["PATH"] + ":/usr/bin:/bin", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
            "PYTHONDONTWRITEBYTECODE": "1", "LABKIT": f"{sys.executable} -m labkit",
        }  # fmt: skip
        words = [f"--env={key}={value}" for key, value in environment.items()]
        words += [f"--volume={cache}:/cache:{cache_mode}", f"--volume={exported[0].parent}:/stick:ro"]
        words += ["--tmpfs=/tmp:mode=1777", "--tmpfs=/var/tmp:mode=1777"]
        return subprocess.run(
            [*base, *LIMITS, *words, IMAGE, "/bin/sh", "-c", script], capture_output=True, text=True, timeout=600
        )

    return run, cache


def secrets(build):
    """The build's private keys as they could be met: lines of PEM, DER in both forms, the bare numbers."""
    for path in (build / "keys/key.pem", build / "keys/server/server-key.pem"):
        text = path.read_bytes()
        yield from (line for line in text.splitlines() if len(line) > 40 and not line.startswith(b"-"))
        key = serialization.load_pem_private_key(text, None)
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
            yield key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
        number = key.private_numbers().private_value
        yield from (number.to_bytes(32, order) for order in ("big", "little"))


def found_in(path, needles, *, strangers=True):
    """Which needles a file holds, and with ``strangers`` which other private keys."""
    found, rest = set(), b""
    with open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            if block != bytes(len(block)):
                text = rest + block
                found |= {needle for needle in needles if needle in text}
                found |= set(PEM.findall(text)) - {EVERYBODYS} if strangers else set()
            rest = block[-4096:]
    return found


def test_no_private_key_is_in_the_file(exported, tmp_path):
    path, build = exported
    needles = set(secrets(build))
    opened = archive.Archive(path)
    assert {"build/base.qcow2", "snapshot/ram", "snapshot/state", "snapshot/disk.qcow2"} <= set(opened.files)
    opened.unpack({name: tmp_path / name for name in opened.files})
    # The disk as its machine sees it: an image's clusters need not lie in order.
    img = host.find_qemu().img
    host.run_tool([img, "rebase", "-u", "-b", "../build/base.qcow2", "-F", "qcow2", "snapshot/disk.qcow2"], tmp_path)
    for name in ("build/base.qcow2", "snapshot/disk.qcow2"):
        host.run_tool([img, "convert", "-O", "raw", name, f"{name}.raw"], tmp_path)
    for each in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        # Debian's own files may hold keys for self-tests, which everybody has (libgnutls does).
        packaged = (tmp_path / "programs") in each.parents
        assert found_in(each, needles, strangers=not packaged) == set(), each
    # The same search does find the key in the memory of the machine that has it.
    shape = snapshot.existing(build, host.find_qemu(), "tcg", host.memory_limit())
    assert found_in(snapshot.folder_of(build, host.find_qemu(), shape) / "ram", needles)


def test_from_the_file_to_a_live_engine_in_an_empty_cache(exported, elsewhere, record_property):
    path, build = exported
    run, cache = elsewhere
    done = run(
        "cd /tmp; now() { date +%s.%N; }; begun=$(now)\n"
        f"$LABKIT engine import /stick/{path.name} >&2 || exit 1\n"
        'settings=$($LABKIT engine up) || exit 1; eval "$settings"; up=$(now)\n'
        f"docker run --rm {images.BUSYBOX} echo it answers || exit 1\n"
        'echo "$begun $up $(now)"; docker info -f "{{.ID}}"; cat "$DOCKER_CERT_PATH/key.pem" | head -n 2 | tail -n 1\n'
        "$LABKIT engine status --json; $LABKIT engine down >&2"
    )
    assert done.returncode == 0, done.stderr
    answer, times, _, key, status = done.stdout.split("\n", 4)
    assert answer == "it answers"
    begun, up, answered = map(float, times.split())
    record_property("seconds_to_live", round(up - begun, 1))
    print(f"\nfrom import to live: {up - begun:.1f} s; its first docker run ended after {answered - begun:.1f} s")
    print(done.stderr)
    assert "booting from" not in done.stderr  # how long it took is printed: 20 s on a quiet machine
    assert json.loads(status)["imported"] == f"/stick/{path.name}"
    assert key and key not in (build / "keys/key.pem").read_text()
    theirs = next(cache.glob("embedded/*-imported-*"))
    assert not (theirs / "snapshots" / snapshot.KEYLESS).exists()


def test_a_class_shares_an_imported_cache_read_only(elsewhere):
    run, cache = elsewhere
    before = sorted(path for path in cache.rglob("*"))
    script = f'eval "$($LABKIT engine up)" && docker run --rm {images.BUSYBOX} echo shared; $LABKIT engine down >&2'
    done = run(script, cache_mode="ro")
    assert done.stdout == "shared\n", done.stderr
    assert sorted(path for path in cache.rglob("*")) == before
    refused = run("LABKIT_SUITE=bookworm $LABKIT engine up", cache_mode="ro")
    assert refused.returncode == 1 and "read-only" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.slow
def test_what_was_imported_can_be_exported_again(exported, elsewhere, tmp_path, monkeypatch):
    path, _ = exported
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "one"))
    first = embedded.bring(str(path))
    again = tmp_path / "again.labkit"
    table = embedded.export(again)
    assert builder.current() == first
    known = archive.Archive(path).files
    same = [name for name in table["files"] if name.startswith("build/")]
    assert [table["files"][name] for name in same] == [known[name] for name in same]
    shutil.rmtree(tmp_path / "one")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "two"))
    second = embedded.bring(str(again))
    with embedded.start() as engine:
        assert engine.build == second and engine.shell("cat /var/lib/docker/engine-id").strip()
