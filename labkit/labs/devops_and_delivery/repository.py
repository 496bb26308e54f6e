"""Continuous integration: a real git repository that two people share, built and tested after each merge."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ...course.context import Context
from ...course.result import Result
from ...errors import LabError, NotPossibleHere
from ...files import Temporary
from . import pipeline

#: Nobody's settings, and one time for all: the same commits have the same names on every machine.
_ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
_TIME = "2026-01-01T12:00:00Z"

_TEST = "    def test_twenty_cost_eighteen(self):\n        self.assertEqual(total(20), 72)\n\n"


class Integration(Result):
    """Merges into one branch, in order: whose, what for, and what the pipeline made of the branch then.

    ``log`` is the branch's history, as git draws it.
    """

    merges: list[tuple[str, str, pipeline.Release]]
    log: str

    def facts(self) -> str:
        return "\n".join(
            f"{who} merges: {what:<24} build {run.stage('build').state} · test {run.stage('test').state}"
            for who, what, run in self.merges
        )


class Repository:
    """A bare repository and a clone for each person, in a folder; all that git is asked goes through its command line.

    Raises:
        NotPossibleHere: no git on this machine.
    """

    def __init__(self, folder: Path):
        if shutil.which("git") is None:
            raise NotPossibleHere("There is no git on the notebook's machine.", next_step="Install git; run it again.")
        self._folder = folder
        self._git(folder, "Nobody", "init", "--quiet", "--bare", "shared.git")
        self._git(folder / "shared.git", "Nobody", "symbolic-ref", "HEAD", "refs/heads/main")

    def _git(self, where: Path, who: str, *words: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        person = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in
                  (("NAME", who), ("EMAIL", f"{who.lower()}@tea.example"), ("DATE", _TIME))}  # fmt: skip
        done = subprocess.run(
            ["git", *words], cwd=where, env={**kept, **_ALONE, **person}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"git {words[0]} ended with status {done.returncode}.", cause=done.stdout.strip()[-300:])
        return done.stdout

    def commit(self, who: str, files: Mapping[str, str], message: str) -> None:
        """A commit in this person's clone, which is made from what everybody has where there is none yet."""
        clone = self._folder / who
        if not clone.exists():
            self._git(self._folder, who, "clone", "--quiet", "shared.git", who)
            self._git(clone, who, "symbolic-ref", "HEAD", "refs/heads/main")  # of an empty repository, too
        for name, text in files.items():
            (clone / name).write_text(text)
        self._git(clone, who, "add", "--all")
        self._git(clone, who, "commit", "--quiet", "--message", message)

    def merge(self, who: str, message: str) -> dict[str, str]:
        """Merge this person's commits with everybody's, and publish them; returns the files that all have now."""
        clone = self._folder / who
        if self._git(clone, who, "ls-remote", "--heads", "origin", "main"):
            self._git(clone, who, "fetch", "--quiet", "origin", "main")
            self._git(clone, who, "merge", "--quiet", "--message", message, "origin/main")
        self._git(clone, who, "push", "--quiet", "origin", "HEAD:main")
        return {path.name: path.read_text() for path in sorted(clone.iterdir()) if path.is_file()}

    def log(self) -> str:
        """The shared branch's history."""
        words = ("log", "--graph", "--pretty=format:%h %an: %s", "main")
        lines = self._git(self._folder / "shared.git", "Nobody", *words).splitlines()
        return "\n".join(line.rstrip() for line in lines)


def integrate(on: Context) -> Integration:
    """Let two people change one service at the same time, merge both, and build and test what they share each time.

    Ann counts the version up, Bob adds a test; then Ann forgets that every tenth cup is free. What is built is
    what the shared branch holds after each merge: the pipeline's first three stages.

    Raises:
        NotPossibleHere: no git on the notebook's machine.
    """
    first, second, broken = pipeline.tea(), pipeline.tea("2"), pipeline.broken("2")
    tests = first["test_app.py"].replace("    def test_nothing", _TEST + "    def test_nothing")
    merges = []
    with Temporary() as folder:
        shared = Repository(Path(folder))
        shared.commit("Ann", first, "the tea service")
        shared.merge("Ann", "the first")
        shared.commit("Bob", {"test_app.py": tests}, "a test for twenty cups")  # both begin with the same commit
        shared.commit("Ann", {"app.py": second["app.py"]}, "version 2")
        for who, what in (("Ann", "version 2"), ("Bob", "a test for twenty cups"), ("Ann", "no free cup any more")):
            if what.startswith("no"):
                shared.commit(who, {"app.py": broken["app.py"]}, what)
            files = shared.merge(who, f"merge {what}")
            on.say(f"{who} has merged: {what}")
            merges.append((who, what, pipeline.checked(on, files)))
        return Integration(on.facts, merges, shared.log())
