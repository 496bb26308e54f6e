"""A real JupyterHub: users at once, each in Chromium with lab 08 and an engine of their own; nothing seen of each other.

LABKIT_HUB_USERS says how many (4), LABKIT_EXPORTED names an engine that was exported before, LABKIT_TEST_VENV an
environment for everybody with labkit and JupyterHub in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from labkit import images
from labkit.engine import embedded
from labkit.paths import COURSE, cache_path

from ..chromium import choose, errors_shown, quiet
from ..users import installed, only_root, ordinary, place
from .hub import Hub, Usage, engine_port, log_in

pytestmark = [pytest.mark.slow, only_root, pytest.mark.timeout(3600)]

USERS = int(os.environ.get("LABKIT_HUB_USERS", "4"))
NAMES = [f"labkit-t-{name}" for name in "ada grace linus barbara alan edsger donald margaret".split()[:USERS]]
NOTEBOOK = "lab/tree/notebooks/08-out-of-memory.ipynb"

TRACKER = ".jupyter/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"

#: Milliseconds that the slowest step may take, with all of them at it on two busy processors.
LONG = 900_000

#: What an engine is and holds, asked with one user's keys at anybody's port. Each row of ``top`` is a process.
ASK = """
import json, sys
import docker
from docker.tls import TLSConfig
from pathlib import Path
port = sys.argv[1]
[keys] = [path for path in Path(f"/tmp/labkit-{__import__('os').getuid()}/keys").iterdir() if path.is_dir()]
tls = TLSConfig(client_cert=(str(keys / "cert.pem"), str(keys / "key.pem")), ca_cert=str(keys / "ca.pem"), verify=True)
try:
    client = docker.DockerClient(base_url=f"https://127.0.0.1:{port}", tls=tls, timeout=60)
    containers = client.containers.list(all=True)
    networks = [each for each in client.networks.list() if each.name not in ("host", "none")]  # as old as the snapshot
    labels = [each.labels for each in containers] + [each.attrs["Labels"] for each in networks]
    said = {"id": client.info()["ID"], "containers": sorted(each.id for each in containers),
            "networks": sorted(each.id for each in networks), "volumes": [each.id for each in client.volumes.list()],
            "sessions": sorted({each["labkit.session"] for each in labels if "labkit.session" in each}),
            "top": [row[-1] for each in client.containers.list() for row in each.top()["Processes"]]}
except docker.errors.DockerException as reason:
    said = {"refused": str(reason)}
print(json.dumps(said))
"""

#: What one user can do with another's files and processes, tried with another's number and folders.
LOOK = """
import json, os, sys
uid, folders = int(sys.argv[1]), sys.argv[2:]
done, tried, lines = [], 0, []
def attempt(what, function, *words):
    global tried
    tried += 1
    try:
        function(*words)
    except OSError:
        return
    done.append([what, *map(str, words)])
for folder in folders:
    attempt("list", os.listdir, folder)
    attempt("write", open, folder + "/x", "w")
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        if os.stat(f"/proc/{name}").st_uid != uid:
            continue
        lines.append(open(f"/proc/{name}/cmdline").read())
    except OSError:
        continue
    attempt("signal", os.kill, int(name), 0)
    for file in ("environ", "mem", "maps"):
        attempt("read", lambda path: open(path, "rb").read(1), f"/proc/{name}/{file}")
    for file in ("fd", "cwd", "root"):
        attempt("list", os.listdir, f"/proc/{name}/{file}")
