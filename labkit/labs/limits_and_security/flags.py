"""What root in a container may not do, by one program that tries everything, and what each flag changes.

The program is ``data/apps/limits/attempts.py``. It asks with values that do nothing, so a success harms nobody.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import images
from ...course.context import Context
from ...course.result import Result
from ...errors import BadInput, LabError
from ...paths import data_file
from ...units import yes_no

#: What the program tries, in its order and in words.
ATTEMPTS = {
    "chown": "give a file away",
    "override": "open what its mode forbids",
    "setuid": "become another user",
    "raw": "open a raw socket",
    "mknod": "make a device file",
    "chroot": "change its root folder",
    "write": "write to its file system",
    "setuid_program": "get root by a setuid program",
    "hostname": "set the host name",
    "interface": "set up its network",
    "nice": "raise its own priority",
    "keyring": "ask for its key ring",
    "policy": "ask where its memory lies",
    "setting": "change a kernel setting",
    "disk": "open the machine's disk",
    "module": "unload a kernel module",
    "restart": "restart the machine",
}

#: Capabilities that are tried one by one: of Docker's fourteen those that the program feels, and three that it lacks.
ONE_BY_ONE = (
    "CHOWN", "DAC_OVERRIDE", "SETUID", "NET_RAW", "MKNOD", "SYS_CHROOT", "NET_ADMIN", "SYS_NICE", "SYS_ADMIN",
)  # fmt: skip


@dataclass(frozen=True)
class Flag:
    """A flag as one types it, what docker-py calls it, and its name above a column."""

    text: str
    options: dict[str, Any]
    head: str


FLAGS = (
    Flag("", {}, "no flag"),
    Flag("--cap-drop ALL", {"cap_drop": ["ALL"]}, "--cap-drop\nALL"),
    Flag("--user 1000", {"user": "1000"}, "--user\n1000"),
    Flag("--read-only", {"read_only": True}, "--read-\nonly"),
    Flag("--security-opt no-new-privileges", {"security_opt": ["no-new-privileges"]}, "no-new-\nprivileges"),
    Flag("--security-opt seccomp=unconfined", {"security_opt": ["seccomp=unconfined"]}, "seccomp=\nunconfined"),
)
#: Gives a container the machine: for an engine of the lab's own.
PRIVILEGED = Flag("--privileged", {"privileged": True}, "--priv-\nileged")


def attempts(on: Context, **options: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Run the program that tries everything, with these options of docker-py's.

    Returns:
        How each attempt ended, ``"yes"`` or the reason, such as ``"EPERM"``; and what the kernel says of the program.

    Raises:
        LabError: the program did not get to its end.
    """
    program = data_file("apps", "limits", "attempts.py").read_text()
    code, text = on.ran(images.PYTHON, ["python3", "-I", "-c", program], **options)
    standing, *lines = (json.loads(line) for line in text.splitlines() if line[:1] in "[{")
    if code or [key for key, _ in lines] != list(ATTEMPTS):
        raise LabError("The program that tries everything did not get to its end.", cause=text.strip()[-300:])
    return dict(lines), standing


def _words(keys: Sequence[str]) -> str:
    return " · ".join(ATTEMPTS[key] for key in keys) or "nothing"


class Tried(Result):
    """How each attempt ended, by flag, and what the kernel says of the program (``/proc/self/status``)."""

    flags: list[Flag]
    ended: list[dict[str, str]]
    standing: list[dict[str, str]]

    def status(self) -> str:
        """The kernel's words on each process, as a table: a filter's mode, the mark, the number of capabilities."""
        lines = [f"{'':<34} {'Seccomp':<9}{'NoNewPrivs':<12}CapEff"]
        for flag, row in zip(self.flags, self.standing):
            bits = int(row["CapEff"], 16).bit_count()
            lines.append(
                f"{flag.text or '(no flag)':<34} {row['Seccomp']:<9}{row['NoNewPrivs']:<12}{bits} capabilities"
            )
        return "\n".join(lines)

    def apparmor(self) -> str:
        """The AppArmor profile of a container without a flag, or that there is none."""
        found = self.standing[0]["profile"]
        return found if found.endswith(")") else "none: this engine, or its kernel, does without"

    def may(self, place: int = 0) -> list[str]:
        """The attempts that succeeded with the flag at this place."""
        return [key for key, how in self.ended[place].items() if how == "yes"]

    def facts(self) -> str:
        plain = self.may()
        lines = [f"without a flag, root may: {_words(plain)}"]
        for place, flag in enumerate(self.flags[1:], 1):
            may = self.may(place)
            taken = [key for key in plain if key not in may]
            given = [key for key in may if key not in plain]
            lines.append(flag.text)
            lines += [f"  takes away: {_words(taken)}"] if taken or not given else []
            lines += [f"  gives: {_words(given)}"] if given else []
        return "\n".join(lines)


