"""``labkit engine``: labkit's own engine, for any Docker client."""

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import Any

from ..errors import LabError
from ..paths import cache_dir, data_file
from ..units import show_size
from .common import add_json, say, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("build", "make the engine's image and snapshot"),
        ("up", "start it and print how to point any Docker client at it, and labkit's own docker, buildx and Compose"),
        ("down", "stop the one that up started"),
        ("status", "what is built and what runs"),
        ("export", "write the built engine into one file, which holds no private key"),
        ("import", "take the engine from such a file instead of building it"),
    ):
        sub = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        add_json(sub)
        if name == "export":
            sub.add_argument("file", metavar="FILE", type=Path, help="the file to write")
        if name == "import":
            sub.add_argument("source", metavar="FILE|URL", help="an exported engine, or its http(s) address")
            sub.add_argument(
                "--shared", action="store_true",
                help="for all users of this machine, read-only for them: each has keys of their own",
            )  # fmt: skip
        if name == "build":
            sub.add_argument("--force", action="store_true", help="build again even if it is there")
        if name in ("build", "export"):
            sub.add_argument("--suite", help="Debian suite or its Docker Engine's version; default: the current one")
            sub.add_argument("--store", help="image store: overlay2 or containerd; default: the engine's own choice")
        if name == "up":
            sub.add_argument("--port", type=int, help="loopback port for it; default: a free one")


def main(options: argparse.Namespace) -> int:
    from .. import images
    from ..engine import clients, embedded

    if options.action in ("build", "export"):
        chosen = embedded.variant(options.suite, options.store) if options.suite or options.store else None
    if options.action == "build":
        place = embedded.build(force=options.force, variant=chosen, images=images.archives)
        clients.typing()  # what is built where there is a network is often used where there is none
        tell(options, {"path": str(place)}, f"Built: {place}")
    elif options.action == "up":
        engine = embedded.up(images=images.archives, port=options.port)
        if options.port and not engine.endpoint.endswith(f":{options.port}"):
            say(f"It runs already, at {engine.endpoint}. For another port: labkit engine down first.")
        environment = {**engine.environment(), **clients.typing(), **clients.past_proxies()}
        tell(
            options, environment, "\n".join(f"export {key}={shlex.quote(value)}" for key, value in environment.items())
        )
    elif options.action == "down":
        stopped = bool(embedded.down())
        tell(options, {"stopped": stopped}, "Stopped." if stopped else "Nothing was up.")
    elif options.action == "export":
        clients.typing()  # so that they travel along
        table = embedded.export(options.file, variant=chosen, images=images.archives)
        facts = {"path": str(options.file.resolve()), "bytes": options.file.stat().st_size, **table}
        tell(options, facts, f"Exported: {facts['path']}, {show_size(facts['bytes'])}")
    elif options.action == "import":
        if options.shared:
            os.umask(0o022)  # whoever imports it, all may read it
        place = embedded.import_and_prepare(options.source, shared=options.shared)
        if options.shared:
            _fill()
        others = f"\nFor all users of this machine: LABKIT_CACHE={cache_dir()}" if options.shared else ""
        tell(options, {"path": str(place)}, f"Imported: {place}{others}")
    else:
        status = embedded.status()
        tell(options, status, _lines(status))
    return 0


def _fill() -> None:
    """Make what labs 02 and 05 make from packages when they are first run: who shares this cache can't."""
    from .. import debian
    from ..engine.embedded import small
    from ..observe import workshop

    for make in (small.files, *workshop.all_tools(debian.architecture())):
        try:
            make()
        except LabError as reason:
            say(f"Labs 02 and 05 will say so in some cells: {reason}")


def _made_of(versions: dict[str, str]) -> str:
    """What the machine is made of, and whether the course was verified with just that."""
    verified = json.loads(data_file("verified.json").read_text(encoding="utf-8"))
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    if versions == verified["versions"]:
        return f"Made of: {names}; the course was verified with these on {verified['date']}"
    other = ", ".join(f"{name} {version}" for name, version in verified["versions"].items())
    return f"Made of: {names}\nVerified: on {verified['date']}, with {other}"


def _lines(status: dict[str, Any]) -> str:
    if not status["build"]:
        return "Not built yet. The first start does it, or: labkit engine build"
    images = ", ".join(name.removesuffix(".tar") for name in status["images"]) or "none"
    lines = [
        f"Built: {status['build']}" + (f", imported from {status['imported']}" if status["imported"] else ""),
        _made_of(status["versions"]),
        f"Takes: {show_size(status['disk'])} of disk, all builds and snapshots together",
        f"Holds the images: {images}",
        f"Resumes as: {', '.join(status['snapshots']) or 'nothing yet: the first start boots and saves a snapshot'}",
    ]
    if status["endpoint"]:
        hours = status["idle_limit"] / 3600
        lines.append(f"Runs: {status['endpoint']}, process {status['pid']}; stops after {hours:.3g} h without use")
    else:
        lines.append("Runs: no. Start it with: labkit engine up")
    return "\n".join(lines)
