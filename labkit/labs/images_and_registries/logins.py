"""A registry that asks who is there: refused, let in, and what the command line keeps of it."""

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from ...course.context import Context
from ...course.result import Result
from ...engine import dockercli
from ...errors import LabError
from ...files import Temporary
from ...units import yes_no
from .registry import RunningRegistry


class Answer(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    said: str


class Login(Result):
    """Commands to a registry with a password, in order, and their answers.

    ``challenge`` is the header of its refusal; ``settings`` is the ``config.json`` that the login wrote, with the
    password's part cut away; ``user`` is who it names, and ``readable`` says whether the password could be read from it.
    """

    challenge: str
    steps: dict[str, Answer]
    settings: str
    user: str
    readable: bool

    def facts(self) -> str:
        rows = [f"{command:<40} {'refused' if answer.status else 'done'}" for command, answer in self.steps.items()]
        kept = f"config.json, its base64 undone, says {self.user}:PASSWORD: {yes_no(self.readable)}"
        return "\n".join([f"GET /v2/, nobody logged in: {self.challenge}", *rows, kept])


def login(on: Context) -> Login:
    """Push to a registry with a password before, while and after being logged in there.

    The registry is one more, for the length of this call. The command line gets a configuration folder of its own, and
    a ``PATH`` with no credential helper on it: a learner's own configuration and key ring stay as they are.

    Raises:
        labkit.errors.NotPossibleHere: this machine has no ``docker`` command line.
        LabError: the login failed.
    """
    with RunningRegistry(on, name="private", locked=True) as store, Temporary() as folder:
        told = re.search(r"default user.* password=(\S+) user=(\S+)", store.container.logs().decode())
        if told is None:
            raise LabError(
                "The registry did not say which password it has.", cause=store.container.logs(tail=3).decode()
            )
        password, user = told.groups()
        challenge = store.get("/v2/").headers["www-authenticate"]
        environment = {**on.session.engine.process_environment(), "DOCKER_CONFIG": folder, "PATH": folder}
        image = f"{store.address}/{on.session.name('locked')}:1"

        def typed(command: str, given: str = "") -> Answer:
            on.say(command)
            done = subprocess.run(
                dockercli.command_line(on.session, command.split()), env=environment, input=given, timeout=120,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            )  # fmt: skip
            words = [line for line in done.stdout.splitlines() if line and folder not in line]
            return Answer(done.returncode, "\n".join(words))

        push, kept = f"docker push -q {image}", Path(folder, "config.json")
        on.docker.api.tag(on.image(), image)
        steps = {"docker push": typed(push)}
        steps["docker login"] = typed(f"docker login -u {user} --password-stdin {store.address}", password)
        if steps["docker login"].status:
            raise LabError(f"docker login failed: {steps['docker login'].said}", engine=on.session.engine.endpoint)
        written = json.loads(kept.read_text(encoding="utf-8"))
        entry = written["auths"][store.address]
        secret = entry["auth"]
        entry["auth"] = secret[:8] + "…"
        steps["docker push, logged in"] = typed(push)
        typed(f"docker logout {store.address}")
        steps["docker push, after docker logout"] = typed(push)
    readable = base64.b64decode(secret).decode() == f"{user}:{password}"
    return Login(on.facts, challenge, steps, json.dumps(written, indent=1, ensure_ascii=False), user, readable)
