"""``labkit join``: into a class, what is sent to it, and out of it again."""

import argparse
import json

from ..course import classroom
from ..course.progress import Progress
from ..errors import BadInput, NotPossibleHere


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="?", help="the class's, such as 192.168.1.5:8890; without it: where you are")
    parser.add_argument("code", nargs="?", help="the class's code")
    parser.add_argument("--name", default="", help="what the class calls you; without it, a pseudonym")
    parser.add_argument("--leave", action="store_true", help="leave the class; its board forgets you")


def main(options: argparse.Namespace) -> int:
    progress = Progress()
    if options.leave:
        print(classroom.leave(progress.membership))
        return 0
    if options.address and not options.code:
        raise BadInput("A class has an address and a code.", next_step="labkit join ADDRESS CODE")
    if options.address:
        called = classroom.join(progress.membership, options.address, options.code, options.name)
    elif not (known := classroom.joined(progress.membership)):
        raise BadInput("You are in no class.", next_step="labkit join ADDRESS CODE")
    else:
        called = known["name"]
        print(f"The class is at {known['address']}." + (f" {known['says']}" if known.get("says") else ""))
    report = progress.hand_in()
    print(classroom.JOINED.format(name=called, sent=json.dumps(report, indent=1)))
    try:
        classroom.send(progress.membership, report)
    except NotPossibleHere as gone:
        print(gone)
    return 0
