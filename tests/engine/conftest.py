"""An engine that tests may break, for the tests that ask for one by name; and a sample where all would take hours."""

import os

import pytest

from labkit import engine as engines
from labkit import images
from labkit.engine import embedded
from labkit.engine.embedded import accel, host

#: Tests that a file runs on the shared engine where that one is emulated; each container costs seconds there.
SAMPLE = 2


def pytest_collection_modifyitems(config, items):
    """Without a host engine, each file's first tests on the shared engine stand for the others, unless all are asked for
    by an empty ``-m``. The labs themselves run whole."""
    if not config.option.markexpr or not _emulated():
        return
    seen: dict[str, int] = {}
    left = []
    for item in items:
        place = str(item.path)
        if "engine" not in item.fixturenames or not place.startswith(os.path.dirname(__file__)):
            continue
        seen[place] = seen.get(place, 0) + 1
        if seen[place] > SAMPLE:
            left.append(item)
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


def _emulated() -> bool:
    choice = os.environ.get("LABKIT_ENGINE", "")
    if choice != "embedded" and (choice not in ("", "host") or engines.find_host()[0] is not None):
        return False
    found = host.have_qemu()
    return found is None or not any(accel.recall(name, found) for name in accel.candidates())


@pytest.fixture(scope="module")
def owned():
    """labkit's own engine, one a module, with all lab images.

    The build is shared through the cache (``LABKIT_CACHE``): the first one takes two minutes or so.
    """
    with embedded.start(images=images.archives) as found:
        yield found
