"""An engine that tests may break, the lanes in which tests run, and a sample where all would take hours."""

import os
from pathlib import Path

import pytest

from labkit import images
from labkit.engine import embedded

from ..emulated import SAMPLE, emulated

#: Files that share more than the engine which answers here: labkit's own build and its snapshot, one of which is moved
#: away, or what Podman keeps on a machine. Each of these takes one lane; so does any other file.
TOGETHER = {
    "its own": (
        "carry", "embedded_engine", "embedded_life", "embedded_unprivileged", "history_owned", "learner_embedded",
        "limits_owned", "own_qemu", "parts_owned", "typed",
    ),
    "podman": ("matrix", "native_engine", "podman"),
}  # fmt: skip
LANE = {f"test_{name}": lane for lane, names in TOGETHER.items() for name in names}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Lanes of `make engine`: most tests wait for an engine, only an emulated one keeps a processor busy."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, 2) if emulated() else min(cpus + 1, 4)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests run in one lane, and files that belong together. (The mark xdist_group does nothing with pytest 9.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            stem = Path(nodeid.partition("::")[0]).stem
            return LANE.get(stem, stem)

    return Lanes(config, log)


def pytest_collection_modifyitems(config, items):
    """Without a host engine, each file's first tests on the shared engine stand for the others, unless all are asked
    for by an empty ``-m``."""
    if not config.option.markexpr or not emulated():
        return
    here = os.path.dirname(__file__)
    seen: dict[str, int] = {}
    left = []
    for item in items:
        place = str(item.path)
        if "engine" not in item.fixturenames or item.get_closest_marker("slow") or not place.startswith(here):
            continue
        seen[place] = seen.get(place, 0) + (not item.name.endswith("-nothing]"))  # nothing done costs nothing
        if seen[place] > SAMPLE:
            left.append(item)
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="module")
def owned():
    """labkit's own engine, one a module, with all lab images.

    The build is shared through the cache (``LABKIT_CACHE``): the first one takes two minutes or so.
    """
    with embedded.start(images=images.archives) as found:
        yield found
