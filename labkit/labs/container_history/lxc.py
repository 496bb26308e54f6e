"""LXC's system container against Docker's application container, both really run.

LXC is set up on an engine that the lab owns, by hand and as root on its machine: a bridge, a root
filesystem, a configuration, services. Docker runs one program from an image. Then both are looked at.
"""

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docker.types import IPAMConfig, IPAMPool

from ...course.context import Context
from ...course.result import Result
from ...engine import OwnedEngine, require_owned
from ...errors import BadInput, LabError
from ...units import yes_no

NAME, BRIDGE = "labkit-system", "labkit-lxc0"
_ROOTFS = f"/var/lib/lxc/{NAME}/rootfs"

#: What one types with LXC for a web server at an address of a bridge of its own, and why. ``lxc-net`` and larger
#: templates take some of it off.
STEPS: tuple[tuple[str, str], ...] = (
    (f"ip link add {BRIDGE} type bridge", "a network: first a bridge,"),
    (f"ip addr add 10.0.3.1/24 dev {BRIDGE}", "its address,"),
    (f"ip link set {BRIDGE} up", "switched on"),
    (f"lxc-create -n {NAME} -t busybox", "a root filesystem from a template"),
    (f"echo lxc.net.0.type = veth >> /var/lib/lxc/{NAME}/config", "a virtual cable"),
    (f"echo lxc.net.0.flags = up >> /var/lib/lxc/{NAME}/config", "that is switched on,"),
    (f"echo lxc.net.0.link = {BRIDGE} >> /var/lib/lxc/{NAME}/config", "connected to that bridge,"),
    (f"echo lxc.net.0.ipv4.address = 10.0.3.10/24 >> /var/lib/lxc/{NAME}/config", "and an address"),
    (f"sed -i /udhcpc/d {_ROOTFS}/etc/init.d/rcS", "which is fixed: no DHCP client"),
    (f"echo ::respawn:/bin/httpd -f -p 80 -h /etc >> {_ROOTFS}/etc/inittab", "a service for init: web"),
    (f"lxc-start -n {NAME} -l INFO -o /tmp/{NAME}.log", "start it: init comes up, then its services"),
)

_SUBNET, _ADDRESS, _WEB = "10.0.4.0/24", "10.0.4.10", "httpd -f -p 80 -h /etc"

#: The same work with Docker.
DOCKER_STEPS: tuple[tuple[str, str], ...] = (
    ("docker load -i busybox.tar", "a root filesystem: an image"),
    (f"docker network create --subnet {_SUBNET} web-net", "a network: a bridge with its address"),
    (f"docker run -d --network web-net --ip {_ADDRESS} labkit/busybox:1 {_WEB}", "cable, address, and the program"),
)

_STOP = (
    f"lxc-stop -k -n {NAME}",
    f"lxc-destroy -n {NAME}",
    f"ip link del {BRIDGE}",
    f"rm -rf /var/lib/lxc/{NAME} /tmp/{NAME}.log",
)


def lxc_steps() -> str:
    """The commands for LXC, then those for the same work with Docker, each with its reason."""
    return "\n".join(f"# {why}\n{command}" for command, why in (*STEPS, *DOCKER_STEPS))


@dataclass(frozen=True)
class InnerProcess:
    """One process as its container numbers it."""

    pid: int
    parent: int
    command: str


class Comparison(Result):
    """Both containers as they ran: process trees, set-up, network, answers and how each stops.

    ``inside`` is what LXC's is made of: the namespaces that are its own, its control group, and ``memory.high``
    of that group after it was set, in bytes.
    """

    lxc: list[InnerProcess]
    docker: list[InnerProcess]
    lxc_answers: bool
    docker_answers: bool
    lxc_stop: str
    docker_stop: str
    inside: tuple[tuple[str, ...], str, str] = ((), "", "")

    def services(self) -> list[str]:
        """What init of the system container started, without terminals."""
        names = {row.command.split()[0].rsplit("/", 1)[-1] for row in self.lxc if row.parent == 1}
        return sorted(names - {"getty", "sh", "init"})

    def rows(self) -> list[tuple[str, str, str]]:
        """The comparison as a table: what, LXC, Docker."""
        return [
            ("process 1", self.lxc[0].command, self.docker[0].command),
            ("processes", str(len(self.lxc)), str(len(self.docker))),
            ("services under init", ", ".join(self.services()), "none: one application"),
            ("commands to set it up", str(len(STEPS)), str(len(DOCKER_STEPS))),
            ("where its files come from", "a template, copied into a folder", "an image with layers and a digest"),
            ("network", "bridge, cable and address by hand", "made by the engine"),
            ("how it stops", self.lxc_stop, self.docker_stop),
        ]

    def facts(self) -> str:
        spaces, group, high = self.inside
        return (
            f"LXC: process 1 is init: {yes_no('init' in self.lxc[0].command)} · under it: {', '.join(self.services())}"
            f" · web answers: {yes_no(self.lxc_answers)} · commands: {len(STEPS)}\n"
            f"  namespaces of its own: {', '.join(spaces) or 'none'} · a control group of its own: {yes_no(NAME in group)}\n"
            f"  memory.high, for which docker run has no flag: {high or 'not set'}\n"
            f"Docker: process 1 is the application: {yes_no('httpd' in self.docker[0].command)} · processes: {len(self.docker)}"
            f" · web answers: {yes_no(self.docker_answers)} · commands: {len(DOCKER_STEPS)}"
        )


