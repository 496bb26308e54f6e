"""Figures of labs 02 and 05 from made results: they draw, and their words hold no measured number."""

from __future__ import annotations

import dataclasses
import re

import pytest

from labkit.course import figures_benchmark, style
from labkit.course.benchmark import Benchmark, Series
from labkit.course.context import Ran
from labkit.course.figures_benchmark import value_text
from labkit.course.result import Evidence
from labkit.engine import EngineFacts
from labkit.engine.embedded import qemu
from labkit.errors import BadInput, LabError
from labkit.labs.container_history.figures import layers, side_by_side
from labkit.labs.container_history.history import Escape, GroupRun, Jail, NamespaceStep, NamespaceSteps, group_script
from labkit.labs.container_history.lxc import DOCKER_STEPS, NAME, STEPS, Comparison, InnerProcess, lxc_steps
from labkit.labs.container_history.lxc_api import ByApi
from labkit.labs.container_history.own_container import PARTS, ROWS, Built, runtime
from labkit.labs.container_history.timeline import EVENTS, Timeline
from labkit.labs.devops_and_delivery import figures as delivered
from labkit.labs.devops_and_delivery.pipeline import STAGES, Release, StageRun
from labkit.labs.isolation_models import figures
from labkit.labs.isolation_models.figures import others_chart
from labkit.labs.isolation_models.gvisor import Sandbox
from labkit.labs.isolation_models.visibility import NAMESPACES, Matrix, NamespaceView
from labkit.labs.isolation_models.visibility import ROWS as SEEN
from labkit.labs.what_docker_solves import figures as solved
from labkit.labs.what_docker_solves.machines import Machines
from labkit.paths import COURSE, data_file

FACTS = EngineFacts(
    kind="host", endpoint="unix:///x", version="1.2.3", api_version="1.44", minimum_api_version="1.24",
    operating_system="Test", kernel="6.0.0-test", architecture="x86_64", cpus=2, memory=4 * 1024**3, cgroup_version=2,
    cgroup_driver="cgroupfs", image_store="overlay2", rootless=False, compatible_api="", owned=False, emulated=False,
)  # fmt: skip


def column(boot: str, pid: str, **more: str) -> dict[str, str]:
    base = {key: "1" for key in SEEN} | {f"ns {name}": "1" for name in NAMESPACES}
    return {**base, "boot": boot, "kernel": boot, "hostname": boot + pid, "memory": "2048", "ns pid": pid, **more}


MATRIX = Matrix(
    FACTS, {"plain process": column("a", "1"), "container": column("a", "2"), "virtual machine": column("b", "1")}, True
)
BENCH = Benchmark(
    FACTS, "memory", "Memory per instance", "MiB", "how", [
        Series("plain process", "bare metal", [1.0, 1.1], 2), Series("docker run", "container", [4.0, 5.0], 3),
        Series("virtual machine", "virtual machine", [180.0], 1, True),
    ], 10.0, 3.0,
)  # fmt: skip
SANDBOX = Sandbox(
    FACTS, "gvisor", "Time to start", "s", "how", [
        Series("runc alone", "runc", [0.1, 0.2], 2), Series("gVisor alone", "gVisor", [0.3, 0.5], 2, True),
    ], 10.0, 3.0, calls=[Series("runc alone", "runc", [0.7], 1), Series("gVisor alone", "gVisor", [38.0], 1, True)],
    kernels={"machine": "6.1", "runc alone": "6.1", "gVisor alone": "4.4.0"},
)  # fmt: skip
JAIL = Jail(
    FACTS,
    {"outside": "yes", "neighbour": "yes", "hostname": "m", "net": "1", "group": "0::/a"},
    {"outside": "no", "neighbour": "yes", "hostname": "m", "net": "1", "group": "0::/a"},
)
LXC = Comparison(
    FACTS,
    [InnerProcess(1, 0, "init"), InnerProcess(4, 1, "/bin/syslogd"), InnerProcess(8, 1, "/bin/httpd -f"), InnerProcess(9, 1, "/bin/getty tty1")],
    [InnerProcess(1, 0, "httpd -f")], True, True, "init shuts its services down", "the application gets a signal",
)  # fmt: skip
BUILT = Built(FACTS, ("root",), {row: "no" if row == "files" else "yes" for row in ROWS})
SPACES = NamespaceView(
    FACTS,
    {"plain process": dict.fromkeys(NAMESPACES, "1"), "container": {**dict.fromkeys(NAMESPACES, "2"), "pid": "1"}},
    ("pid",),
    ("--pid=host",),
)
STEP = NamespaceSteps(FACTS, [NamespaceStep("uts", "unshare --uts", "changed", "the-machine", ["uts"])])
GROUP = GroupRun(FACTS, 2**24, True, True, 7, 2)


