"""The machine of Apple Silicon and Graviton, built and booted on any processor: slow, so ``make slow`` runs it.

On an amd64 machine all of it is emulated; on an arm64 one it is the machine that every lab uses.
"""

import subprocess

import pytest

from labkit import images
from labkit.engine import embedded
from labkit.engine.embedded import packages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arm64():
    """Built, booted from its disk, saved and resumed; the build is kept in the cache."""
    made = packages.Variant(arch="arm64")
    with embedded.start(images=lambda: images.archives("arm64"), variant=made) as found:
        yield found


def docker(engine, *words):
    done = subprocess.run(
        [engine.cli_path(), *words], env=engine.process_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_container_runs_on_it(arm64):
    assert docker(arm64, "run", "--rm", images.BUSYBOX, "uname", "-m") == "aarch64"


def test_python_runs_on_it(arm64):
    code = "import platform; print(platform.machine())"
    assert docker(arm64, "run", "--rm", images.PYTHON, "python3", "-c", code) == "aarch64"


def test_the_engine_says_what_it_is(arm64):
    assert docker(arm64, "info", "--format", "{{.Architecture}} {{.CgroupVersion}}") == "aarch64 2"


def test_its_kernel_has_loaded_what_containers_need(arm64):
    loaded = {line.split()[0] for line in arm64.shell("lsmod").splitlines()}
    assert {"overlay", "bridge", "veth", "nf_tables", "virtio_net"} <= loaded


def test_its_tools_are_those_of_its_busybox(arm64):
    # They were linked by the busybox of the processor that built it.
    assert arm64.shell("busybox --list | while read -r name; do command -v $name >/dev/null || echo $name; done") == ""


def test_a_published_port_answers(arm64):
    docker(arm64, "run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", images.BUSYBOX, "httpd", "-f", "-h", "/etc")
    try:
        answer = "for n in 1 2 3 4 5; do wget -qO- http://127.0.0.1:8080/passwd && exit; sleep 1; done"
        assert "root" in arm64.shell(answer)
    finally:
        docker(arm64, "rm", "-f", "web")
