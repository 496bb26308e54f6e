"""Lab 12: what its exercises ask of the engine."""

from ...course.context import Context
from ...course.exercises import LabContent, Outcome, not_yet, passed
from ...course.state import running
from ..images_and_registries.anatomy import has_image
from . import customers, kiosk, rollouts, shipping

CONTENT = LabContent.beside(__file__)

#: The image of the third exercise, without the session's ending.
LEAN = "lean"


@CONTENT.exercise("truthful")
def truthful(on: Context) -> Outcome:
    # The lab's own kiosk has a health check, too: it does not count.
    own = on.session.name("kiosk-net")
    rows = [row for row in running(on) if own not in row["NetworkSettings"]["Networks"]]
    if not rows:
        return not_yet("no container of this session runs.", 0)
    tested = [row for row in rows if "Health" in row["State"]]
    if not tested:
        return not_yet("what runs has no health check.", 1)
    well = [row for row in tested if row["State"]["Health"]["Status"] == "healthy"]
    if not well:
        return not_yet(f"its health is: {tested[0]['State']['Health']['Status']}.", 2)
    for row in well:
        kind, *words = row["Config"]["Healthcheck"]["Test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        # In a container of its own, where nothing else runs.
        if on.ran(row["Image"], command[1:], entrypoint=command[:1], environment=row["Config"]["Env"]).code:
            return passed("the engine calls it healthy, and without its server the same check fails.")
    return not_yet("the check passes in an empty container of that image, too.", 3)


@CONTENT.exercise("unnoticed")
def unnoticed(on: Context) -> Outcome:
    visits = customers.asked(on)
    if not visits:
        return not_yet("no customer has asked.", 0)
    lost = [visit for visit in visits if visit.status != 200]
    releases = [rollouts.release_of(visit) for visit in visits if visit.status == 200]
    if lost:
        return not_yet("the customers lost requests.", 2)
    if releases[-1] == releases[0]:
        return not_yet("the same release serves them still.", 1)
    # Both may answer for a while; at the end, only the new one does.
    if releases[0] in releases[-5:]:
        return not_yet("the release before still answers some of them.", 1)
    return passed("another release serves, and not a request was lost.")


@CONTENT.exercise("lean")
def lean(on: Context) -> Outcome:
    name = on.session.name(LEAN)
    tags = [tag for row in on.docker.images.list(name) for tag in row.tags if tag.startswith(f"{name}:")]
    tag = f"{name}:latest" if f"{name}:latest" in tags else (sorted(tags) or [""])[-1]
    if not tag or not has_image(on, tag):
        return not_yet(f"there is no image {name}.", 0)
    seen = on.ran(tag, ["-c", "find /app -type f; cd /app && python3 -c 'import app'"], entrypoint=["sh"])
    shown = seen.text.split()
    if seen.code or "/app/app.py" not in shown:
        return not_yet("its /app/app.py is missing, or can't be imported.", 1)
    unwanted = [f"/{name}" for name in ("test_app.py", *shipping.CLUTTER)]
    if any(path.endswith(tuple(unwanted)) for path in shown):
        return not_yet("its /app holds more than what runs.", 2)
    if shipping.holders(on, tag, shipping.CLUTTER["password.txt"], kiosk.files()["test_app.py"].encode()):
        return not_yet("a layer of it holds what a later one hides.", 3)
    return passed("the app, and nothing else, in any layer.")
