"""Whatever is made through a lab carries its labels on the engine, and goes with it."""

from __future__ import annotations

import contextlib
import io
import tarfile

import docker
import pytest

from labkit import images
from labkit.engine.dockercli import run_cli
from labkit.engine.session import LAB, SESSION


def tar_of(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def plain(engine):
    """docker-py's own client, without labels: another user of the same engine."""
    client = docker.DockerClient(**engine.client_options(), version="auto")
    yield client
    client.close()


def carries(on, labels: dict | None) -> bool:
    return (labels or {}).get(SESSION) == on.session.id and labels.get(LAB) == "tests"


def test_containers_networks_and_volumes(lab_context, plain):
    on = lab_context
    client, image = on.docker, on.image()
    run = client.containers.run(image, ["true"], detach=True, labels={"own": "1"})
    created = client.containers.create(image, ["true"])
    low = client.api.create_container(image, ["true"])["Id"]
    for identifier in (run.id, created.id, low):
        assert carries(on, plain.containers.get(identifier).labels)
    assert plain.containers.get(run.id).labels["own"] == "1"
    assert carries(on, plain.networks.get(client.networks.create(on.session.name("net")).id).attrs["Labels"])
    assert carries(on, plain.volumes.get(client.volumes.create(on.session.name("vol")).id).attrs["Labels"])
    assert carries(on, plain.volumes.get(client.volumes.create().id).attrs["Labels"])


def test_a_volume_that_a_run_brings_along_goes_with_its_container(lab_context, plain):
    on = lab_context
    before = {row["Name"] for row in plain.api.volumes()["Volumes"] or []}
    on.docker.containers.run(on.image(), ["true"], volumes=["/data"], detach=True).wait()
    made = {row["Name"] for row in plain.api.volumes()["Volumes"] or []} - before
    assert made
    on.session.close()
    assert not made & {row["Name"] for row in plain.api.volumes()["Volumes"] or []}


def test_images_built_committed_and_imported(lab_context, plain):
    on = lab_context
    client, image = on.docker, on.image()
    dockerfile = io.BytesIO(f"FROM {image}\nRUN echo built > /built\n".encode())
    built, _ = client.images.build(fileobj=dockerfile, tag=on.session.name("built"))
    container = client.containers.run(image, ["touch", "/new"], detach=True)
    container.wait()
    committed = container.commit(on.session.name("committed"), changes="CMD true")
    client.api.import_image_from_data(tar_of("file", b"x"), repository=on.session.name("imported"))
    client.api.import_image(io.BytesIO(tar_of("file", b"y")), repository=on.session.name("streamed"), changes=["CMD x"])
    for name in (built.id, committed.id, on.session.name("imported"), on.session.name("streamed")):
        assert carries(on, plain.images.get(name).labels), name
    assert plain.images.get(committed.id).attrs["Config"]["Cmd"] == ["/bin/sh", "-c", "true"]


@pytest.mark.parametrize("ending", ["true", "false"])
def test_a_builds_steps_leave_no_containers(lab_context, plain, ending):
    on = lab_context
    dockerfile = io.BytesIO(f"FROM {on.image()}\nRUN : {on.session.id} && {ending}\n".encode())
    with contextlib.ExitStack() as expected:
        if ending == "false":
            expected.enter_context(pytest.raises(docker.errors.BuildError))
        on.docker.images.build(fileobj=dockerfile, tag=on.session.name("built"))
    assert [row for row in plain.api.containers(all=True) if on.session.id in row["Command"]] == []


def test_a_loaded_or_tagged_image_goes_by_its_name(lab_context, plain):
    on = lab_context
    name = on.session.name("shop")
    assert on.docker.images.get(on.image()).tag(name, "1")
    assert plain.images.get(f"{name}:1")
    on.session.close()
    with pytest.raises(docker.errors.ImageNotFound):
        plain.images.get(f"{name}:1")
    assert plain.images.get(images.BUSYBOX), "only the name goes, not the image that others use"


def test_the_command_lines_creations(lab_context, plain):
    on = lab_context

    def cli(command: str) -> str:
        return run_cli(on.session, command).splitlines()[-1]

    on.session.show_life()
    image = on.image()
    for command in (
        f"docker run -d {image} true",
        f"docker container create {image} true",
        f"docker -D create {image}",
    ):
        assert carries(on, plain.containers.get(cli(command)).labels), command
    assert carries(on, plain.networks.get(cli(f"docker network create {on.session.name('net')}")).attrs["Labels"])
    assert carries(on, plain.volumes.get(cli(f"docker volume create {on.session.name('vol')}")).attrs["Labels"])


def test_what_is_not_the_labs_own_stays(lab_context, plain):
    on = lab_context
    image = on.image()
    stranger = plain.containers.create(image, ["true"], labels={"someone": "else"})
    network = plain.networks.create("stranger-of-labkit-tests")
    volume = plain.volumes.create("stranger-of-labkit-tests")
    try:
        on.docker.containers.run(image, ["true"], detach=True)
        removed = on.session.close()
        assert removed.containers == 1
        assert plain.containers.get(stranger.id) and plain.networks.get(network.id) and plain.volumes.get(volume.id)
    finally:
        stranger.remove()
        network.remove()
        volume.remove()


def test_closing_counts_what_it_removed(lab_context):
    on = lab_context
    image = on.image()
    network = on.docker.networks.create(on.session.name("net"))
    on.docker.containers.run(image, ["sleep", "60"], detach=True, network=network.name)
    on.docker.volumes.create(on.session.name("vol"))
    assert str(on.session.close()) == "1 container, 1 network, 1 volume"


def test_a_failed_run_leaves_its_container_to_the_session(lab_context):
    on = lab_context
    with pytest.raises(docker.errors.APIError):
        on.docker.containers.run(on.image(), ["/no/such/program"])
    assert on.session.close().containers == 1


def test_volumes_that_containers_name_go_with_the_session_and_those_of_others_stay(lab_context, plain):
    on = lab_context
    image, theirs = on.image(), "stranger-of-labkit-tests-mounted"
    plain.volumes.create(theirs)
    try:
        by_cli, by_client, kept = (on.session.name(word) for word in ("cli", "client", "kept"))
        run_cli(on.session, f"docker run --rm -v {by_cli}:/x -v {theirs}:/y {image} touch /x/file /y/file")
        on.docker.containers.run(image, "true", volumes={by_client: {"bind": "/x"}, theirs: {"bind": "/y"}})
        run_cli(on.session, f"docker run --rm --mount source={kept},target=/x {image} true")
        assert all(carries(on, plain.volumes.get(name).attrs["Labels"]) for name in (by_cli, by_client, kept))
        assert on.session.close().volumes == 3
        assert not plain.volumes.get(theirs).attrs["Labels"]
    finally:
        plain.volumes.get(theirs).remove()
