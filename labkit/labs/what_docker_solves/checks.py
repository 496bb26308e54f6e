"""Lab 04: what its exercises ask of the engine."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import file_in, running
from ...errors import LabError
from ..images_and_registries.anatomy import has_image
from . import promises

CONTENT = LabContent.beside(__file__)


@CONTENT.exercise("two-versions")
def two_versions(on: Context) -> Outcome:
    found: dict[str, str] = {}
    rows = running(on)
    if len(rows) < 2:
        return not_yet("two containers of this session have to run at the same time.", 2)
    for image in {row["Image"] for row in rows}:
        # As the image has it: what a container wrote there while it ran is no version of an image.
        with on.container(image, ["true"], start=False, network_mode="none") as fresh:
            if (library := file_in(on, str(fresh.id), promises.LIBRARY)) is not None:
                found[image] = library
    if len(found) < 2:
        return not_yet(f"containers of two different images must hold {promises.LIBRARY}.", 1)
    if len(set(found.values())) < 2:
        return not_yet(f"all of them hold the same {promises.LIBRARY}.", 0)
    return passed("two versions at one path, side by side.")


@CONTENT.exercise("replicas")
def replicas(on: Context) -> Outcome:
    names: dict[tuple[str, str], set[str]] = {}
    for row in running(on):
        for place in row["NetworkSettings"]["Networks"].values():
            # The engine adds the beginning of its id to every container's aliases. A network's name may not be the
            # only one of its kind: a cell that is run twice makes a second network.
            for alias in [name for name in place.get("Aliases") or [] if not row["Id"].startswith(name)]:
                names.setdefault((place["NetworkID"], alias), set()).add(row["Id"])
    if not names:
        return not_yet("no running container of this session has an alias in a network.", 0)
    most = max(len(who) for who in names.values())
    if most < 3:
        return not_yet(f"the most popular alias stands for {most} container(s); three are asked for.", 1)
    return passed("three containers answer to one name.")


@CONTENT.exercise("one-run")
def one_run(on: Context) -> Outcome:
    name = on.session.name("mine") + ":1"
    if not has_image(on, name):
        return not_yet("there is no image mine-SESSION:1 yet (lab.name_for('mine') + ':1').", 2)
    try:
        code, says = on.ran(name, stderr=False)
        # Python itself tells on its other channel that it ran: an answer that was only written down is no report.
        computed = "import " in on.ran(name, environment={"PYTHONVERBOSE": "1"}).text
    except LabError as fault:
        return not_yet(f"the image does not start: {fault.what}", 1)
    if code or "total: 15" not in says.splitlines():
        return not_yet("run alone, it does not compute the total.", 0)
    if "first order: 1970-01-01 01:00" not in says.splitlines():
        return not_yet("the total is right, but the first order is not at 01:00: which time zone does it use?", 1)
    if not computed or len(says.splitlines()) != 2:
        return not_yet("it says what Ann's report says, but it is not the report that says it.", 1)
    return passed("one run, no set-up, Ann's answer.")
