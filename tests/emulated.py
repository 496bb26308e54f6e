"""Where labkit's own engine is the one that tests run on, and is emulated: what `make test` leaves out there.

Each container costs seconds then. ``python -m tests.emulated`` prints the labs that `make notebooks` runs then, and nothing where it runs all.
"""

import os

from labkit import engine as engines
from labkit.engine.embedded import accel, host

#: Tests that a file runs on the shared engine.
SAMPLE = 2
#: Notebooks that are compared, and labs that Chromium presses: the first, the engine's daemons and its kernel, events.
COMPARED = ("00", "06", "08")
PRESSED = ("00", "07")


def emulated() -> bool:
    """Whether the shared engine is an emulated one."""
    choice = os.environ.get("LABKIT_ENGINE", "")
    if choice != "embedded" and (choice not in ("", "host") or engines.find_host()[0] is not None):
        return False
    found = host.have_qemu()
    return found is None or not any(accel.recall(name, found) for name in accel.candidates())


if __name__ == "__main__":
    print(*COMPARED if emulated() else ())
