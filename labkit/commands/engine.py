"""``labkit engine``: labkit's own engine, for any Docker client."""

from __future__ import annotations

import argparse
import json
import shlex

from .common import add_json, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("build", "make the engine's image and snapshot"),
        ("up", "start it and print how to point any Docker client at it"),
        ("down", "stop the one that up started"),
        ("status", "what is built and what runs"),
    ):
        sub = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        add_json(sub)
        if name == "build":
            sub.add_argument("--force", action="store_true", help="build again even if it is there")


def main(options: argparse.Namespace) -> int:
    from .. import images
    from ..engine import embedded

    if options.action == "build":
        place = embedded.build(progress=say, force=options.force, images=images.archives)
        print(json.dumps({"path": str(place)}) if options.json else f"Built: {place}")
    elif options.action == "up":
        environment = embedded.up(progress=say, images=images.archives).environment()
        if options.json:
            print(json.dumps(environment))
        else:
            for key, value in environment.items():
                print(f"export {key}={shlex.quote(value)}")
    elif options.action == "down":
        stopped = embedded.down()
        print(
            json.dumps({"stopped": bool(stopped)}) if options.json else ("Stopped." if stopped else "Nothing was up.")
        )
    else:
        status = embedded.status()
        print(json.dumps(status, indent=1, default=str) if options.json else _lines(status))
    return 0


def _lines(status: dict) -> str:
    return "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in status.items())
