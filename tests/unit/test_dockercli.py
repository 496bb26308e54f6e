"""The docker command line: what gets labels, and what is said when it can't be run."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from labkit.engine.dockercli import commands, named_volumes, run_cli, stream, with_labels
from labkit.engine.host import Candidate, HostEngine
from labkit.errors import BadInput, NotPossibleHere

LABELS = {"labkit.lab": "08", "labkit.session": "abcd"}
FLAGS = ["--label", "labkit.lab=08", "--label", "labkit.session=abcd"]


@pytest.mark.parametrize(
    "command",
    ["run", "create", "build", "container run", "container create", "image build", "buildx build", "network create",
     "volume create"],
)  # fmt: skip
def test_what_creates_gets_labels_before_its_own_arguments(command):
    words = ["docker", *command.split()]
    flags = [*FLAGS, "--label", "labkit.build=abcd"] if "build" in words else FLAGS
    assert with_labels([*words, "--rm", "x", "run"], LABELS) == [*words, *flags, "--rm", "x", "run"]


@pytest.mark.parametrize(
    "command", ["docker ps", "docker", "docker inspect run", "docker image ls", "docker network rm create",
                "docker stop run", "docker container ls", "docker volume ls"],
)  # fmt: skip
def test_what_only_looks_stays_as_typed(command):
    assert with_labels(command.split(), LABELS) == command.split()


@pytest.mark.parametrize("options", ["-H tcp://x", "--context other", "--debug", "-l debug", "--tls --host=x"])
def test_options_of_docker_itself_may_come_first(options):
    words = ["docker", *options.split(), "run", "x"]
    assert with_labels(words, LABELS) == [*words[:-2], "run", *FLAGS, "x"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A session on an engine whose docker command is a script; ``fake(text)`` writes it."""
    engine = HostEngine(Candidate("unix:///nowhere.sock", "test"))
    made = []
    session = SimpleNamespace(
        engine=engine, made=made, typed=[], show_life=lambda: made.append("life"),
        docker=SimpleNamespace(lab_labels=LABELS, api=SimpleNamespace(create_volume=made.append)),
    )  # fmt: skip

    def write(text: str | None):
        program = tmp_path / "docker"
        if text is not None:
            program.write_text("#!/bin/sh\n" + text)
            program.chmod(0o755)
        monkeypatch.setattr(engine, "cli_path", lambda: str(program) if text is not None else None)
        return session

    return write


def test_runs_against_this_engine_whatever_the_shell_says(fake, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:1")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    session = fake('echo "$DOCKER_HOST|$DOCKER_CONTEXT|$@"')
    assert run_cli(session, "docker run 'a b'") == f"unix:///nowhere.sock||run {' '.join(FLAGS)} a b"


def test_errors_are_part_of_the_output_or_raised(fake):
    session = fake("echo out; echo wrong >&2; exit 3")
    assert run_cli(session, "docker ps", check=False) == "out\nwrong"
    assert [line for _, line in session.typed] == ["docker ps"], "lab 11 counts what was typed"
    with pytest.raises(BadInput, match="docker ps ended with status 3: out\nwrong"):
        run_cli(session, "docker ps")


@pytest.mark.parametrize("command", ["", "ls", "sudo docker ps", "dockerd"])
def test_only_docker_commands(fake, command):
    with pytest.raises(BadInput, match="is not a docker command"):
        run_cli(fake("echo no"), command)


def test_a_quote_left_open_is_a_sentence(fake):
    with pytest.raises(BadInput, match="quot"):
        run_cli(fake("echo no"), "docker run 'x")


def test_no_command_line_here(fake):
    with pytest.raises(NotPossibleHere, match="no docker command line"):
        run_cli(fake(None), "docker ps")


def test_a_command_without_end(fake):
    with pytest.raises(BadInput, match="did not end within 0 seconds"):
        run_cli(fake("exec sleep 60"), "docker logs -f x", timeout=0.2)


@pytest.mark.parametrize(
    "command, volumes",
    [
        ("docker run -v data:/x image", ["data"]),
        ("docker run --rm -itv data:/x:ro --volume more:/y image", ["data", "more"]),
        ("docker create --volume=data:/x -v=more:/y image", ["data", "more"]),
        ("docker run --mount type=volume,source=data,target=/x --mount=src=more,dst=/y image", ["data", "more"]),
        ("docker run -v /etc:/x -v ./here:/y -v /anonymous -v data image", []),
        ("docker run --mount type=bind,source=/etc,target=/x --mount type=tmpfs,dst=/y image", []),
    ],
)
def test_volumes_that_a_command_names(command, volumes):
    assert list(named_volumes(command.split())) == volumes


def test_what_creates_shows_life_first_and_makes_the_volumes_it_names(fake):
    session = fake("true")
    run_cli(session, "docker ps")
    run_cli(session, "docker volume inspect x")
    assert session.made == []
    run_cli(session, "docker run -v data:/x image")
    assert session.made == ["life", "data"]


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("docker ps\n\n  docker ps -a\n", [(1, "docker ps"), (3, "docker ps -a")]),
        ("# don't\ndocker ps  # nor 'this\n#docker rm x", [(2, "docker ps")]),
        ("docker run \\\n  --rm x\ndocker ps", [(1, "docker run   --rm x"), (3, "docker ps")]),
        ("docker run x sh -c 'a #1\nb'\ndocker ps", [(1, "docker run x sh -c 'a #1\nb'"), (3, "docker ps")]),
        ("docker build https://x/y.git#main", [(1, "docker build https://x/y.git#main")]),
        ("docker run --name web-$SESSION x", [(1, "docker run --name web-abcd x")]),
        ('docker run -v "a-${SESSION}:/x" x', [(1, 'docker run -v "a-abcd:/x" x')]),
        ("docker run x sh -c 'echo $SESSION' $SESSIONS", [(1, "docker run x sh -c 'echo $SESSION' $SESSIONS")]),
        ("docker ps --format '{{.Names}}'", [(1, "docker ps --format '{{.Names}}'")]),
        ("docker ps\ndocker run 'x\n", [(1, "docker ps"), (2, "docker run 'x")]),
        ("", []),
    ],
)
def test_a_cell_is_read_as_a_shell_would(cell, expected):
    assert list(commands(cell, "abcd")) == expected


def test_what_is_said_comes_when_it_is_said(fake):
    said = []
    session = fake("echo one; sleep 0.5; echo two >&2; exit 3")
    assert stream(session, "docker ps", lambda text: said.append((time.monotonic(), text))) == 3
    assert [text for _, text in said] == ["one\n", "two\n"] and said[1][0] - said[0][0] > 0.3


def test_what_is_streamed_ends_in_time_or_with_an_interrupt(fake):
    with pytest.raises(BadInput, match="docker logs -f x did not end within 0 seconds"):
        stream(fake("exec sleep 60"), "docker logs -f x", print, timeout=0.2)

    def interrupt(text):
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stream(fake("echo begun; exec sleep 60"), "docker logs -f x", interrupt)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("rest", ["| wc -l", "> file", "&& docker rm x", "; docker rm x", "&"])
def test_what_needs_a_shell_is_said(fake, rest):
    with pytest.raises(BadInput, match="needs a shell"):
        stream(fake("echo no"), f"docker ps {rest}", print)
