"""``labkit clean``: remove what labs left on an engine, and only that."""

import argparse
from contextlib import closing

from .. import engine as engines
from .common import add_engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine(parser)
    parser.add_argument("--all", action="store_true", help="also what living sessions hold, and the lab's base images")


def main(options: argparse.Namespace) -> int:
    kept = 0
    found = engines.present(options.engine)
    for engine in found:
        with engine, closing(engines.Session(engine, "clean")) as session:
            done = engines.clean(session.docker, everything=options.all)
        print(f"Removed {done} from {engine.endpoint}.")
        for line in done.kept:
            print(f"Not removed: {line}")
        kept += len(done.kept)
    if not found:
        print("No engine runs here, so there is nothing to remove.")
    return 1 if kept else 0
