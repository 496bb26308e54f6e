"""What a learner types: cells of docker commands, and a terminal on the lab's engine. All of it goes with the lab."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import requests
from nbclient import NotebookClient

from labkit import files
from labkit.course.terminal import Terminal
from labkit.engine import dockercli
from labkit.engine.session import Session, remove
from labkit.paths import COURSE, runtime_dir

from ..helpers import left_behind, wait_until

OPEN = 'import labkit\nlab = labkit.open("00-start-here")\nprint("session", lab.context.session.id)'

SEVERAL = r"""%%docker
# two containers, one after the other
docker run --rm labkit/busybox:1 \
  echo "one  two"
docker run -d --name web-$SESSION labkit/busybox:1 sh -c 'trap exit TERM
  sleep 600' # it stays
docker inspect web-$SESSION --format '{{index .Config.Labels "labkit.session"}} {{.State.Status}}'
"""

WRONG = "%%docker\n\ndocker run --rm labkit/busybox:1 echo before\ndocker rum x\ndocker run --rm labkit/busybox:1 echo after"

GOES_ON = (
    "%%docker --keep-going\ndocker run --rm labkit/busybox:1 sh -c 'exit 137'\ndocker run --rm labkit/busybox:1 echo on"
)


def run(*cells: str) -> list[list]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": COURSE}}).execute()
    return [cell.outputs for cell in notebook.cells]


def words(outputs: list) -> str:
    """What a cell printed, and after it the error that it raised."""
    raised = ["\n".join(output.traceback) for output in outputs if output.output_type == "error"]
    return "".join(output.text for output in outputs if output.output_type == "stream") + "".join(raised)


def test_cells_of_docker_commands(engine, tmp_path):
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    imagee: labkit/busybox:1\n")
    own = f"%%docker\ndocker compose -f {tmp_path}/compose.yaml up -d"
    cells = (OPEN, SEVERAL, WRONG, GOES_ON, own, "%%docker\nls", "%%docker other\ndocker ps", "lab.terminal()")
    opened, several, wrong, goes_on, file, other, nobody, terminal = map(words, run(*cells))
    session = re.search("session ([0-9a-f]{8})", opened)[1]
    echoed, identifier, labelled = several.splitlines()
    assert (echoed, labelled) == ("one  two", f"{session} running") and re.fullmatch("[0-9a-f]{64}", identifier)
    assert wrong.startswith("before\n") and "Line 4 ended with status" in wrong and "docker rum x" in wrong
    assert "after" not in wrong and "Traceback" not in wrong and "site-packages" not in wrong
    assert goes_on == "(status 137)\non\n"
    assert "services.web" in file and "imagee" in file and "Line 2 ended with status" in file
    assert "Traceback" not in file and "site-packages" not in file
    assert "Line 2: 'ls' is not a docker command" in other and "'other' is no lab" in nobody
    assert re.search(r"paste this line in a terminal:\nbash --rcfile \S+/rc\n", terminal)
    assert left_behind(engine, session) == [], "all of it went with the kernel"


@pytest.fixture
def shell(lab_context):
    """Commands as typed in the lab's terminal; returns what they print."""
    terminal = Terminal(lab_context.session, "a lab")

    def typed(script: str) -> str:
        # What an interactive bash would do first.
        return subprocess.run(
            ["bash", "-c", f". {terminal.rc} >&2\n{script}"], check=True, capture_output=True, text=True, timeout=120,
            env={"PATH": "/usr/bin:/bin", "DOCKER_HOST": "tcp://elsewhere:1", "DOCKER_CONTEXT": "elsewhere"},
        ).stdout  # fmt: skip

    yield typed
    terminal.close()
    assert not terminal.folder.exists()


def test_another_lab_leaves_it(lab_context, monkeypatch, tmp_path):
    """(Failed: what a lab that opens removes as a killed one's was, by its name, the folder of all terminals; a file
    there that was no terminal's stopped the next one.)"""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (runtime_dir("terminals") / "a file").touch()
    terminal = Terminal(lab_context.session, "a lab")
    files.clear()
    assert terminal.rc.exists()
    terminal.close()
    assert not terminal.folder.exists()