print(json.dumps({"done": done, "tried": tried, "lines": lines}))
"""


@pytest.fixture(scope="module")
def everybody():
    """A folder, the programs in it, the engine that all may read, and the users."""
    with place() as folder:
        programs = installed(folder / "programs", f"{COURSE}[hub]")
        exported = Path(os.environ.get("LABKIT_EXPORTED") or folder / "engine.labkit")
        if not exported.exists():
            embedded.export(exported, images=images.archives)
        shared = folder / "shared"
        for name in ("workshop", "small-vm"):  # what an import would make from packages, where it is made already
            if cache_path(name).is_dir():
                shutil.copytree(
                    cache_path(name), shared / name, ignore=shutil.ignore_patterns("*lock", "disk-*", "root-*")
                )
        subprocess.run(
            [programs / "labkit", "engine", "import", "--shared", exported], check=True, timeout=900,
            env={**os.environ, "LABKIT_CACHE": str(shared)},
        )  # fmt: skip
        before = sorted(shared.rglob("*"))
        with ordinary(folder, *NAMES) as users:
            for user in users:  # all cells stay in the page, so that each can be looked at
                settings = Path(user.pw_dir, TRACKER)
                settings.parent.mkdir(parents=True)
                settings.write_text('{"windowingMode": "none"}')
                subprocess.run(
                    ["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", Path(user.pw_dir, ".jupyter")], check=True
                )
            yield folder, programs, shared, users
        assert sorted(shared.rglob("*")) == before, "what is shared is only read"


@pytest.fixture(scope="module")
def hub(everybody):
    folder, programs, shared, _ = everybody
    found = Hub(folder, programs, shared, NAMES, "labkit-t-teacher")
    yield found
    found.close()
    print(found.said()[-6000:] if os.environ.get("LABKIT_HUB_LOG") else "")


def as_user(user, program: Path, code: str, *words: str) -> dict:
    """What a Python program says as one of the users."""
    done = subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "env", "-i",
         f"HOME={user.pw_dir}", program / "python", "-c", code, *words],
        capture_output=True, text=True, timeout=300, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def begin(page) -> None:
    """Have the cells run up to the evidence of the first kill, on a page without the saved outputs; not waited for."""
    quiet(page.locator(".jp-Notebook-ExecutionIndicator:not([data-status='idle'])"), 3)
    choose(page, "Edit", "Clear Outputs of All Cells")
    quiet(page.locator(".jp-Notebook .jp-OutputArea-output"), 1)
    page.locator(".jp-Notebook .jp-Cell").nth(12).click(position={"x": 5, "y": 5})
    choose(page, "Run", "Run All Above Selected Cell")
    waiting(page).first.wait_for(state="attached", timeout=60_000)


def waiting(page):
    """The prompts of cells that run or wait for their turn."""
    return page.locator(".jp-CodeCell .jp-InputPrompt", has_text="[*]")


def has_killed(page) -> bool:
    """Whether the kernel's words on the kill are there yet; fails as soon as a cell says that something is wrong."""
    ended = not waiting(page).count()  # asked first: a cell's outputs are there before its number is
    assert errors_shown(page) == []
    killed = page.locator(".jp-OutputArea", has_text="killed process (awk)").count() > 0
    assert killed or not ended, page.locator(".jp-Notebook").inner_text()[:3000]
    return killed


def test_users_at_once_each_with_an_engine_of_their_own(everybody, hub, browser):
    _, programs, _, users = everybody
    pages, killed, used = [], dict[int, float](), [Usage(user.pw_uid) for user in users]
    for name in NAMES:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        log_in(page, hub, name, f"/hub/user-redirect/{NOTEBOOK}")
        pages.append(page)
    for page in pages:
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=LONG)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=LONG)
    began = time.monotonic()
    try:
        for page in pages:
            begin(page)
        while len(killed) < USERS:
            assert time.monotonic() - began < LONG / 1000, f"killed: {killed}"
            for number, page in enumerate(pages):
                if number not in killed and has_killed(page):
                    killed[number] = time.monotonic() - began
            pages[0].wait_for_timeout(500)
    finally:
        for number, page in enumerate(pages):
            if folder := os.environ.get("LABKIT_PICTURES"):
                page.screenshot(path=Path(folder) / f"hub-{number}.png")
    for page in pages:
        said = page.locator(".jp-Notebook").inner_text()
        assert "killed by the kernel: yes · exit code 137" in said and "embedded" in said, said[:3000]

    print(f"\n{'user':<20}" + "".join(f"{name:>11}" for name in ("engine", "kernel", "server", "processor", "killed")))
    for number, (name, each) in enumerate(zip(NAMES, used)):
        row = {**each.row(), "killed": killed[number]}
        print(
            f"{name:<20}"
            + "".join(f"{row[key]:>11.0f}" for key in ("engine", "kernel", "server", "processor", "killed"))
        )
    print("MiB of proportional set size, seconds of processor, seconds from the first cell of all to the first kill")
    nothing_seen_of_each_other(programs, hub, users, pages)


