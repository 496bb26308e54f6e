"""Which machine is built: the current suite's, or the last good one's when that fails."""

import pytest

from labkit.engine.embedded import builder, keys, machine, packages, store
from labkit.errors import LabError
from labkit.saying import listening


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A cache of its own in which suites "build" as the test says; returns those tried and those broken."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.delenv("LABKIT_SUITE", raising=False)
    monkeypatch.setattr(builder.host, "find_qemu", lambda *_: None)
    tried, broken = [], set()

    def make(folder, earlier, images, variant, facts):
        tried.append(variant.suite)
        if variant.suite in broken:
            raise LabError(f"{variant.suite} does not boot.")
        keys.make(folder / "keys", earlier)
        (folder / "kernel").write_text(variant.suite)
        store.seal(folder, ["kernel"], suite=variant.suite, images=[path.name for path in images], **facts)

    monkeypatch.setattr(builder, "_make", make)
    return tried, broken


def test_the_current_suite_is_built_and_found_again(made):
    tried, _ = made
    folder = builder.build()
    assert builder.build() == builder.current() == folder and tried == [packages.CURRENT]


def test_a_current_suite_that_fails_gives_way_to_the_last_good_one_with_a_sentence(made):
    tried, broken = made
    broken.add(packages.CURRENT)
    said = []
    with listening(said.append):
        folder = builder.build()
    assert tried == [packages.CURRENT, packages.LAST_GOOD]
    assert any(packages.LAST_GOOD in line and "does not boot" in line for line in said)
    assert store.manifest(folder)["suite"] == packages.LAST_GOOD
    # It is taken from then on, without trying again each time; --force tries again.
    assert builder.build() == builder.current() == folder and len(tried) == 2
    broken.clear()
    assert store.manifest(builder.build(force=True))["suite"] == packages.CURRENT
    assert store.manifest(builder.current())["suite"] == packages.CURRENT


def test_a_forced_build_leaves_the_keys_of_running_engines(made):
    tried, _ = made
    place = builder.build()
    running = machine.Machine(keys.Keys(place / "keys"))
    known = {path: path.read_bytes() for path in running.keys.folder.rglob("*.pem")}
    assert builder.build(force=True) == place and len(tried) == 2
    assert {path: path.read_bytes() for path in running.keys.folder.rglob("*.pem")} == known
    (place / "keys/server/server.pem").write_text("damaged")
    builder.build(force=True)
    assert {path: path.read_bytes() for path in running.keys.folder.rglob("*.pem")} != known
    machine.client_context(running.keys)


def test_who_wants_images_is_not_given_a_build_without_any(made, tmp_path):
    """A program's first ``find()`` builds one, and every lab after it would do without."""
    tried, _ = made
    (tmp_path / "busybox.tar").write_text("an image")
    bare = builder.build()
    full = builder.build(images=lambda: [tmp_path / "busybox.tar"])
    assert full != bare and builder.build() == builder.build(images=lambda: pytest.fail("made again")) == full
    assert len(tried) == 2


def test_a_suite_that_was_asked_for_is_not_replaced(made, monkeypatch):
    tried, broken = made
    broken.add(packages.CURRENT)
    with pytest.raises(LabError, match="forky does not boot"):
        builder.build(variant=packages.Variant(packages.CURRENT))
    broken.add("bookworm")
    monkeypatch.setenv("LABKIT_SUITE", "20.10")
    with pytest.raises(LabError, match="bookworm does not boot"):
        builder.build()
    assert packages.LAST_GOOD not in tried


def test_when_both_fail_the_first_is_what_is_told(made):
    _, broken = made
    broken.update(packages.SUITES)
    with pytest.raises(LabError, match="forky does not boot"):
        builder.build()


def test_a_last_good_build_made_on_purpose_stands_in_for_nothing(made):
    builder.build(variant=packages.Variant(packages.LAST_GOOD))
    assert builder.current() is None


def test_a_build_of_an_earlier_checkout_is_cleared_in_time_with_its_packages(made, tmp_path, monkeypatch):
    old = tmp_path / "embedded/0123456789abcdef-01234567"
    old.mkdir(parents=True)
    (old / "kernel").write_text("20.10's")
    store.seal(old, ["kernel"])
    (tmp_path / "packages/amd64/state").mkdir(parents=True)
    (tmp_path / "packages/forky/amd64/state").mkdir(parents=True)
    builder.build()
    assert old.exists(), "another checkout may still want it"
    assert not (tmp_path / "packages/amd64").exists() and (tmp_path / "packages/forky/amd64").exists()
    monkeypatch.setattr(store, "recent", lambda folder: False)
    builder.build(force=True)
    assert not old.exists() and builder.current().exists()
