"""``python -m labkit.engine.embedded.holder OPTIONS``: holds the engine that ``labkit engine up`` started."""

import json
import signal
import sys

from ...errors import LabError
from .lifecycle import hold


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not sys.stdin.readline():
        return  # who started it was interrupted
    try:
        hold(**json.loads(sys.argv[1]))
    except LabError as reason:
        sys.exit(str(reason))


main()
