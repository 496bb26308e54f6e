"""An engine that tests may break, for the tests that ask for one by name."""

import pytest

from labkit import images
from labkit.engine import embedded


@pytest.fixture(scope="module")
def owned():
    """labkit's own engine, one a module, with all lab images.

    The build is shared through the cache (``LABKIT_CACHE``): the first one takes two minutes or so.
    """
    with embedded.start(images=images.archives) as found:
        yield found