def owned_engine(other: Any) -> tuple[Context, OwnedEngine]:
    """Context and engine of a lab on an owned engine.

    Raises:
        BadInput: it is no lab.
        NotPossibleHere: the engine isn't one that the lab owns.
    """
    context: object = getattr(other, "context", other)  # a lab, or its context
    if not isinstance(context, Context):
        raise BadInput("This needs root on an engine that the lab owns.", next_step="Pass lab.own().")
    return context, require_owned(context.session.engine)


@contextlib.contextmanager
def system_container(engine: OwnedEngine) -> Iterator[None]:
    """A running LXC system container for the length of a ``with`` block.

    Raises:
        LabError: a step failed; where LXC wrote a log, its reason is in the sentence.
    """
    clean_up(engine)
    try:
        for command, why in STEPS:
            try:
                engine.shell(command, timeout=90)
            except LabError as fault:
                log = engine.shell(
                    f"grep -E 'ERROR|WARN' /tmp/{NAME}.log 2>/dev/null | cut -c1-300 | head -n 3", check=False
                )
                raise LabError(
                    f"LXC stopped at this step: {command} ({why.rstrip(',')}).",
                    cause=f"Its log says: {log.strip()}" if log.strip() else fault.cause,
                    next_step="Run the cell again; the remains of this try are gone.",
                ) from fault
        engine.shell(f"lxc-wait -n {NAME} -s RUNNING -t 30")
        yield
    finally:
        clean_up(engine)


def clean_up(engine: OwnedEngine) -> None:
    """Remove the system container and its bridge; none there is fine."""
    engine.shell("; ".join(f"{command} 2>/dev/null" for command in _STOP) + "; true", check=False)


def _tree(text: str) -> list[InnerProcess]:
    rows = re.findall(r"^\s*(\d+)\s+(\d+)\s+(.+?)\s*$", text, re.M)
    return [InnerProcess(int(pid), int(parent), command) for pid, parent, command in rows]


def _answers(engine: OwnedEngine, address: str) -> bool:
    """Whether a web server there serves its list of users; it gets some seconds to come up."""
    ask = f"exec 3<>/dev/tcp/{address}/80 && printf 'GET /passwd HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q root <&3"
    look = f"timeout 3 bash -c {shlex.quote(ask)} 2>/dev/null"
    text = engine.shell(
        f"for i in $(seq 1 30); do {look} && echo yes && break; sleep 0.2; done", check=False, timeout=150
    )
    return text.strip() == "yes"


# The namespaces of LXC's process 1 that are not the machine's, its control group, and one of the many settings that
# LXC hands on as they are: memory.high slows down instead of killing (Linux, admin-guide/cgroup-v2.rst).
_INSIDE = f"""\
pid=$(lxc-info -n {NAME} -p -H)
for kind in ipc mnt net pid uts; do
  [ "$(readlink /proc/$pid/ns/$kind)" = "$(readlink /proc/1/ns/$kind)" ] || printf '%s ' $kind
done
echo; grep -m1 {NAME} /proc/$pid/cgroup; echo
lxc-cgroup -n {NAME} memory.high 64M && lxc-cgroup -n {NAME} memory.high
"""

# ps without a header; the reading itself is left out.
_PS = "ps -o pid,ppid,args | grep -vE 'PID|ps -o|grep'"


def lxc_against_docker(on: Context, other: Context) -> Comparison:
    """Run a system container with LXC, on an engine that the lab owns, and an application container with Docker.

    Both do the same work: serve the same files with the same busybox, at a fixed address of a bridge of their own.
    LXC's has an init and the system log besides, which its template brings.

    Raises:
        BadInput: the other engine isn't owned.
        LabError: LXC or the engine refused; the sentence says why.
    """
    context, engine = owned_engine(other)
    on.say(f"LXC: {len(STEPS)} commands, and its services come up")
    with system_container(engine):
        lxc_answers = _answers(engine, "10.0.3.10")
        lxc = _tree(engine.shell(f"lxc-attach -n {NAME} -- /bin/sh -c {shlex.quote(_PS)}", timeout=60))
        spaces, group, *high = engine.shell(_INSIDE, check=False, timeout=60).split("\n")
        inside = tuple(spaces.split()), group, "".join(high).strip()
        on.say("LXC: its init shuts down")
        engine.shell(f"lxc-stop -n {NAME} --nokill -t 20", check=False, timeout=60)
        stopped = engine.shell(f"lxc-info -n {NAME} -s", check=False)
    on.say(f"Docker: {len(DOCKER_STEPS)} commands")
    name = context.session.name("web-net")
    with contextlib.ExitStack() as stack:
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=_SUBNET)])
        stack.callback(context.drop_network, name)
        context.network(name, ipam=pool)
        place = {name: context.docker.api.create_endpoint_config(ipv4_address=_ADDRESS)}
        web = stack.enter_context(
            context.container(context.image(), _WEB.split(), network=name, networking_config=place)
        )
        docker_answers = _answers(engine, _ADDRESS)
        rows = web.top(ps_args="-eo pid,ppid,args")["Processes"]
        docker = [InnerProcess(number, 0 if number == 1 else 1, row[2]) for number, row in enumerate(rows, 1)]
        web.kill()
    if not lxc:
        raise LabError("The system container showed no processes.", next_step="Run the cell again.")
    return Comparison(
        on.facts, lxc, docker, lxc_answers, docker_answers,
        "init shuts its services down" if "STOPPED" in stopped else "killed", "the application gets a signal", inside,
    )  # fmt: skip