def with_flags(on: Context, chosen: Sequence[Flag]) -> Tried:
    """Run the program once with each of these flags."""
    found = []
    for number, flag in enumerate(chosen):
        on.say(flag.text or "without a flag", number / len(chosen))
        found.append(attempts(on, **flag.options))
    ended, standing = zip(*found)
    return Tried(on.facts, list(chosen), list(ended), list(standing))


def flags(on: Context) -> Tried:
    """Run the program that tries everything once with each flag."""
    return with_flags(on, FLAGS)


class OneByOne(Tried):
    """What root may do without any capability, which comes first, and with one of them alone."""

    def facts(self) -> str:
        wide = max(len(flag.text) for flag in self.flags)
        lines = [f"{self.flags[0].text:<{wide}}  {_words(self.may())}"]
        for place, flag in enumerate(self.flags[1:], 1):
            lines.append(f"{flag.text:<{wide}}  + {_words([key for key in self.may(place) if key not in self.may()])}")
        return "\n".join(lines)


def capabilities(on: Context, names: Sequence[str] = ONE_BY_ONE) -> OneByOne:
    """Drop all capabilities of root and give back a single one, one after the other.

    Raises:
        BadInput: a capability that is not in :data:`ONE_BY_ONE`.
    """
    if unknown := [name for name in names if name not in ONE_BY_ONE]:
        raise BadInput(f"{unknown[0]} is not tried here.", next_step=f"Choose from {', '.join(ONE_BY_ONE)}.")
    none = {"cap_drop": ["ALL"]}
    chosen = [Flag("--cap-drop ALL", none, "none")]
    for name in names:
        head = name.replace("_", "_\n").replace("OVERRIDE", "OVER-\nRIDE")
        chosen.append(Flag(f"--cap-drop ALL --cap-add {name}", {**none, "cap_add": [name]}, head))
    tried = with_flags(on, chosen)
    return OneByOne(on.facts, tried.flags, tried.ended, tried.standing)


def job() -> list[str]:
    """The command of the lab's job, which needs a few rights of root's and no more."""
    return ["sh", "-c", "touch /given && chown 1000 /given && chroot / true"]


def profile(deny: Sequence[str] = ("mkdir", "mkdirat")) -> str:
    """A seccomp profile as JSON: these system calls are refused with EPERM, all others are allowed."""
    rule = {"names": list(deny), "action": "SCMP_ACT_ERRNO"}
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, indent=1)


class Filtered(Result):
    """A container under a profile of its own: what ``mkdir`` said, and whether a file could be made all the same.

    ``text`` is its script and all that this printed.
    """

    mode: str
    said: str
    wrote: bool
    root: bool
    text: str

    def facts(self) -> str:
        return (
            f"Seccomp: {self.mode} in /proc · user 0: {yes_no(self.root)} · mkdir says: {self.said or 'nothing'}\n"
            f"and yet a file can be made in the same place: {yes_no(self.wrote)}"
        )


def filtered(on: Context, deny: Sequence[str] = ("mkdir", "mkdirat")) -> Filtered:
    """Run root under a :func:`profile` that refuses these system calls, and let it make a folder and a file."""
    script = "sed -n 's/^Seccomp:\\s*//p' /proc/1/status; id -u; mkdir /new 2>&1; touch /file && echo wrote"
    options: dict[str, Any] = {"security_opt": [f"seccomp={profile(deny)}"]}
    text = on.ran(images.BUSYBOX, ["sh", "-c", script], **options).text
    mode, user, *rest = text.splitlines()
    said = [line.rpartition(": ")[2] for line in rest if line.startswith("mkdir:")]
    return Filtered(on.facts, mode, said[0] if said else "", "wrote" in rest, user == "0", f"$ {script}\n{text}")