@pytest.mark.parametrize(
    "drawn",
    [
        MATRIX.plot, SPACES.plot, BENCH.plot, lambda: BENCH.plot("ecdf"), SANDBOX.plot, JAIL.plot, STEP.plot, GROUP.plot, LXC.plot,
        lambda: LXC.plot("table"), BUILT.plot, Timeline(FACTS, EVENTS).plot, layers, others_chart,
    ],
)  # fmt: skip
def test_draws_a_png_with_words(drawn):
    picture = drawn()
    assert picture.png.startswith(b"\x89PNG") and 1000 <= int.from_bytes(picture.png[16:20], "big") <= 1900
    assert len(picture.alt) > 40


def test_words_of_a_measured_figure_hold_no_measured_number():
    for drawn in (BENCH.plot(), BENCH.plot("ecdf"), SANDBOX.plot()):
        assert not re.search(r"\d", drawn.alt)


def texts(monkeypatch, draw) -> str:
    """All that stands on a figure."""
    found, finish = [], style.picture

    def keep(figure, alt, *, caption=""):
        found.extend([caption, *(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))])
        return finish(figure, alt, caption=caption)

    for module in (figures, figures_benchmark, style):
        monkeypatch.setattr(module, "picture", keep)
    draw()
    return "\n".join(found)


@pytest.mark.parametrize("draw", [BENCH.plot, lambda: BENCH.plot("ecdf"), SANDBOX.plot, MATRIX.plot])
def test_emulated_numbers_say_so_on_the_figure(monkeypatch, draw):
    assert "emulated" in texts(monkeypatch, draw).lower()


@pytest.mark.parametrize("draw", [BENCH.plot, lambda: BENCH.plot("ecdf"), SANDBOX.plot])
def test_a_measured_figure_states_method_rounds_and_machine(monkeypatch, draw):
    text = texts(monkeypatch, draw).replace("\N{NO-BREAK SPACE}", " ")
    assert "Method: how" in text and "n = 2" in text and "6.0.0-test" in text


def test_published_figures_stand_on_the_figure_with_their_source(monkeypatch):
    text = texts(monkeypatch, BENCH.plot)
    for name in ("Docker", "Tinyx VM", "Debian VM"):
        assert f"{name}, one of 1000 ★ LightVM, SOSP 2017" in text
    assert "published by others" in text


def test_a_machine_without_mitigations_says_so_on_the_figure(monkeypatch):
    found = []
    monkeypatch.setattr(solved, "picture", lambda figure, alt, caption: found.append(caption))
    run = Machines(FACTS, [0.3], [2**20], [3.0], [2**28], True)
    run.plot(), run.plot("memory")
    assert len(found) == 2 and all("mitigations=off" in caption and "n = 1 and 1" in caption for caption in found)
    assert "mitigations=off" in qemu.KERNEL_ARGUMENTS, "then the caption should go"


def test_gvisor_facts():
    assert SANDBOX.facts() == "the machine's kernel answers inside: with runc: yes · with gVisor: no"


def test_side_by_side_names_the_parts():
    assert "root" in side_by_side(BUILT, BUILT).alt


def test_a_matrix_tells_a_shared_kernel_from_one_of_its_own():
    container, machine = MATRIX.facts().splitlines()
    assert container == (
        "container: on the machine's kernel: yes · sees its processes: no · a host name of its own: yes"
    )
    assert "on the machine's kernel: no" in machine


