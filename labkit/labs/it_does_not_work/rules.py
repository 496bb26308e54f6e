"""What has been agreed on the system, as rules: each looks at its behaviour or at the engine, and has a sentence.

An incident is mended when none of them is broken any more. The order matters: the first sentence is the one that a
learner reads, so what the customer feels comes before what only the engine knows.
"""

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from docker.errors import NotFound

from ... import images
from ...course.context import Context
from ...course.state import containers, moment
from ...engine.client import engine_time
from ...observe.visitor import Reply
from ...units import MIB, show_size
from ...waiting import wait_until
from .system import PARTS, RELEASE, USER, System

#: What each part is told by its environment, and the most that it may have.
SETTINGS = {"web": {"API": "api:8000"}, "api": {"STORE": "store:8000"}, "store": {}}
MEMORY, CPUS, SPOOL = 32 * MIB, 0.5, 256 * 1024


class Look:
    """One look at the system: each part as the engine has it, and what a customer gets."""

    def __init__(self, on: Context, system: System):
        self.on, self.system = on, system
        self.order = f"check-{secrets.token_hex(3)}"
        self.rows = {part: self._inspect(part) for part in PARTS}
        self.page = Reply(0, {}, b"", 0.0, "nobody asked")

    def _inspect(self, part: str) -> dict[str, Any]:
        with suppress(NotFound):
            return dict(self.on.docker.api.inspect_container(self.system.words[part]))
        return {}

    def name(self, part: str) -> str:
        """A part's container, as sentences call it."""
        return self.system.words[part]

    def said(self) -> list[str]:
        """The page's lines."""
        return self.page.text().splitlines() if self.page.status == 200 else []

    def book(self) -> list[str] | None:
        """The lines of the book, read from its volume; None where there is no such volume."""
        try:
            self.on.docker.api.inspect_volume(self.system.words["orders"])
        except NotFound:
            return None
        volume = {self.system.words["orders"]: {"bind": "/data", "mode": "ro"}}
        return self.on.ran(images.BUSYBOX, ["cat", "/data/orders"], volumes=volume).text.splitlines()

    def served(self) -> bool:
        """Ask once as a customer who orders; is all as it should be?"""
        self.page = self.system.asked(self.order)
        said = self.said()
        return f"release {RELEASE}" in "".join(said[:1]) and {*self.system.orders, self.order} <= {*said}

    def inside(self, part: str, command: list[str], **options: Any) -> tuple[int, str]:
        """Run a command in a part's container."""
        done = self.on.docker.containers.get(self.name(part)).exec_run(command, **options)
        return int(done.exit_code), done.output.decode("utf-8", "replace").strip()


Rule = Callable[[Look], str]
#: All rules by name, in order.
RULES: dict[str, Rule] = {}
#: Those that only some incidents ask for: they stop or pause something for a moment.
ASKED = ("stops", "truthful")


def rule(function: Rule) -> Rule:
    """The function below is a rule: it returns a sentence, or "" where all is well."""
    RULES[function.__name__] = function
    return function


def broken(on: Context, system: System, also: list[str]) -> tuple[str, str]:
    """The first rule that does not hold, and its sentence; two empty texts where all do."""
    look = Look(on, system)
    # What was started a moment ago gets some time to come up; what does not run will not, and what is held back by its
    # own quota may take for ever.
    if all(row and row["State"]["Status"] == "running" for row in look.rows.values()) and not quick(look):
        newest = max(moment(row["State"]["StartedAt"]) for row in look.rows.values())
        young = engine_time(on.docker.api) - newest < 30
        wait_until(look.served, young * (25 if on.facts.emulated else 5), every=0.5)
    for name, holds in RULES.items():
        if name in ASKED and name not in also:
            continue
        if sentence := holds(look):
            return name, sentence
    return "", ""


def each(look: Look, says: Callable[[str, dict[str, Any]], str]) -> str:
    """The first sentence that ``says`` has on a part, its name before it."""
    found = ((part, says(part, row)) for part, row in look.rows.items() if row)
    return next((f"{look.name(part)} {sentence}" for part, sentence in found if sentence), "")


