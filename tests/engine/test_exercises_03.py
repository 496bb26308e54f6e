"""Lab 03's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

import pytest

from labkit.labs.images_and_registries import anatomy, building, pushes, registry, samples

from .states import States, typed

STATES = States("03-images-and-registries")
wrong, right = STATES.wrong, STATES.right

BUSYBOX = "FROM labkit/busybox:1\n"
RUNS = 'CMD ["sh", "/lib/app.sh"]\n'


def lean(on, recipe: str) -> None:
    building.build(on, on.session.name("lean") + ":1", {**samples.source("hello"), "Dockerfile": recipe})


@wrong("lean", 0)
@wrong("no-tag", 0)
@wrong("by-digest", 0)
def nothing(on):
    pass


@wrong("lean", 1)
def a_layer_for_each_instruction(on):
    lean(on, samples.source("hello")["Dockerfile"])


@wrong("lean", 2)
def without_its_word(on):
    lean(on, f"{BUSYBOX}COPY greeting.sh app.sh /lib/\n{RUNS}")


@wrong("lean", 2)
def a_greeting_that_was_written_down(on):
    lean(on, f"{BUSYBOX}RUN touch /nothing\nCMD echo hello from a container\n")


@wrong("lean", 0)
def on_another_base(on):
    lean(
        on, f"FROM scratch\nCOPY --from=labkit/busybox:1 / /\nENV GREETING=hello\nCOPY greeting.sh app.sh /lib/\n{RUNS}"
    )


@right("lean")
def both_files_in_one_copy(on):
    lean(on, f"{BUSYBOX}ENV GREETING=hello\nCOPY greeting.sh app.sh /lib/\n{RUNS}")


@right("lean")
def all_in_one_run(on):
    lean(on, f"{BUSYBOX}ENV GREETING=hello\nRUN echo 'echo \"$GREETING from a container\"' > /lib/app.sh\n{RUNS}")


def image(on, version: str) -> str:
    return anatomy.sample_tag(on) if version == "1" else anatomy.sample_tag(on, "2", app__sh=pushes.SECOND)


def push(on, tag: str, version: str = "1", repository: str = "team/shop") -> str:
    return registry.start(on).push(image(on, version), repository, tag).digest


@pytest.fixture(autouse=True)
def no_repository_of_another_state(on):
    yield
    store = registry.start(on)
    for tag in store.tags("team/shop") if "team/shop" in store.catalogue() else []:
        found = store.get(f"/v2/team/shop/manifests/{tag}")
        if found.status == 200:  # a tag before it may have had the same digest
            store.delete("team/shop", found.headers["docker-content-digest"])


@wrong("no-tag", 0)
def one_version_only(on):
    push(on, "1"), push(on, "latest")


@wrong("no-tag", 0)
def the_wrong_way_round(on):
    push(on, "1", "2"), push(on, "2", "1"), push(on, "latest", "1")


@wrong("no-tag", 1)
def each_with_its_tag(on):
    push(on, "1"), push(on, "2", "2")


@wrong("no-tag", 2)
def without_a_tag_first(on):
    push(on, "2", "2"), push(on, "latest", "2"), push(on, "1"), push(on, "latest")


@right("no-tag")
def pushed_last_without_a_tag(on):
    push(on, "1"), push(on, "2", "2")
    registry.start(on).push(image(on, "2"), "team/shop")


@right("no-tag")
def typed_without_a_tag(on):
    push(on, "1"), push(on, "2", "2")
    name = f"{registry.start(on).address}/team/shop"
    typed(on, f"tag {image(on, '2')} {name}"), typed(on, f"push -q {name}")


@right("no-tag")
def a_tag_more_by_http(on):
    push(on, "1"), push(on, "2", "2")
    store = registry.start(on)
    found = store.get("/v2/team/shop/manifests/2")
    kind = {"Content-Type": found.headers["content-type"]}
    assert store.request("PUT", "/v2/team/shop/manifests/latest", headers=kind, body=found.body).status == 201


@wrong("by-digest", 1)
def by_its_tag(on):
    push(on, "1", repository="run")
    on.docker.containers.create(registry.start(on).pull("run", "1"))


@wrong("by-digest", 0)
def by_the_lab_images_name(on):
    on.docker.containers.create(on.image())


@wrong("by-digest", 1)
def by_a_digest_that_was_deleted(on):
    store, digest = registry.start(on), push(on, "1", "2", repository="gone")
    on.docker.containers.create(store.pull("gone", digest))
    store.delete("gone", digest)


@right("by-digest")
def pulled_by_digest(on):
    digest = push(on, "1", repository="run")
    on.docker.containers.create(registry.start(on).pull("run", digest))
    by_its_tag(on)


@right("by-digest")
def typed_with_tag_and_digest(on):
    digest = push(on, "1", repository="run")
    store = registry.start(on)
    store.pull("run", digest)
    typed(on, f"create --name kept-{{name}} {store.address}/run:1@{digest}")


@pytest.fixture(scope="module")
def on(module_context):
    return module_context


@STATES.each()
def test_state(on, state):
    state.holds(on)
