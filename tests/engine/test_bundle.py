"""A room without a network: one command, as a fresh ordinary user, where there is nothing but loopback. All live."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from labkit.paths import COURSE

from ..users import installed, only_root, ordinary, place

pytestmark = [pytest.mark.slow, only_root, pytest.mark.timeout(3600)]

#: What the user does: types the one command, waits for JupyterLab, then runs lab 08 to its first OOM kill.
TYPES = """
import json, os, re, socket, subprocess, sys, time, urllib.request
began = time.monotonic()
def since():
    return round(time.monotonic() - began, 1)
found = {"uid": os.getuid(), "interfaces": [name for _, name in socket.if_nameindex()]}
log = open("log", "w")
line = ["sh", "-c", "tar -xf ../room.tar && exec room/install"]
lab = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
address = None
while address is None and lab.poll() is None and time.monotonic() - began < 1500:
    time.sleep(0.1)
    text = open("log").read()
    if "installed" not in found and "Installed." in text:
        found["installed"] = since()
    address = re.search(r"(http://127\\.0\\.0\\.1:\\d+/)\\S*token=(\\w+)", text)
found["live"] = since()
if address:
    url = f"{address[1]}api/contents/notebooks?token={address[2]}"
    found["notebooks"] = [each["name"] for each in json.load(urllib.request.urlopen(url, timeout=60))["content"]]
    done = subprocess.run(["container-labs/.venv/bin/python", "-c", sys.argv[1]], capture_output=True, text=True)
    found["said"], found["errors"] = done.stdout, done.stderr
    found["killed"] = since()
    lab.terminate()
    found["ended"] = lab.wait(60)
found["log"] = open("log").read()
print(json.dumps(found))
"""

#: Lab 08 up to the evidence of its first kill, as its notebook has it; run from the working copy.
FIRST_CELLS = """
import nbformat, nbclient
notebook = nbformat.read("container-labs/notebooks/08-out-of-memory.ipynb", 4)
code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
notebook.cells = notebook.cells[: code[5]]
nbclient.NotebookClient(notebook, timeout=900).execute()
print(*(output.text for cell in notebook.cells for output in cell.get("outputs", ()) if "text" in output))
"""


@pytest.fixture(scope="module")
def room():
    """A folder for everybody with ``room.tar``, made by a Python that everybody has; LABKIT_ROOM is one made before."""
    with place() as folder:
        if made := os.environ.get("LABKIT_ROOM"):
            shutil.copy(made, folder / "room.tar")
            yield folder
            return
        bin = installed(folder / "maker", str(COURSE))
        line = [bin / "python", "-m", "labkit", "bundle", str(folder / "room.tar"), "--json"]
        done = subprocess.run(line, cwd=COURSE, capture_output=True, text=True, timeout=1800, check=False)
        assert done.returncode == 0, done.stderr
        print(f"\nbundled {json.loads(done.stdout)['bytes'] / 1e6:.0f} MB")
        yield folder


def as_user(user, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without any right, in a network of its own with nothing but loopback."""
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs",
            "--inh-caps=-all", "--bounding-set=-all"]  # fmt: skip
    variables = [f"HOME={user.pw_dir}", f"USER={user.pw_name}", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]
    script = f'ip link set lo up && cd {user.pw_dir} && exec "$@"'
    return subprocess.run(
        ["unshare", "--net", "sh", "-ec", script, "sh", *drop, "env", "-i", *variables, *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2400, check=False,
    )  # fmt: skip


def test_one_command_without_a_network_ends_in_a_live_lab(room, record_property):
    with ordinary(room, "labkit-t-room") as [user]:
        done = as_user(user, room, "/usr/bin/python3", "-c", TYPES, FIRST_CELLS)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        print(found["log"])
        assert found["uid"] == user.pw_uid and found["interfaces"] == ["lo"]
        assert "notebooks" in found, "no JupyterLab: " + found["log"]
        assert "08-out-of-memory.ipynb" in found["notebooks"]
        assert re.search(r"Live: Docker Engine \d+\.\S+ \(embedded", found["log"]), found["log"]
        assert "killed by the kernel: yes · exit code 137" in found["said"], found["errors"]
        assert found["ended"] == 143 or found["ended"] == 0, found["log"]
        for name in ("installed", "live", "killed"):
            record_property(name, found[name])
        print({name: found[name] for name in ("installed", "live", "killed")})


def test_a_bundle_for_another_processor_writes_nothing(room):
    with ordinary(room, "labkit-t-other") as [user]:
        with tarfile.open(room / "room.tar") as tar:
            names = [each for each in tar.getnames() if "/wheels/" not in each and not each.endswith(".labkit")]
            for name in names:
                tar.extract(name, user.pw_dir, filter="data")
        facts = Path(user.pw_dir, "room", "room.json")
        told = json.loads(facts.read_text())
        facts.write_text(json.dumps({**told, "processor": "riscv64"}))
        done = as_user(user, room, "room/install")
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert "this bundle is for Linux on riscv64; this machine is Linux on" in done.stderr
        assert not Path(user.pw_dir, "container-labs").exists()