def test_a_container_that_shares_pid_sees_the_machines_processes():
    assert SPACES.own() == [name for name in NAMESPACES if name != "pid"]
    assert SPACES.facts() == "docker run --pid=host: own mnt, uts, ipc, net · shared with the machine pid"


def test_a_matrix_without_a_machine_says_why():
    short = Matrix(
        FACTS, {"plain process": column("a", "1"), "container": column("a", "2")}, False, "no virtual machine here: why"
    )
    assert short.facts().endswith("no virtual machine here: why") and short.plot().png


def test_jail_and_walk_facts():
    assert JAIL.facts().startswith("the machine's files hidden: yes\nprocesses hidden: no")
    assert Escape(FACTS, "chroot", ["bin", "outside"]).escaped
    assert not Escape(FACTS, "pivot_root", ["bin", "inside"]).escaped


def test_services_are_what_init_started():
    assert LXC.services() == ["httpd", "syslogd"]
    assert "process 1 is init: yes" in LXC.facts() and "process 1 is the application: yes" in LXC.facts()


@pytest.mark.parametrize("script", sorted(COURSE.glob("labkit/labs/*/*.sh")), ids=lambda path: path.stem)
def test_a_labs_shell_is_shell(script):
    import subprocess

    assert subprocess.run(["sh", "-n", script], text=True, capture_output=True).stderr == ""


def test_the_runtime_is_about_thirty_lines_and_knows_every_part():
    lines = [line for line in runtime().splitlines() if line.strip() and not line.startswith("#")]
    assert 25 <= len(lines) <= 35
    assert [part for part in PARTS if f"has {part};" not in runtime()] == []


def test_every_lxc_step_has_a_reason():
    typed = (*STEPS, *DOCKER_STEPS)
    assert len(lxc_steps().splitlines()) == 2 * len(typed) and all(why for _, why in typed)
    # The same work: each side makes a bridge, gives an address on it, and starts the same web server.
    for steps in (STEPS, DOCKER_STEPS):
        words = " ".join(command for command, _ in steps)
        assert "httpd -f -p 80 -h /etc" in words and re.search(r"10\.0\.[34]\.10\b", words) and "crond" not in words


def test_there_are_two_cgroup_versions():
    with pytest.raises(BadInput):
        group_script(3)


def test_values_as_a_person_reads_them():
    assert value_text(0.0012, "s") == "1.2 ms" and value_text(4101, "instances") == "4,101"
    assert value_text(1.338, "MiB") == "1.34 MiB"


def test_an_unknown_figure_is_named():
    with pytest.raises(LabError, match="no figure"):
        BENCH.plot("pie")


def test_a_long_text_in_a_table_stays_within_its_cell(monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "picture", lambda figure, *_, **__: drawn.append(figure))
    rows = {"kernel": [("6.1", "faint", ""), ("7.2.12+deb14-cloud-amd64 of another machine", "orange", "xx")]}
    style.table("Title", ["here", "there"], rows, "alt", "", first=0.4)
    axes = drawn[0].axes[0]
    drawn[0].draw_without_rendering()
    widths = {text.get_text(): text.get_window_extent().width for text in axes.texts}
    assert widths[rows["kernel"][1][0]] < 0.3 * axes.get_window_extent().width


def test_a_persons_wait_is_part_of_the_lead_time(monkeypatch):
    found = []
    monkeypatch.setattr(delivered, "picture", lambda figure, alt, caption: found.append((figure, caption)))
    stages = [StageRun(name, "passed", 1.0 * at, 1.0) for at, name in enumerate(STAGES[:-2])]
    stages += [StageRun("gate", "passed", 6.0, 60.0, "a person approved"), StageRun("production", "passed", 66.0, 1.0)]
    Release(FACTS, "delivery", "sha256:1", stages).plot()
    [(figure, caption)] = found
    assert "from commit to production 67.0 s, 60.0 s of it a person's wait" in caption
    axes = figure.axes[0]
    assert axes.get_xlim()[1] < 10, "the machine's stages can still be seen"
    assert axes.xaxis.get_major_formatter()(axes.get_xlim()[1], 0).startswith("6"), "the axis tells the true time"