@rule
def lost(look: Look) -> str:
    if {*look.system.orders} <= {*look.said()}:
        return ""
    book = look.book()
    if book is None:
        return (
            f"all {len(look.system.orders)} orders are lost: they were in the volume {look.system.words['orders']}, and "
            "it has been removed. Nothing brings them back; start the incident again."
        )
    gone = [order for order in look.system.orders if order not in book]
    return f"{len(gone)} of {len(look.system.orders)} orders are no longer in the book: {gone[0]}, …" if gone else ""


@rule
def there(look: Look) -> str:
    gone = [look.name(part) for part, row in look.rows.items() if not row]
    return f"there is no container of this name any more: {', '.join(gone)}. Its data is safe." if gone else ""


@rule
def running(look: Look) -> str:
    def says(part: str, before: dict[str, Any]) -> str:
        now = look._inspect(part) or before
        state = now["State"]
        # Between two tries it runs for a moment: either look may have met that moment.
        tried = before["State"]["Restarting"] or state["Restarting"] or now["RestartCount"] > before["RestartCount"]
        if tried:
            return f"is started again and again: it ended with exit code {state['ExitCode']}."
        return (
            "" if state["Status"] == "running" else f"does not run: {state['Status']}, exit code {state['ExitCode']}."
        )

    return each(look, says)


def quota(row: dict[str, Any]) -> float:
    """Processors that a container may use; 0 for as many as there are."""
    host = row["HostConfig"]
    return float(host["NanoCpus"] / 1e9 or max(0, host["CpuQuota"]) / (host["CpuPeriod"] or 100_000))


@rule
def quick(look: Look) -> str:
    if any(0 < quota(row) < CPUS * 0.8 for row in look.rows.values()):
        return "the customer still has to wait for each page, on a machine that has nothing to do."
    return ""


@rule
def served(look: Look) -> str:
    said = look.said()
    if not said:
        what = f"HTTP {look.page.status}" if look.page.status else f"no answer ({look.page.error.partition(':')[0]})"
        reads = look.system.asked().status == 200
        return f"the customer who orders still gets {what}{', and can only read the page' if reads else ''}."
    if "Tea counter" not in said[0]:
        return f"the customer gets a page, but not the counter's: {said[0][:60]}"
    if f"release {RELEASE}" not in said[0]:
        return f"the customer's page still says: {said[0]}."
    return "" if look.order in said else "a new order does not get into the book."


@rule
def stops(look: Look) -> str:
    def says(part: str, row: dict[str, Any]) -> str:
        container = look.on.docker.containers.get(row["Id"])
        container.stop(timeout=6)
        code = look.on.state(container)["ExitCode"]
        container.start()
        return "did not end when it was asked to, and was killed: exit code 137." if code == 137 else ""

    found = each(look, says)
    if found or wait_until(look.served, 30, every=0.5):
        return found
    return "the counter does not come back when its parts are stopped and started."


@rule
def limits(look: Look) -> str:
    def says(_: str, row: dict[str, Any]) -> str:
        memory, cpus = row["HostConfig"]["Memory"], quota(row)
        if not memory or memory > MEMORY:
            return f"may have {show_size(memory) if memory else 'all the memory'} now; 32 MiB at most was agreed."
        if not cpus or cpus > CPUS:
            return f"may use {f'{cpus:g} processors' if cpus else 'all processors'} now; half of one was agreed."
        return ""

    return each(look, says)


@rule
def returns(look: Look) -> str:
    def says(_: str, row: dict[str, Any]) -> str:
        policy = row["HostConfig"]["RestartPolicy"]["Name"] or "no"
        return (
            "" if policy in ("unless-stopped", "always") else f"does not come back by itself: its policy is {policy}."
        )

    return each(look, says)


@rule
def published(look: Look) -> str:
    want = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": look.system.words["port"]}]}

    def says(part: str, row: dict[str, Any]) -> str:
        found = row["HostConfig"]["PortBindings"] or {}
        if found == (want if part == "web" else {}):
            return ""
        return f"publishes other ports than agreed: {', '.join(found) or 'none'}."

    return each(look, says)


@rule
def alone(look: Look) -> str:
    own = {row["Id"] for row in look.rows.values()}
    for row in containers(look.on):
        bound = [one["HostPort"] for rows in (row["HostConfig"]["PortBindings"] or {}).values() for one in rows or []]
        if row["Id"] not in own and look.system.words["port"] in bound:
            return f"{row['Name'][1:]} is still there, and will want the port again when the engine next starts."
    return ""


