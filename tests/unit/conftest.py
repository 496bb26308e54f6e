"""What several unit tests start from."""

import pytest

from labkit.engine.embedded import archive, carry, host, snapshot

#: What an exported engine's table says of it.
FACTS = {
    "labkit": "0.1.0", "architecture": host.machine_type(), "suite": "forky", "store": "", "packages": ["docker.io"],
    "kernel": "7", "images": ["box.tar"], "links": {},
    "snapshot": {"shape": {"memory": 1, "cpus": 1, "accelerator": "tcg"}, "qemu": "QEMU", "command": "x"},
}  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LABKIT_SUITE", raising=False)
    monkeypatch.delenv("LABKIT_STORE", raising=False)
    monkeypatch.setenv("LABKIT_ACCELERATOR", "tcg")  # a stand-in for a kernel starts under none
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path):
    """A function that writes a whole archive with tiny members; facts and files may be changed."""

    def written(name="engine.labkit", files=None, **facts):
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        names = [f"build/{each}" for each in carry._BUILD] + [f"snapshot/{each}" for each in snapshot.FILES]
        content = {each: each.encode() * 1000 + bytes(1 << 18) for each in names} | {"images/box.tar": b"box"}
        paths = {}
        for number, (each, data) in enumerate((content | (files or {})).items()):
            paths[each] = source / str(number)
            paths[each].write_bytes(data)
        archive.write(tmp_path / name, FACTS | facts, paths, tmp_path)
        return tmp_path / name

    return written
