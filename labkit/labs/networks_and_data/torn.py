"""A program that is killed in the middle of a write, with and without a volume, in place and by a new file."""

import contextlib
import hashlib
import random
import re
import time
from dataclasses import dataclass

from docker.errors import NotFound
from docker.models.containers import Container
from docker.types import Mount

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...engine.client import small_file
from ...errors import BadInput
from ...paths import data_file
from ...units import yes_no
from ...waiting import wait_until
from .places import volumes

#: Where the ledger lies, and how it is written: (volume, by a new file), each with its name.
CASES = {
    "own layer, in place": (False, "place"),
    "own layer, new file": (False, "new"),
    "volume, in place": (True, "place"),
    "volume, new file": (True, "new"),
}
FOLDER = "/var/ledger"
FILE = f"{FOLDER}/ledger"


def program() -> str:
    """The program that keeps the ledger, as text."""
    return data_file("apps", "data", "ledger.sh").read_text(encoding="utf-8")


def judged(text: str | None) -> int | None:
    """The number of the record in a ledger; 0 where its checksum does not fit, None where there is no file."""
    if text is None:
        return None
    body, _, seal = text.strip().rpartition("\n")
    found = re.match(r"record (\d+) ", body)
    whole = hashlib.sha256(f"{body}\n".encode()).hexdigest() == seal.split(" ")[0]
    return int(found[1]) if found and whole else 0


@dataclass(frozen=True)
class Kill:
    """What was found after one kill: the record that the program had last said it keeps, and what the file holds.

    ``found`` as :func:`judged`; ``rows`` are the rows in the file, ``end`` is its last line: the checksum, if it is whole.
    """

    said: int
    found: int | None
    rows: int
    end: str = ""


class Torn(Result):
    """For each case its kills, and the file that a new container finds after the old one was removed."""

    kills: dict[str, list[Kill]]
    afterwards: dict[str, Kill | None]

    def facts(self) -> str:
        lines = [f"{'':<22}{'checksum after kills':<22}{'kept what it said':<19}in a new container"]
        for case, kills in self.kills.items():
            torn = any(not kill.found for kill in kills)
            kept = all((kill.found or 0) >= kill.said for kill in kills)
            last = self.afterwards[case]
            # Whole or torn, that is chance: a volume keeps either.
            then = "no file" if last is None else "as the last kill left it" if last == kills[-1] else "another file"
            lines.append(f"{case:<22}{'broken' if torn else 'always right':<22}{yes_no(kept):<19}{then}")
        return "\n".join(lines)


def _file(on: Context, container: Container) -> str | None:
    with contextlib.suppress(NotFound):
        return small_file(container, FILE)
    return None


def _left(on: Context, container: Container, said: int) -> Kill | None:
    text = _file(on, container)
    return None if text is None else Kill(said, judged(text), text.count(" row "), text.strip().rpartition("\n")[2])


def _kept(container: Container) -> list[int]:
    return [int(number) for number in re.findall(r"^keeps (\d+)$", container.logs(stderr=False).decode(), re.M)]


def torn(on: Context, kills: int = 3) -> Torn:
    """Kill a program that writes without pause, read what is left, and start it again; then remove its container.

    Method: in each case the program begins anew after each start. When it has said that it keeps two records, and up
    to 0.3 s later (at random), it gets SIGKILL (``docker kill``); the file is read out of the container that has
    ended. At last the container is removed and a new one is made, with the same volume where there is one.

    Raises:
        BadInput: fewer kills than 1, or more than 20.
    """
    if not 1 <= kills <= 20:
        raise BadInput(f"{kills} kills are not this lab's.", next_step="Choose 1 to 20.")
    chance = random.Random()
    found: dict[str, list[Kill]] = {case: [] for case in CASES}
    afterwards: dict[str, Kill | None] = {}
    with volumes(on, "ledger-a", "ledger-b") as names:
        by_how = dict(zip(("place", "new"), names))
        made: dict[str, Container] = {}
        with contextlib.ExitStack() as stack:
            for case, (volume, how) in CASES.items():
                mounts = [Mount(FOLDER, by_how[how], type="volume")] if volume else []
                script = f"mkdir -p {FOLDER}\n{program()}"
                one = on.container(
                    images.BUSYBOX,
                    ["sh", "-c", script, "ledger", how, FILE],
                    start=False,
                    mounts=mounts,
                    network_mode="none",
                )
                made[case] = stack.enter_context(one)
            for number in range(kills):
                for place, (case, container) in enumerate(made.items()):
                    on.say(f"kill {number + 1} of {kills}: {case}", (number + place / len(made)) / kills)
                    before = len(_kept(container))
                    container.start()
                    wait_until(
                        lambda container=container, before=before: len(_kept(container)) >= before + 2,  # type: ignore[misc]
                        60, "The program did not write two records in time.",
                    )  # fmt: skip
                    time.sleep(chance.uniform(0, 0.3))
                    container.kill()
                    container.wait(timeout=60)
                    said = _kept(container)[-1]
                    found[case].append(_left(on, container, said) or Kill(said, None, 0))
        for case, (volume, how) in CASES.items():
            mounts = [Mount(FOLDER, by_how[how], type="volume")] if volume else []
            with on.container(images.BUSYBOX, ["true"], start=False, mounts=mounts, network_mode="none") as fresh:
                afterwards[case] = _left(on, fresh, found[case][-1].said)
    return Torn(on.facts, found, afterwards)