@rule
def connected(look: Look) -> str:
    network = look.system.words["counter"]

    def says(part: str, row: dict[str, Any]) -> str:
        places = row["NetworkSettings"]["Networks"]
        if set(places) != {network}:
            return f"is in other networks than agreed: {', '.join(places)}."
        if row["HostConfig"]["ExtraHosts"] or row["HostConfig"]["Links"]:
            return "has addresses written down by hand; the next start gives others."
        return "" if part in (places[network]["Aliases"] or []) else f"is not called {part} in its network."

    return each(look, says)


@rule
def settings(look: Look) -> str:
    base = set(look.on.docker.api.inspect_image(look.system.image)["Config"]["Env"] or [])

    def says(part: str, row: dict[str, Any]) -> str:
        want = {f"{name}={value}" for name, value in SETTINGS[part].items()}
        found = set(row["Config"]["Env"] or []) - base
        if more := sorted(found - want):
            return f"has a setting that was not agreed: {more[0].partition('=')[0]}."
        return f"lacks a setting: {sorted(want - found)[0]}." if want - found else ""

    return each(look, says)


@rule
def release(look: Look) -> str:
    tag = look.on.docker.api.inspect_image(look.system.words["image"])["Id"]
    if tag != look.system.image:
        return f"{look.system.words['image']} still stands for another image: the next container will be that one."
    return each(look, lambda _, row: "" if row["Image"] == tag else f"runs another image than {RELEASE}.")


@rule
def ordinary(look: Look) -> str:
    return each(
        look, lambda _, row: "" if row["Config"]["User"].split(":")[0] == str(USER) else "runs as another user."
    )


@rule
def mounted(look: Look) -> str:
    words = look.system.words
    agreed = {
        "web": {},
        "api": {"/run/secret": words["secret"]},
        "store": {"/run/secret": words["secret"], "/data": words["orders"]},
    }

    def says(part: str, row: dict[str, Any]) -> str:
        found = {
            mount["Destination"]: mount.get("Name", mount["Type"])
            for mount in row["Mounts"]
            if mount["Type"] != "tmpfs"
        }
        if found == agreed[part]:
            return ""
        odd = sorted({*found.items()} ^ {*agreed[part].items()})[0][0]
        return f"has something else at {odd} than was agreed: it would be gone with the container."

    return each(look, says)


@rule
def spool(look: Look) -> str:
    _, said = look.inside("store", ["df", "-k", "/spool"])
    blocks = re.search(r"^\S+\s+(\d+)\s.*/spool$", said, re.M)
    if not blocks or int(blocks[1]) * 1024 > SPOOL:
        return f"{look.name('store')} has more room in /spool than agreed: it takes longer to fill, and that is all."
    return ""


@rule
def owned(look: Look) -> str:
    _, said = look.inside("store", ["stat", "-c", "%u %a", "/data/orders"])
    user, mode = said.split()
    if user != str(USER):
        return f"the book belongs to user {user}, not to {USER}."
    return "anybody may write into the book now." if int(mode, 8) & 0o022 else ""


@rule
def locked(look: Look) -> str:
    code, said = look.inside(
        "web", ["wget", "-q", "-T", "5", "-O", "-", "--post-data", "guess\n\n", "http://store:8000/"]
    )
    return "" if code else f"the store shows its {len(said.splitlines())} orders to anybody, without a token."


@rule
def watched(look: Look) -> str:
    test = (look.rows["api"]["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
    if test[0] == "NONE":
        return f"{look.name('api')} has no health check any more: nobody would notice."

    def well() -> bool:
        return bool(look._inspect("api").get("State", {}).get("Health", {}).get("Status") != "unhealthy")

    # What was mended a moment ago is unhealthy until its next look.
    if wait_until(well, 40 if look.on.facts.emulated else 12, every=0.5):
        return ""
    return f"the health check of {look.name('api')} says: unhealthy."


@rule
def truthful(look: Look) -> str:
    test = look.rows["api"]["Config"]["Healthcheck"]["Test"]
    command = test[1:] if test[0] == "CMD" else ["sh", "-c", *test[1:]]
    store = look.on.docker.containers.get(look.name("store"))
    store.pause()
    try:
        code, _ = look.inside("api", ["timeout", "10", *command])
    finally:
        store.unpause()
    return (
        "" if code else f"the store was stopped for a moment, and the health check of {look.name('api')} said: healthy."
    )