def test_no_words_lie_on_a_stages_name(monkeypatch):
    """A stage that begins with the commit and takes nearly all of the time has no room on its left."""
    drawn = []
    monkeypatch.setattr(delivered, "picture", lambda figure, alt, caption: drawn.append(figure))
    stages = [StageRun("source", "passed"), StageRun("build", "passed", 0.0, 2.0), StageRun("test", "failed", 2.0, 0.6)]
    Release(FACTS, "deployment", "", [*stages, *(StageRun(name, "skipped") for name in STAGES[3:])]).plot()
    axes = drawn[0].axes[0]
    drawn[0].draw_without_rendering()
    shown = [text.get_window_extent() for text in axes.texts if text.get_text()]
    room = axes.get_window_extent()
    assert len(shown) == len(STAGES) and all(room.x0 <= words.x0 and words.x1 <= room.x1 for words in shown)


def test_lxc_says_what_its_container_is_made_of():
    bare, made = LXC.facts(), dataclasses.replace(LXC, inside=(("ipc", "mnt"), f"0::/lxc.payload.{NAME}", "67108864"))
    assert "namespaces of its own: none · a control group of its own: no" in bare and "not set" in bare
    assert "namespaces of its own: ipc, mnt · a control group of its own: yes" in made.facts()
    assert "memory.high, for which docker run has no flag: 67108864" in made.facts()


def test_the_c_library_lists_what_the_binding_defined():
    found = ByApi(FACTS, "6", "6", "/c", "lxc.uts.name = named-by-python\n", ["by-python"])
    assert "by-python" in found.facts().splitlines()[1]
    assert dataclasses.replace(found, names=[]).facts().endswith("none")


def test_evidence_is_raw_in_html_and_without_a_measured_value_in_text():
    found = MATRIX.evidence("columns")
    assert repr(found) == "Evidence: columns"
    shown = found._repr_mimebundle_()
    assert shown["text/plain"] == repr(found) and "plain process" in shown["text/html"]
    assert (
        "engine" not in BENCH.evidence().values
        and "&lt;b&gt;" in Evidence({"a": "<b>"})._repr_mimebundle_()["text/html"]
    )
    assert set(SPACES.evidence().values) == {"columns", "shared", "flags"}
    with pytest.raises(LabError, match="no 'nosuch'"):
        MATRIX.evidence("nosuch")


def test_evidence_is_read_as_words():
    """Not as JSON: a part a line, short ones side by side, what has lines of its own below its name."""
    found = {"codes": [0, 137], "ran": Ran(1, "no"), "log": {"web": "a\nb"}, "none": [], "share": 0.123456789}
    text = Evidence({"all": found})._repr_mimebundle_()["text/html"]
    for line in ("codes: 0, 137", "ran: code: 1 · text: no", "log:\n  web:\n    a\n    b", "none: –", "0.123457"):
        assert line in text


def test_evidence_may_be_a_property():
    """What is derived from a field and is raw itself; a method is none."""
    done = Release(FACTS, "delivery", "", [StageRun("production", "passed")])
    assert repr(done.evidence("released")) == "Evidence: released"
    with pytest.raises(LabError, match="no 'stage'"):
        done.evidence("stage")


def test_evidence_of_two_runs_compares_as_one():
    """nbval compares HTML, too; the table holds what differs (digests, ids, times)."""
    [rule, put] = re.findall(
        r"^(?:regex|replace): (.*labkit-evidence.*|EVIDENCE)$", data_file("sanitize.cfg").read_text(), re.M
    )
    one, other = (f"<p>same</p>{Evidence({'id': value})._repr_mimebundle_()['text/html']}" for value in ("a", "b\nc"))
    assert one != other and re.sub(rule, put, one) == re.sub(rule, put, other) == "<p>same</p>EVIDENCE"
