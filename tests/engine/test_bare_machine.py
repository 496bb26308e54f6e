"""From a bare Debian 12 to a live lab, for a user who may do nothing: git, make and python3, and no more.

The machine is a root file system made here by debootstrap, from Debian's packages, in name spaces of its own. Only
pip's settings, the time and the way to a network are this machine's. It takes five to ten minutes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import debian
from labkit.paths import COURSE

USER = 1000
HOME = "home/learner"

#: What the user does: types one command, waits for JupyterLab, then asks doctor what is live.
TYPES = """
import json, os, re, subprocess, time, urllib.request
log = open("../log", "w+")
began = time.monotonic()
lab = subprocess.Popen(["make", "lab", "LAB=08"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
address = None
while address is None and lab.poll() is None and time.monotonic() - began < 1500:
    time.sleep(1)
    address = re.search(r"(http://127\\.0\\.0\\.1:\\d+/)\\S*token=(\\w+)", open("../log").read())
found = {"seconds": round(time.monotonic() - began), "log": open("../log").read()}
if address:
    def ask(path):
        return json.load(urllib.request.urlopen(f"{address[1]}api/{path}?token={address[2]}", timeout=60))
    found["status"] = ask("status")
    found["notebook"] = [each["path"] for each in ask("contents/notebooks")["content"]]
    doctor = subprocess.run([".venv/bin/labkit", "doctor", "--json"], capture_output=True, text=True)
    found["doctor"] = doctor.stdout
    found["errors"] = doctor.stderr
tools = ("qemu-img", "docker", "sudo", "pip")
found["installed"] = [name for name in tools if subprocess.run(["which", name], capture_output=True).returncode == 0]
found["uid"] = os.getuid()
found["capabilities"] = re.search(r"CapBnd:\\s*(\\w+)", open("/proc/self/status").read())[1]
print(json.dumps(found))
"""


def pip_settings() -> dict[str, str]:
    """pip's settings of this machine, as variables."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = re.findall(r"^(global|:env:)\.([\w-]+)='(.*)'$", said, flags=re.M)
    return {f"PIP_{name.upper().replace('-', '_')}": value.replace("\\n", " ") for _, name, value in sorted(found)}


@pytest.fixture
def machine(tmp_path):
    """The root file system, with the course in the user's home."""
    tool, root, keys = tmp_path / "tool", tmp_path / "root", tmp_path / "keys.gpg"
    debian.unpack(debian.fetch(["debootstrap"], skip=re.compile("^(?!debootstrap$)")), tool)
    keys.write_bytes(b"".join(path.read_bytes() for path in sorted(debian.KEYRING.iterdir())))
    done = subprocess.run(
        [tool / "usr/sbin/debootstrap", "--variant=minbase", "--include=git,make,python3,ca-certificates",
         f"--keyring={keys}", "bookworm", root, debian.mirrors()[0]],
        env={**os.environ, "DEBOOTSTRAP_DIR": str(tool / "usr/share/debootstrap")},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    with open(root / "etc/passwd", "a") as file:
        file.write(f"learner:x:{USER}:{USER}::/{HOME}:/bin/bash\n")
    course = root / HOME / "course"
    subprocess.run(["git", "clone", "--quiet", f"file://{COURSE}", course], check=True)
    (root / HOME / "user.py").write_text(TYPES)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", root / HOME], check=True)
    # A mirror that stands still needs another rule for the age of its lists, a closed network a proxy.
    network = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    (root / "etc/apt/apt.conf.d/90network").write_text(network)
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(f"/{name}", root / name)
    yield root
    shutil.rmtree(root)  # two gigabytes


def run(root: Path, environment: dict[str, str], *command: str, timeout: float) -> subprocess.CompletedProcess:
    """A command of the user's there; whatever it started has ended when this returns."""
    settings = " ".join(value for key, value in environment.items() if key.startswith("PIP_"))
    shown = re.findall(r"(?:file://|^|\s)(/[^\s:]+)", settings)
    shown = [path.removesuffix("/simple") for path in shown]  # an index's files are beside it
    lines = ["mount --make-rprivate /", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for path in dict.fromkeys(shown):
        if not Path(path).exists():
            continue
        place = root / path[1:]
        if Path(path).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        lines.append(f"mount --rbind {path} {place}")
    lines.append(f'cd / && exec chroot {root} setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs '
                 '--inh-caps=-all --bounding-set=-all env -i "$@"')  # fmt: skip
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "\n".join(lines), "sh",
         *(f"{key}={value}" for key, value in environment.items()), *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


@pytest.mark.timeout(2700)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another root file system and enter it")
def test_make_lab_ends_in_a_live_lab(machine):
    kept = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy") or key == "LABKIT_MIRROR"}
    environment = {
        **kept,
        **pip_settings(),
        "HOME": f"/{HOME}",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    line = f"cd /{HOME}/course && python3 ../user.py; exit $?"  # the shell stays: it is the first process there
    done = run(machine, environment, "bash", "-c", line, timeout=2400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(found["log"])
    assert "status" in found, f"no JupyterLab: {found['log']}"
    assert "notebooks/08-out-of-memory.ipynb" in found["notebook"]
    version = re.search(r"Live: Docker Engine (\d+)\.", found["log"])
    assert version and int(version[1]) >= 28, found["log"]
    report = json.loads(found["doctor"])
    assert report["ok"], found["doctor"] + found["errors"]
    assert report["engine"]["kind"] == "embedded" and int(report["engine"]["version"].split(".")[0]) >= 28
    # And it really was bare, and its user nobody.
    assert found["installed"] == [] and found["uid"] == USER and int(found["capabilities"], 16) == 0
    print(f"from make lab to JupyterLab: {found['seconds']} s")