def test_a_terminal_whose_lab_is_closed_says_so(lab_context):
    """It may have been pasted anywhere. (Failed: this machine's own docker was taken, which puts no labels there.)"""
    terminal = Terminal(lab_context.session, "a lab")
    line = ["bash", "-c", f". {terminal.rc} >&2; echo; read -r; docker ps; echo status $?; bash -c 'docker ps'"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as typed:
        while typed.stdout.readline().strip():
            pass
        terminal.close()
        told = typed.communicate("\n", timeout=60)[0]
    assert told.count("The lab of this terminal is closed.") == 2 and "status 1" in told and "CONTAINER" not in told


MADE = """
docker run -d --name one-$SESSION labkit/busybox:1 sleep 600
docker container create labkit/busybox:1 true
docker network create net-$SESSION
docker volume create vol-$SESSION
docker run --rm -v data-$SESSION:/data labkit/busybox:1 true
docker tag labkit/busybox:1 mine-$SESSION:1
"""


def test_what_a_terminal_makes_is_the_sessions(shell, lab_context, engine):
    shell(MADE)
    api, session = lab_context.docker.api, lab_context.session.id
    mine = {"label": f"labkit.session={session}"}
    assert len(api.containers(all=True, filters=mine)) == 2 + (not engine.owned), "and the keeper"
    assert [row["Name"] for row in api.networks(filters=mine)] == [f"net-{session}"]
    assert [row["Name"] for row in api.volumes(filters=mine)["Volumes"]] == [f"vol-{session}"]
    removed = remove(lab_context.docker, session)
    assert (removed.containers, removed.networks, removed.volumes, removed.images) == (2, 1, 2, 1)
    assert f"data-{session}" not in [row["Name"] for row in api.volumes()["Volumes"] or []]


def test_it_talks_to_the_labs_engine_whatever_the_shell_says(shell, engine):
    said = json.loads(shell("docker version --format '{{json .Server}}'; docker compose ls -q"))
    assert said["Version"] == engine_version(engine)


def engine_version(engine) -> str:
    done = subprocess.run(
        [dockercli.program(engine), "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True,
        env=engine.process_environment(),
    )  # fmt: skip
    return done.stdout.strip()


def test_what_compose_makes_in_a_terminal_goes_too(shell, lab_context, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: labkit/busybox:1\n    command: [sleep, '600']\n    volumes: [kept:/kept]\nvolumes: {kept: {}}\n"
    )
    shell(f"cd {tmp_path}; docker compose up -d >&2")
    session, api = lab_context.session, lab_context.docker.api
    assert len(api.containers(filters={"label": f"com.docker.compose.project=compose-{session.id}"})) == 1
    removed = remove(lab_context.docker, session.id)
    assert (removed.containers, removed.networks, removed.volumes) == (1, 1, 1)


def test_others_things_stay(lab_context, engine):
    """A name that ends alike, but with another session's label; a Compose project of somebody else."""
    other = Session(engine, "tests", lambda: lab_context.image())
    try:
        name = f"web-{lab_context.session.id}"
        other.docker.volumes.create(name)
        other.docker.networks.create(name)
        assert not remove(lab_context.docker, lab_context.session.id).volumes
        assert other.docker.volumes.get(name) and other.docker.networks.list(names=[name])
    finally:
        other.close()


def test_a_jupyter_server_gets_the_terminal_and_loses_it_with_the_lab(engine, tmp_path, monkeypatch):
    """As in JupyterLab: the kernel knows its server by its process, and starts the terminal there."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    line = [sys.executable, "-m", "jupyter_server", "--no-browser", "--ServerApp.port=0", "--allow-root"]
    server = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    monkeypatch.setenv("JPY_PARENT_PID", str(server.pid))
    session = Session(engine, "tests")  # without a sign of life: nothing is made
    try:
        wait_until(lambda: (tmp_path / f"jpserver-{server.pid}.json").exists(), 120)
        terminal = Terminal(session, "a lab")
        wait_until(terminal.open, 60)
        record = json.loads((tmp_path / f"jpserver-{server.pid}.json").read_text())

        def names() -> list[str]:
            headers = {"Authorization": f"token {record['token']}"}
            return [row["name"] for row in requests.get(f"{record['url']}api/terminals", headers=headers).json()]

        assert names() == [terminal.name]
        assert terminal.open() and names() == [terminal.name], "there is one already"
        shells = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert any(str(terminal.rc) in Path(f"/proc/{pid}/cmdline").read_text() for pid in shells)
        terminal.close()
        assert names() == [] and not terminal.folder.exists()
    finally:
        session.close()
        server.terminate()
        server.wait(30)
