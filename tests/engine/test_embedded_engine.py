"""The embedded engine, live: reached, entered, its daemons stopped. Runs wherever QEMU is, root or not.

The build is shared through the cache (``LABKIT_CACHE``): the first run takes two minutes or so.
"""

import re
import socket
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path

import docker
import pytest

from labkit import images
from labkit.engine import embedded
from labkit.engine.client import PlainAPIClient
from labkit.engine.embedded import keys, machine
from labkit.engine.session import Session
from labkit.errors import LabError

from ..helpers import wait_until

ROOT = Path(embedded.__file__).parents[3]
BUSYBOX = images.BUSYBOX


@pytest.fixture(scope="module")
def client(owned):
    found = docker.DockerClient(**owned.client_options(), timeout=120)
    yield found
    found.close()


def cli(owned, *words, environment=None):
    return subprocess.run(
        [owned.cli_path(), *words],
        env=environment or owned.process_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


# -- reaching it


def test_where_the_processor_is_emulated_it_does_with_less(owned, client):
    # Wake-ups gathered (see guest/service.sh); crun for what a lab's own calls start, the default for all others.
    slack = owned.shell("cat /proc/$(cat /run/labkit/dockerd.pid)/timerslack_ns").strip()
    assert slack == ("2000000" if owned.emulated else "50000")
    session = Session(owned, "tests")
    started = {}
    for name, by, options in (
        ("lab's", session.docker, {}),
        ("asked", session.docker, {"runtime": "runc"}),
        ("any", client, {}),
    ):
        container = by.containers.run(BUSYBOX, ["sleep", "60"], detach=True, **options)
        started[name] = container.attrs["HostConfig"]["Runtime"]
        container.remove(force=True)
    session.close()
    assert started == {"lab's": "crun" if owned.emulated else "runc", "asked": "runc", "any": "runc"}


def test_docker_py_runs_a_container(client):
    assert client.containers.run(BUSYBOX, ["echo", "hello"], remove=True) == b"hello\n"


def test_all_lab_images_are_there_from_the_start(client):
    tags = {tag for image in client.images.list() for tag in image.tags}
    assert set(images.RECIPES) <= tags


def test_cli_runs_a_container(owned):
    done = cli(owned, "run", "--rm", BUSYBOX, "echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_company_certificates_in_the_environment_do_no_harm(owned, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with closing(PlainAPIClient(**owned.client_options())) as found:
        assert found.ping()


def test_no_certificate_is_refused(owned):
    port = int(owned.endpoint.rsplit(":", 1)[1])
    context = ssl.create_default_context(cafile=owned.environment()["DOCKER_CERT_PATH"] + "/ca.pem")
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", port), 20) as raw:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as stream:
            stream.send(b"GET /_ping HTTP/1.0\r\n\r\n")
            if not stream.recv(100):
                raise ConnectionError("closed without an answer")


def test_cli_without_certificate_is_refused(owned, tmp_path):
    environment = owned.process_environment()
    environment["DOCKER_CERT_PATH"] = str(tmp_path)
    Path(tmp_path / "ca.pem").write_bytes(Path(owned.environment()["DOCKER_CERT_PATH"], "ca.pem").read_bytes())
    assert cli(owned, "ps", environment=environment).returncode != 0


def test_another_certificate_is_refused(owned, tmp_path):
    other = keys.make(tmp_path)
    port = int(owned.endpoint.rsplit(":", 1)[1])
    assert machine.ping(port, machine.client_context(other)) is False


def test_plain_http_is_refused(owned):
    port = int(owned.endpoint.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        raw.sendall(b"GET /containers/json HTTP/1.0\r\n\r\n")
        assert b"200 OK" not in raw.recv(1000)


def test_it_listens_on_loopback_only(owned):
    port = int(owned.endpoint.rsplit(":", 1)[1])
    listening = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    addresses = {row[1].split(":")[0] for row in listening if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    assert addresses == {"0100007F"}


def test_its_keys_and_sockets_are_private(owned):
    folder = Path(owned.environment()["DOCKER_CERT_PATH"])
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    assert owned.folder.stat().st_mode & 0o077 == 0


# -- its machine


def test_clock_is_right_after_a_resume(owned):
    before = time.time()
    there = float(owned.shell("date +%s.%N"))
    after = time.time()
    assert before - 1 <= there <= after + 1


def test_shell_is_root_on_another_kernel(owned):
    assert owned.shell("id -u").strip() == "0"
    assert owned.shell("cat /proc/sys/kernel/random/boot_id") != Path("/proc/sys/kernel/random/boot_id").read_text()


def test_shell_failure_is_told_with_its_output(owned):
    with pytest.raises(LabError, match="status 3") as caught:
        owned.shell("echo because >&2; exit 3")
    assert "because" in str(caught.value)
    assert owned.shell("echo because; exit 3", check=False) == "because\n"


def test_shell_that_takes_too_long_is_stopped_and_hinders_nobody(owned):
    with pytest.raises(LabError, match="stopped after"):
        owned.shell("sleep 300", timeout=1)
    assert "sleep 300" not in owned.shell("ps ax -o args | grep '[s]leep 300' || true")


def test_a_published_port_answers_on_its_machine(owned, client):
    command = ["httpd", "-f", "-p", "80", "-h", "/etc"]
    web = client.containers.run("labkit/busybox:1", command, detach=True, ports={"80/tcp": ("127.0.0.1", None)})
    try:
        web.reload()
        port = web.ports["80/tcp"][0]["HostPort"]
        assert "root" in owned.shell(
            f"for n in 1 2 3 4 5; do wget -qO- http://127.0.0.1:{port}/passwd && exit; sleep 1; done"
        )
    finally:
        web.remove(force=True)


def test_the_kernel_finds_modules_that_are_not_loaded_yet(owned):
    assert owned.shell("modprobe xt_comment && lsmod | grep -c ^xt_comment").strip() == "1"


def test_guest_has_no_way_out(owned):
    # The notebook's machine is 10.0.2.2 to it; a listener there must stay out of reach.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        status = owned.shell(f"timeout 3 busybox nc 10.0.2.2 {port} </dev/null; echo $?")
        assert status.strip().splitlines()[-1] != "0"
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_console_shows_the_kernels_own_words(owned):
    owned.shell("echo labkit was here >/dev/kmsg")
    wait_until(lambda: "labkit was here" in owned.console())


def test_a_container_over_its_limit_is_killed_and_the_kernel_says_so(owned, client):
    box = client.containers.run(
        BUSYBOX, ["sh", "-c", "head -c 40m /dev/zero | tail"], mem_limit="16m", memswap_limit="16m", detach=True
    )
    try:
        assert box.wait()["StatusCode"] != 0
        wait_until(lambda: "Memory cgroup out of memory" in owned.console(400))
    finally:
        box.remove(force=True)


def test_the_machine_itself_runs_out_and_its_way_in_stays_open(owned, client):
    owned.shell("swapoff -a")
    box = client.containers.run(BUSYBOX, ["sh", "-c", "tail /dev/zero"], detach=True)
    try:
        box.wait(timeout=120)
        assert "Out of memory: Killed process" in owned.shell("dmesg")
        assert owned.shell("echo still here") == "still here\n"
        assert client.ping()
    finally:
        owned.shell("swapon -a || swapon /swapfile", check=False)
        box.remove(force=True)


def test_swap_is_there_for_the_labs(owned):
    assert "/swapfile" in owned.shell("swapon /swapfile 2>/dev/null; cat /proc/swaps")


@pytest.mark.parametrize("tool", ["lxc-start", "strace", "runc", "ctr", "nsenter", "unshare", "iptables", "ip", "ps"])
def test_tools_of_the_labs_are_there(owned, tool):
    assert owned.shell(f"command -v {tool}").strip()


def test_lxc_system_container(owned):
    listing = owned.shell(
        "lxc-create -n box -t busybox >/dev/null && lxc-start -n box && lxc-wait -n box -s RUNNING -t 30"
        " && lxc-attach -n box -- ps; status=$?; lxc-stop -k -n box; lxc-destroy -n box >/dev/null; exit $status",
        timeout=120,
    )
    assert "init" in listing


# -- its daemons


@pytest.fixture
def survivor(client):
    box = client.containers.run(BUSYBOX, ["sh", "-c", "while :; do date; sleep 1; done"], detach=True)
    yield box
    box.remove(force=True)


def host_pid(box):
    box.reload()
    return box.attrs["State"]["Pid"]


#: test_parts_owned.py does these two beside a container that runs, too.
TWICE = pytest.mark.slow


@pytest.mark.parametrize("how", [pytest.param("stop_dockerd", marks=TWICE), "kill_dockerd"])
def test_containers_live_on_without_dockerd(owned, client, survivor, how):
    pid = host_pid(survivor)
    with owned.live_restore():
        gone_and_back(owned, how, pid)
    assert host_pid(survivor) == pid
    assert survivor.status == "running"


def gone_and_back(owned, how, pid):
    getattr(owned, how)()
    try:
        port = int(owned.endpoint.rsplit(":", 1)[1])
        assert machine.ping(port, machine.client_context(owned._machine.keys)) is False
        assert owned.shell(f"cat /proc/{pid}/comm") == "sh\n"
    finally:
        owned.start_dockerd()


def test_a_stopped_dockerd_takes_its_containers_along_as_on_any_server(owned, client):
    box = client.containers.run(BUSYBOX, ["sleep", "600"], init=True, detach=True)
    try:
        owned.stop_dockerd()
        owned.start_dockerd()
        box.reload()
        assert box.status == "exited"
    finally:
        box.remove(force=True)


def test_nothing_in_it_surprises_who_knows_servers(owned, client):
    """A shared bind mount once unmounted the machine's ``/proc``; live-restore made a swarm impossible."""
    client.containers.run(BUSYBOX, ["true"], remove=True, volumes={"/root": {"bind": "/mnt", "mode": "rshared"}})
    assert client.containers.run(BUSYBOX, ["echo", "again"], remove=True) == b"again\n"
    assert client.info()["LiveRestoreEnabled"] is False
    client.swarm.init()
    client.swarm.leave(force=True)
    box = client.containers.create(BUSYBOX, ["true"])
    assert not box.attrs["HostConfig"]["LogConfig"]["Config"]
    box.remove()


@pytest.mark.parametrize("how", ["stop_containerd", pytest.param("kill_containerd", marks=TWICE)])
def test_containers_live_on_without_containerd(owned, client, survivor, how):
    pid = host_pid(survivor)
    getattr(owned, how)()
    try:
        assert "containerd stopped" in owned.shell("/usr/lib/labkit/service status")
        assert owned.shell(f"cat /proc/{pid}/comm") == "sh\n"
    finally:
        owned.start_containerd()
    wait_until(lambda: client.containers.run(BUSYBOX, ["echo", "again"], remove=True) == b"again\n")
    assert host_pid(survivor) == pid


def test_starting_what_runs_does_nothing(owned):
    before = owned.shell("/usr/lib/labkit/service status")
    owned.start_dockerd()
    owned.start_containerd()
    assert owned.shell("/usr/lib/labkit/service status") == before


@pytest.mark.alone
def test_its_clocks_run_at_the_right_rate(owned):
    """The wall clock, and the one by which the scheduler counts processor time and quotas; the kernel's log shows it."""

    def ahead():
        before = time.time()
        wall, line = owned.shell("echo tick > /dev/kmsg; date +%s.%N; dmesg | grep tick | tail -n 1").splitlines()
        here = (before + time.time()) / 2
        return float(wall) - here, float(re.search(r"[\d.]+", line)[0]) - here

    first = ahead()
    time.sleep(20)
    assert all(abs(later - sooner) < 2 for sooner, later in zip(first, ahead()))
