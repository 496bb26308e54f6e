"""The first file system: an archive the kernel reads, modules in an order that loads."""

import gzip

from labkit.engine.embedded import initramfs

TABLE = initramfs.dependencies(
    "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n"
    "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n"
    "kernel/drivers/virtio/virtio.ko:\n"
    "kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n"
)


def entries(archive):
    """(name, mode, user, content) of each record, read by the kernel's description of the format."""
    found, at = [], 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        at += (110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found.append((name, fields[1], fields[2], archive[at : at + fields[6]]))
        at += (fields[6] + 3) // 4 * 4


def test_cpio_holds_what_was_put_in():
    given = [("dev", 0o040755, b""), ("init", 0o100755, b"#!/bin/sh\n"), ("a/b.ko", 0o100644, b"12345")]
    assert entries(initramfs.cpio(given)) == [(name, mode, 0, data) for name, mode, data in given]


def test_each_module_comes_after_what_it_needs():
    order = initramfs.load_order(("virtio_pci", "virtio_blk"), TABLE)
    assert [initramfs.module_name(path) for path in order] == ["virtio", "virtio_ring", "virtio_pci", "virtio_blk"]


def test_what_the_kernel_has_built_in_is_no_module():
    assert initramfs.load_order(("ext4",), TABLE) == []


def test_module_names():
    assert initramfs.module_name("kernel/a/virtio-rng.ko.zst") == "virtio_rng"


def test_whole_initramfs(tmp_path):
    folder = tmp_path / "usr/lib/modules/6.1"
    for path in TABLE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/busybox").write_bytes(b"busybox")
    made = initramfs.make(tmp_path, "6.1", TABLE)
    assert made == initramfs.make(tmp_path, "6.1", TABLE)  # byte for byte
    found = {name: (mode, data) for name, mode, _, data in entries(gzip.decompress(made))}
    assert found["init"][0] == 0o100755 and found["init"][1].startswith(b"#!/bin/busybox sh")
    listed = found["modules/order"][1].decode().split()
    assert listed[-1] == "virtio_blk.ko"
    assert all(f"modules/{name}" in found for name in listed)
