"""The embedded engine where no QEMU and no mke2fs are installed: labkit brings both."""

import shutil
from contextlib import closing
from pathlib import Path

import docker
import pytest

from labkit import images
from labkit.engine import embedded
from labkit.engine.embedded import builder, host, programs, rootfs

from ..helpers import wait_until


@pytest.fixture
def nothing_installed(monkeypatch):
    which = shutil.which
    hidden = ("qemu", "mke2fs")
    monkeypatch.setattr(host.shutil, "which", lambda name, **k: None if name.startswith(hidden) else which(name, **k))


@pytest.mark.slow  # as test_bare_machine.py's engine, which is made on a QEMU of labkit's own, too
def test_an_engine_on_labkits_own_qemu(nothing_installed):
    with embedded.start(images=images.archives) as found:
        version = host.find_qemu().version
        assert str(programs.folder(host.qemu_kit())) in host.find_qemu().path and version.startswith("QEMU")
        pid, folder = found.pid(), found.folder
        with closing(docker.DockerClient(**found.client_options(), timeout=120)) as client:
            assert client.containers.run(images.BUSYBOX, ["echo", "own"], remove=True) == b"own\n"
        # What looks for a machine's process finds this one too, whatever its first word is.
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert str(folder).encode() in words
        assert builder.in_use(found.build)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_disk_of_labkits_own_mke2fs(nothing_installed, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("here")
    rootfs.disk_image(tmp_path / "root", tmp_path / "disk", size=64 * 1024**2)
    assert (tmp_path / "disk").read_bytes()[1080:1082] == b"\x53\xef", "the mark of ext4"
