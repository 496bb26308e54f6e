"""The embedded engine where nothing is allowed: uid 1000, no capabilities, no network, 1 GiB of memory.

The sandbox is a container of the host's engine whose root file system is this machine's own, read-only.
Its cache is a copy of this user's, with one build, owned by uid 1000.
"""

import io
import json
import os
import site
import subprocess
import sys
import tarfile
from pathlib import Path

import docker
import pytest

from labkit import images
from labkit.engine import clients, embedded
from labkit.paths import cache_dir

ROOT = Path(embedded.__file__).parents[3]
IMAGE = "labkit/test-sandbox:1"
USER = 1000

#: What any of the acceptance commands may use; the issue's words.
LIMITS = [
    f"--user={USER}:{USER}", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none",
    "--memory=1g", "--memory-swap=1g", "--pids-limit=400",
]  # fmt: skip


def skeleton():
    """A root file system of empty folders and the links of a merged /usr, as a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("usr", "etc", "home", "tmp", "proc", "sys", "dev", "cache", "root", "var/tmp", "run"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755 if name != "tmp" else 0o1777
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(entry)
    return stream.getvalue()


def mounts():
    """This machine's programs, this Python, its packages and this checkout, each at its own path."""
    wanted = ["/usr", "/etc", sys.prefix, sys.base_prefix, *site.getsitepackages(), str(ROOT)]
    wanted += [path for path in sys.path if path and Path(path).is_dir()]
    kept = []
    for path in sorted({str(Path(each)) for each in wanted}):
        if not any(path == known or path.startswith(f"{known}/") for known in kept):
            kept.append(path)
    return [f"--volume={path}:{path}:ro" for path in kept]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A function that runs this Python with arguments in the sandbox; returns the finished process."""
    try:
        host = docker.from_env()
        host.ping()
    except docker.errors.DockerException as reason:
        pytest.skip(f"needs a host engine for the sandbox: {reason}")
    build = embedded.build(images=images.archives)
    loaded = host.api.import_image_from_data(skeleton(), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    assert "error" not in loaded
    cache = tmp_path_factory.mktemp("cache")
    clients.ensure()
    source = cache_dir()
    # A container's root may give the copy to uid 1000, also where this test's user may not.
    copy = (
        f"mkdir /cache/embedded && cd /source/embedded && cp -a --sparse=always {build.name} *.json /cache/embedded/"
        f" && cp -a ../programs /cache/ && chown -R {USER}:{USER} /cache"
    )
    base = ["docker", "run", "--rm", "--label=labkit.test=sandbox", *mounts()]
    subprocess.run(
        [*base, f"--volume={source}:/source:ro", f"--volume={cache}:/cache", IMAGE, "/bin/sh", "-c", copy],
        check=True,
        timeout=300,
    )

    def run(*arguments, timeout=600):
        environment = {
            "HOME": "/tmp", "LABKIT_CACHE": "/cache", "LABKIT_STATE": "/tmp/state", "LABKIT_ENGINE": "embedded",
            "PATH": os.environ["PATH"] + ":/usr/bin:/bin", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
            "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        words = [f"--env={key}={value}" for key, value in environment.items()]
        words += [f"--volume={cache}:/cache", "--tmpfs=/tmp:mode=1777"]
        return subprocess.run(
            [*base, *LIMITS, *words, IMAGE, sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    yield run
    subprocess.run(
        [*base, f"--volume={cache}:/cache", IMAGE, "/bin/sh", "-c", "rm -rf /cache/embedded /cache/programs"],
        check=True,
        timeout=120,
    )
    host.images.remove(IMAGE)
    host.close()


ROUND_TRIP = """
import json, os, re
from contextlib import closing
from pathlib import Path
import docker
from labkit.engine import clients, embedded
from labkit.engine.embedded import host
status = dict(re.findall(r"^(\\w+):\\s*(.*)$", Path("/proc/self/status").read_text(), flags=re.M))
with embedded.start() as engine, closing(docker.DockerClient(**engine.client_options())) as client:
    said = client.containers.run("labkit/python:1", ["python3", "-c", "print(6 * 7)"], remove=True)
    print(json.dumps({
        "said": said.decode().strip(), "uid": os.getuid(), "capabilities": int(status["CapBnd"], 16),
        "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
        "memory": host.memory_limit(), "interfaces": os.listdir("/sys/class/net"),
        "root": engine.shell("id -u").strip(), "alive": engine.alive(),
    }))
"""


def test_a_container_runs_where_nothing_is_allowed(sandbox):
    done = sandbox("-c", ROUND_TRIP)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"] == "42" and found["root"] == "0" and found["alive"]
    # And nothing really was allowed.
    assert found["uid"] == USER and found["capabilities"] == 0
    assert found["no_new_privileges"] == "1" and found["seccomp"] == "2"
    assert found["memory"] == 1024**3 and found["interfaces"] == ["lo"]


def test_doctor_is_content(sandbox):
    done = sandbox("-m", "labkit", "doctor", "--engine", "embedded", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] is True


@pytest.mark.parametrize("number", ["00", pytest.param("08", marks=pytest.mark.slow)])
def test_a_lab_passes(sandbox, number):
    """A whole lab, unchanged, where nothing is allowed; in 08 the machine itself runs out of memory."""
    done = sandbox("-m", "labkit", "run", number, "--json", timeout=2400)
    assert done.returncode == 0, done.stdout + done.stderr
    [lab] = json.loads(done.stdout)["labs"]
    assert (lab["lab"][:2], lab["outcome"]) == (number, "pass") and lab["cells"] > 15
    print(f"{lab['lab']}: {lab['seconds']} s")
