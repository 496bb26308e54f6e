"""A real JupyterHub: users at once, each in Chromium with lab 08 and an engine of their own; nothing seen of each other.

LABKIT_HUB_USERS says how many (4), LABKIT_EXPORTED names an engine that was exported before, LABKIT_TEST_VENV an
environment for everybody with labkit and JupyterHub in it.
"""

from __future__ import annotations

import json
import os
import re
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

from ..users import installed, only_root, ordinary, place
from .hub import Hub, Usage, engine_port, log_in

pytestmark = [pytest.mark.slow, only_root, pytest.mark.timeout(3600)]

USERS = int(os.environ.get("LABKIT_HUB_USERS", "4"))
NAMES = [f"labkit-t-{name}" for name in "ada grace linus barbara alan edsger donald margaret".split()[:USERS]]
NOTEBOOK = "lab/tree/notebooks/08-out-of-memory.ipynb"

TRACKER = ".jupyter/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"

#: Milliseconds that the slowest step may take, with all of them at it on two busy processors.
LONG = 900_000

#: What an engine is and holds, asked with one user's keys at anybody's port.
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
    said = {"id": client.info()["ID"], "sessions": sorted({each.labels.get("labkit.session", "") for each in client.containers.list(all=True)})}
except docker.errors.DockerException as reason:
    said = {"refused": str(reason)}
print(json.dumps(said))
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


def quiet(locator, seconds: float) -> None:
    """Wait until nothing has matched for a while."""
    last = time.monotonic()
    while time.monotonic() - last < seconds:
        if locator.count():
            last = time.monotonic()
        locator.page.wait_for_timeout(100)


def run_to_the_first_kill(page) -> None:
    """The cells up to the evidence of the first kill, on a page without outputs."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    for _ in range(10):  # what is asked of a page that has not settled yet is dropped again: then once more
        quiet(page.locator(".jp-Notebook-ExecutionIndicator:not([data-status='idle'])"), 3)
        page.get_by_role("menuitem", name="Edit", exact=True).click()
        page.get_by_role("menuitem", name="Clear Outputs of All Cells", exact=True).click()
        page.wait_for_timeout(1000)
        if page.locator(".jp-Notebook .jp-OutputArea-output").count():
            continue
        page.locator(".jp-Notebook .jp-Cell").nth(12).click(position={"x": 5, "y": 5})
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Above Selected Cell", exact=True).click()
        page.wait_for_timeout(2000)
        said = "*"
        while "*" in said and not re.search(r"\d", said):
            page.wait_for_timeout(1000)
            said = "".join(prompts.all_inner_texts())
        if re.search(r"\d", said):
            return
    raise AssertionError(f"no cell runs: {prompts.all_inner_texts()[:8]}")


def test_users_at_once_each_with_an_engine_of_their_own(everybody, hub, browser):
    _, programs, shared, users = everybody
    pages, killed, used = [], [], [Usage(user.pw_uid) for user in users]
    for name in NAMES:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        log_in(page, hub, name, f"/hub/user-redirect/{NOTEBOOK}")
        pages.append(page)
    for page in pages:
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=LONG)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=LONG)
        if folder := os.environ.get("LABKIT_PICTURES"):
            page.screenshot(path=Path(folder) / f"hub-before-{len(killed)}.png")
        run_to_the_first_kill(page)
    for number, page in enumerate(pages):
        try:
            page.locator(".jp-OutputArea", has_text="killed process (awk)").wait_for(timeout=LONG / 3)
        finally:
            if folder := os.environ.get("LABKIT_PICTURES"):
                page.screenshot(path=Path(folder) / f"hub-{number}.png")
        said = page.locator(".jp-Notebook").inner_text()
        assert "killed by the kernel: yes · exit code 137" in said and "embedded" in said, said[:3000]
        killed.append(used[number].row()["seconds"])

    # Each has an engine of their own, with no container but their own session's; nobody's keys open another's.
    ports = [engine_port(user.pw_uid) for user in users]
    seen = [as_user(user, programs, ASK, str(port)) for user, port in zip(users, ports)]
    assert all(len(each["sessions"]) == 1 and each["sessions"][0] for each in seen), seen
    assert len({each["id"] for each in seen}) == len({each["sessions"][0] for each in seen}) == USERS
    for number, user in enumerate(users):
        for port in ports[:number] + ports[number + 1 :]:
            assert "certificate" in as_user(user, programs, ASK, str(port))["refused"].lower()
        other = users[(number + 1) % USERS]
        look = "import json, os\nfound = []\nfor path in %r:\n try: os.listdir(path); found.append(path)\n except OSError: pass\nprint(json.dumps(found))"
        closed = [other.pw_dir, f"/tmp/labkit-{other.pw_uid}"]
        assert USERS == 1 or as_user(user, programs, look % closed) == []
        if USERS > 1:
            answer = pages[number].request.get(f"{hub.address}/user/{NAMES[(number + 1) % USERS]}/api/contents")
            assert answer.status == 403, answer.text()[:300]

    print(f"\n{'user':<20}" + "".join(f"{name:>11}" for name in ("engine", "kernel", "server", "processor", "killed")))
    for name, each, after in zip(NAMES, used, killed):
        row = each.row()
        print(f"{name:<20}" + "".join(f"{row[key]:>11.0f}" for key in ("engine", "kernel", "server", "processor"))
              + f"{after:>11.0f}")  # fmt: skip
    print("MiB of proportional set size, seconds of processor, seconds from the log-in to the first kill")


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
        before = home.stat()
        after.callback(lambda: (os.chown(home, before.st_uid, before.st_gid), home.chmod(0o700)))
        os.chown(home, 0, 0)
        home.chmod(0o755)
        code = (
            "import os, json, sys\nos.environ.update(JUPYTERHUB_API_TOKEN='x', LABKIT_CACHE=sys.argv[1])\n"
            "from labkit.commands.serve import hub_command\nline, folder = hub_command('00-start-here')\n"
            "print(json.dumps([str(folder), os.environ['HOME'], os.listdir(folder / 'notebooks')]))"
        )
        folder, used, notebooks = as_user(users[0], programs, code, str(shared))
        assert used.startswith(f"/tmp/labkit-{users[0].pw_uid}") and folder.startswith(used)
        assert "00-start-here.ipynb" in notebooks
