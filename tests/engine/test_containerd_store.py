"""containerd's image store, live: a newer Docker Engine than the machine's, from Debian's packages.

It runs in a root, a mount namespace and a network namespace of its own, so nothing of it touches the
machine's engine. The machine needs its packages (about 65 MB) and a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from labkit import debian
from labkit import engine as engines
from labkit.errors import LabError
from labkit.experiments import anatomy, pipeline, pushes, registry, writable

from ..conftest import open_context
from .daemons import mounts_below

SUITE = "trixie"
PACKAGES = ("docker.io", "iptables", "mount")
SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {} main\n"

# Becomes dockerd in its own root. What it mounts before is seen by nobody else.
_SCRIPT = """
set -e
mount --bind "$1" "$1"; cd "$1"
mount --rbind /proc proc; mount --rbind /sys sys; mount --rbind /dev dev; mount -t tmpfs tmpfs tmp
ip link set lo up
pivot_root . mnt; cd /; umount -l /mnt
exec dockerd -H unix:///run/docker.sock --cgroup-parent "/labkit-$2"
"""


def unpacked(folder) -> str:
    """The suite's Docker Engine below a folder; returns its root."""
    sources = folder / "sources.list"
    sources.write_text(SOURCE.format(SUITE))
    only = ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"]
    arch = debian.architecture()
    debian._apt(folder, arch, *only, "update")
    debian._apt(folder, arch, *only, "install", "--download-only", *PACKAGES)
    root = folder / "root"
    debian.unpack(sorted((folder / "cache/archives").glob("*.deb")), root)
    debian.merge_usr(root)
    for name in ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "etc/docker"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("iptables", "ip6tables"):
        (root / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\ndocker:x:999:\n")
    (root / "etc/docker/daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    subprocess.run(["ldconfig", "-r", root], check=True)
    return str(root)


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    folder = tmp_path_factory.mktemp("containerd")
    root = unpacked(folder)
    name = f"containerd-{os.getpid()}"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", root, name],
            stdout=log, stderr=log, start_new_session=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
    try:
        with open_context(started(f"unix://{root}/run/docker.sock", process, folder / "log")) as context:
            yield context
    finally:
        process.terminate()
        process.wait(60)
        assert mounts_below(root) == []
        shutil.rmtree(root)
        for place in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{one}" for one in os.listdir("/sys/fs/cgroup"))):
            if os.path.isdir(f"{place}/labkit-{name}"):
                os.rmdir(f"{place}/labkit-{name}")


def started(endpoint: str, process: subprocess.Popen, log):
    """The engine at an endpoint, as soon as it answers."""
    patience = time.monotonic() + 60
    while True:
        try:
            return engines.find(endpoint)
        except LabError:
            assert process.poll() is None and time.monotonic() < patience, log.read_text()[-2000:]
            time.sleep(0.1)


@pytest.fixture(scope="module")
def store(on):
    with registry.start(on) as running:
        yield running


def test_it_is_containerds_store(on):
    assert on.facts.image_store == "containerd"


def test_the_second_push_uploads_exactly_what_is_new(on, store):
    run = pushes.two_pushes(on, store)
    assert len(run.first.uploaded) == 5 and len(run.missing) == 3
    assert sorted(run.second.uploaded) == sorted(run.missing)


def test_every_name_is_recomputed_from_the_archive_and_from_the_registry(on, store):
    run = pushes.everywhere(on, store)
    assert str(run).count("yes") == 2, str(run)
    # Here an image's ID is its manifest's digest, and so the same word in the registry.
    assert [opened.image_id for opened in run.archives.values()] == [store.digest("every", tag) for tag in "123"]


def test_a_push_that_broke_off_is_completed_by_the_next(on, store):
    assert str(pushes.broken_push(on, store)).count("yes") == 2


def test_containers_share_the_image_and_write_apart(on):
    run = writable.two_containers(on)
    assert str(run).count("yes") == 3 and run.reader.changes == {}


def test_one_digest_goes_from_the_registry_to_production(on):
    release = pipeline.run(on, mode="deployment")
    assert release.released and release.digest == release.staging == release.production
    assert anatomy.require_image(on, release.digest and f"{registry.start(on).address}/tea@{release.digest}")
