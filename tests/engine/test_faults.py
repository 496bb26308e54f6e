"""Bad luck on a live engine: each gets its sentence and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import docker
import pytest

from labkit import engine as engines
from labkit import images
from labkit.engine.faults import explain
from labkit.errors import BadInput, LabError, NoEngine, NotPossibleHere
from labkit.paths import COURSE, cache_dir

LABKIT = [sys.executable, "-m", "labkit"]


def labkit(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*LABKIT, *words], cwd=COURSE, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "LABKIT_ENGINE"])
def test_no_engine_at_the_address(variable, monkeypatch):
    monkeypatch.delenv("LABKIT_ENGINE", raising=False)
    monkeypatch.setenv(variable, "tcp://127.0.0.1:9")
    with pytest.raises(NoEngine, match="Nothing answers there") as caught:
        engines.find()
    assert caught.value.engine == "tcp://127.0.0.1:9"
    assert "systemctl start docker" in caught.value.next_step


def test_a_notebooks_first_cell_without_an_engine():
    import labkit as package

    with pytest.raises(NoEngine, match="Nothing answers there"):
        package.open("08-out-of-memory", engine="tcp://127.0.0.1:9")


def test_a_lab_that_does_not_exist():
    import labkit as package

    with pytest.raises(BadInput, match="There is no lab '99-none'") as caught:
        package.open("99-none")
    assert "08-out-of-memory" in caught.value.next_step


def test_commands_end_with_a_sentence_and_status_1():
    done = labkit("clean", "--engine", "tcp://127.0.0.1:9")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip().startswith("labkit: Nothing answers there.") and "Traceback" not in done.stderr


def test_doctor_names_the_address_that_does_not_answer():
    done = labkit("doctor", "--engine", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert "✗ a container engine answers: tcp://127.0.0.1:9: Nothing answers there." in done.stdout


def test_a_reader_that_goes_away_gets_no_traceback():
    done = subprocess.run(
        f"{sys.executable} -m labkit doctor --engine tcp://127.0.0.1:9 | true",
        shell=True, capture_output=True, text=True, cwd=COURSE,
    )  # fmt: skip
    assert done.stderr == ""


@pytest.fixture
def refusing_socket(tmp_path):
    """A live engine behind a socket that only root may open; and a place that others may read."""
    import shutil
    import socket
    import tempfile

    folder = tempfile.mkdtemp(prefix="labkit-test-")
    os.chmod(folder, 0o755)
    path = os.path.join(folder, "docker.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o660)
        listener.listen()
        yield path
    shutil.rmtree(folder)


def as_stranger(*command: str, **environment: str) -> subprocess.CompletedProcess:
    """Run Python as an ordinary user who may read this checkout, wherever it lies, but write nowhere."""
    caps = [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *caps, sys.executable, *command],
        cwd=COURSE, capture_output=True, text=True,
        env={**os.environ, "HOME": "/nonexistent", "LABKIT_ENGINE": "", "PYTHONPATH": str(COURSE), **environment},
    )  # fmt: skip


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def test_a_refused_socket_gets_the_docker_group_sentence(refusing_socket, tmp_path):
    needs_root()
    code = "from labkit import engine\ntry: engine.find()\nexcept Exception as e: print(type(e).__name__, e)"
    done = as_stranger("-c", code, DOCKER_HOST=f"unix://{refusing_socket}")
    assert done.stdout.startswith("EngineRefused Permission denied: this user may not open the engine's socket."), done
    assert 'sudo usermod -aG docker "$USER", then log in again.' in done.stdout
    assert "root on the engine's machine" in done.stdout and refusing_socket in done.stdout


def test_doctor_on_a_refused_socket(refusing_socket):
    needs_root()
    cache = os.path.dirname(refusing_socket)
    os.chmod(cache, 0o777)
    words = ("-m", "labkit", "doctor", "--json", "--engine", "host")
    done = as_stranger(*words, DOCKER_HOST=f"unix://{refusing_socket}", LABKIT_CACHE=cache)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    [failed] = [check for check in report["checks"] if check["name"] == "a container engine answers"]
    assert "docker group" in failed["remedy"]


def test_the_host_engines_own_socket_refuses_a_stranger(engine, tmp_path):
    needs_root()
    if not engine.endpoint.startswith("unix://") or os.stat(engine.endpoint[7:]).st_mode & 0o006:
        pytest.skip("this engine is open to everyone here")
    os.chmod(tmp_path, 0o777)
    words = ("-m", "labkit", "doctor", "--engine", "host")
    done = as_stranger(*words, DOCKER_HOST=engine.endpoint, LABKIT_CACHE=str(tmp_path))
    assert done.returncode == 1 and 'sudo usermod -aG docker "$USER"' in done.stdout


def test_an_image_that_is_nowhere_and_nothing_to_make_it_from(lab_context, tmp_path, monkeypatch):
    on = lab_context
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(images.RECIPES, "labkit/none:1", images.RECIPES[images.BUSYBOX])
    with pytest.raises(NotPossibleHere, match="labkit/none:1 is not on the engine and can't be made here") as caught:
        on.image("labkit/none:1")
    assert "LABKIT_NONE" in caught.value.next_step


def test_an_image_that_no_registry_has(lab_context):
    from labkit.engine.faults import explained

    with pytest.raises(NotPossibleHere, match="The engine refused") as caught, explained():
        lab_context.docker.containers.run("localhost:9/no/such-image:1", ["true"])
    assert caught.value.next_step


@pytest.fixture
def tiny_disk(tmp_path):
    """A folder on a disk of 3 MiB."""
    needs_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("step", ["writing the archive", "fetching packages"])
def test_a_disk_that_fills_up_while_an_image_is_made(tiny_disk, monkeypatch, step):
    from labkit import debian
    from labkit.images import recipes

    if step == "writing the archive":  # the packages lie elsewhere; the image's own files fill the disk
        debs = debian.fetch(["busybox-static"])
        monkeypatch.setattr(debian, "fetch", lambda *_, **__: debs)
    monkeypatch.setenv("LABKIT_CACHE", str(tiny_disk))
    with pytest.raises(LabError, match="disk") as caught:
        recipes.make(images.BUSYBOX, debian.architecture())
    assert "LABKIT_CACHE" in caught.value.next_step and str(tiny_disk) in caught.value.what
    assert list((tiny_disk / "images").iterdir()) == [], "no half image stays"


def test_the_engine_refuses_what_it_cannot_do(lab_context):
    on = lab_context
    cases = [
        ({"mem_limit": "4m"}, BadInput, "minimum"),
        ({"name": on.session.name("twice")}, BadInput, "exists already"),
        ({"cpuset_cpus": "9999"}, LabError, "9999"),
    ]
    on.docker.containers.create(on.image(), ["true"], name=on.session.name("twice"))
    for options, kind, words in cases:
        with pytest.raises(docker.errors.APIError) as caught:
            on.docker.containers.create(on.image(), ["true"], **options)
        fault = explain(caught.value, "here")
        assert isinstance(fault, kind) and words in str(fault), fault


def test_a_port_that_is_taken(lab_context):
    import socket

    on = lab_context
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(docker.errors.APIError) as caught:
            on.docker.containers.run(on.image(), ["true"], ports={"80/tcp": ("127.0.0.1", port)}, detach=True)
    fault = explain(caught.value)
    assert isinstance(fault, NotPossibleHere) and "Another program holds that port" in fault.cause, fault


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder as the only mirror, with the real signed lists of the stable suite, and a cache of its own."""
    from labkit import debian

    debian.fetch(["busybox-static"])
    [signed] = (cache_dir("packages", debian.STABLE, debian.architecture()) / "state/lists").glob("*InRelease")
    place = tmp_path / "mirror/dists" / debian.STABLE / "InRelease"
    place.parent.mkdir(parents=True)
    shutil.copy(signed, place)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_MIRROR", f"file://{tmp_path}/mirror")
    return place


def test_package_lists_that_somebody_changed_are_refused(mirror):
    from labkit import debian

    # Unchanged, the signature is good, and what is missed is the list that it names.
    with pytest.raises(LabError, match="mirror can be reached|could not finish"):
        debian.fetch(["busybox-static"])
    mirror.write_text(mirror.read_text().replace("Origin: Debian", "Origin: Debiam", 1))
    with pytest.raises(LabError, match="signature is not Debian's.*BADSIG"):
        debian.fetch(["busybox-static"])


def test_no_mirror_answers(mirror, monkeypatch):
    from labkit import debian

    monkeypatch.setenv("LABKIT_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(LabError, match="No package mirror can be reached") as caught:
        debian.fetch(["busybox-static"])
    assert "LABKIT_MIRROR" in caught.value.next_step
