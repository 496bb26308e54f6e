"""What a damaged build or snapshot leads to: made anew when its contents differ, told when they don't."""

import os

import pytest

from labkit.engine import embedded
from labkit.engine.embedded import accel, builder, host, qemu, snapshot, store
from labkit.errors import EngineGone
from labkit.saying import listening


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A build that is sealed, in a cache of its own; what is asked of builder and snapshot is noted."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    folder = tmp_path / "embedded" / "build"
    folder.mkdir(parents=True)
    (folder / "base.qcow2").write_text("whole")
    store.seal(folder, ("base.qcow2",), images=["a.tar", "gone.tar"])
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.tar").touch()
    monkeypatch.setattr(host, "find_qemu", lambda *_: host.Qemu("q", "v", "i"))
    monkeypatch.setattr(accel, "choose", lambda *_, **__: "tcg")
    asked = []

    def again(*, images=None, **_):
        asked.append(images)
        return folder

    def ensure(*_, **__):
        if len(asked) == 1:
            raise EngineGone("Kernel panic")
        return folder / "snapshot"

    monkeypatch.setattr(builder, "build", again)
    monkeypatch.setattr(snapshot, "ensure", ensure)
    monkeypatch.setattr(snapshot, "existing", lambda *_: qemu.Shape(host.DEFAULT_MEMORY, 2, "tcg"))
    return folder, asked


def test_a_damaged_build_is_made_anew_with_the_same_images(build, tmp_path):
    build, asked = build
    known = (build / "base.qcow2").stat()
    (build / "base.qcow2").write_text("WHOLE")
    os.utime(build / "base.qcow2", ns=(known.st_atime_ns, known.st_mtime_ns))
    assert store.intact(build) and not store.intact(build, thorough=True)
    told = []
    with listening(told.append):
        assert embedded.prepare()[2] == build / "snapshot"
    assert "damaged" in told[0]
    assert asked == [None, [tmp_path / "images" / "a.tar"]]
    assert not store.intact(build)


def test_a_whole_build_that_does_not_boot_is_told(build):
    build, asked = build
    with pytest.raises(EngineGone, match="Kernel panic"):
        embedded.prepare()
    assert asked == [None] and store.intact(build)