def nothing_seen_of_each_other(programs: Path, hub: Hub, users, pages) -> None:
    """Containers, networks, processes, keys, ports, files, servers: each user has their own, and no way to another's."""
    ports = [engine_port(user.pw_uid) for user in users]
    seen = [as_user(user, programs, ASK, str(port)) for user, port in zip(users, ports)]
    for what in ("id", "containers", "networks", "sessions"):
        found = [[each[what]] if what == "id" else each[what] for each in seen]
        assert all(found), (what, seen)
        assert len({one for some in found for one in some}) == sum(map(len, found)), (what, "is shared", seen)
    assert all(len(each["sessions"]) == 1 and each["top"] and not each["volumes"] for each in seen), seen
    for number, user in enumerate(users):
        for at, other in enumerate(users):
            if at == number:
                continue
            answer = as_user(user, programs, ASK, str(ports[at]))
            assert "certificate" in answer["refused"].lower(), answer
            folders = [other.pw_dir, f"/tmp/labkit-{other.pw_uid}"]
            folders += map(str, Path("/var/tmp").glob(f"*labkit*-{other.pw_uid}"))
            found = as_user(user, programs, LOOK, str(other.pw_uid), *folders)
            assert found["done"] == [] and found["tried"] > 20, found
            assert any("qemu-system" in line for line in found["lines"]), "the machine shows command lines"
            secret = [word for line in found["lines"] for word in line.split("\0") if "token=" in word.lower()]
            assert secret == [], "and in none of them is a secret"
            answer = pages[number].request.get(f"{hub.address}/user/{other.pw_name}/api/contents")
            assert answer.status == 403, answer.text()[:300]


def test_the_board_is_behind_the_hubs_login(everybody, hub, browser):
    learner, teacher = (browser.new_context().new_page() for _ in range(2))
    for page, name in ((learner, NAMES[0]), (teacher, "labkit-t-teacher")):
        log_in(page, hub, name, "/services/class/")
    teacher.get_by_role("heading", name="Class board").wait_for(timeout=120_000)
    assert f"labkit join {hub.address}/services/class " in teacher.locator("header").inner_text()
    learner.wait_for_load_state()
    assert "Class board" not in learner.content() and "403" in learner.content()
    for what in ("", "progress.csv", "grades.csv"):
        answer = requests.get(f"{hub.address}/services/class/{what}", timeout=60)
        assert "Class board" not in answer.text and "Points Possible" not in answer.text
    assert (
        teacher.request.get(f"{hub.address}/services/class/grades.csv").text().splitlines()[1].startswith("    Points")
    )

    # A learner joins with the address and the code on the board, from their own server, and is seen there.
    _, programs, _, users = everybody
    code = teacher.locator("header code").inner_text().split()[-1]
    line = ["setpriv", f"--reuid={users[0].pw_uid}", f"--regid={users[0].pw_gid}", "--clear-groups", "env", "-i",
            f"HOME={users[0].pw_dir}", programs / "labkit", "join", f"{hub.address}/services/class", code]  # fmt: skip
    done = subprocess.run([*line, "--name", "Ada"], cwd="/", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "The class knows you as Ada" in done.stdout, done.stderr
    teacher.get_by_role("rowheader", name="Ada", exact=True).wait_for(timeout=30_000)


def test_a_home_that_can_not_be_written_is_told(everybody):
    _, programs, shared, users = everybody
    with ExitStack() as after:
        home = Path(users[0].pw_dir)
        used_before = home.rename(home.with_suffix(".aside"))
        after.callback(lambda: (home.rmdir(), used_before.rename(home)))
        home.mkdir(mode=0o755)
        code = (
            "import os, json, sys\nos.environ.update(JUPYTERHUB_API_TOKEN='x', LABKIT_CACHE=sys.argv[1])\n"
            "from labkit.commands.serve import hub_command\nline, folder = hub_command('00-start-here')\n"
            "print(json.dumps([str(folder), os.environ['HOME'], os.listdir(folder / 'notebooks')]))"
        )
        folder, used, notebooks = as_user(users[0], programs, code, str(shared))
        assert used.startswith(f"/tmp/labkit-{users[0].pw_uid}") and folder.startswith(used)
        assert "00-start-here.ipynb" in notebooks
