"""The small virtual machine: commands, what a killed notebook leaves, accelerators and machines that hang."""

from __future__ import annotations

import os
import signal
import time

import pytest

from labkit.engine.embedded import accel, host, small
from labkit.engine.embedded.small import SmallVM
from labkit.errors import EngineGone, LabError


def gone(pid: int, patience: float = 10) -> bool:
    """Whether a process has ended (one that nobody has waited for yet has)."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(autouse=True)
def none_kept():
    """Each test begins and ends with no machine waiting to be borrowed."""
    yield
    for machine, timer in list(small._idle):
        timer.cancel()
        small._drop(machine)


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """A QEMU that is a script: ``body`` first, the real program behind it."""
    real = host.find_qemu()

    def stands_in(body: str) -> None:
        program = tmp_path / "qemu"
        program.write_text(f'#!/bin/sh\n{body}\nexec {real.path} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr(small, "find_qemu", lambda *_: host.Qemu(str(program), "fake", real.img))

    return stands_in


def test_it_runs_commands_and_says_when_they_fail():
    with SmallVM() as machine:
        assert machine.run("echo one; echo two") == "one\ntwo"
        long = "; ".join(f"echo line {number}" for number in range(800))
        assert machine.run(long).splitlines()[-1] == "line 799"
        with pytest.raises(LabError, match="failed"):
            machine.run("exit 3")
        pid = machine.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_killed_notebook_leaves_none(script):
    holder = script(
        """
        from labkit.engine.embedded.small import SmallVM
        machine = SmallVM()
        print(machine.pid)
        input()
        """
    )
    pid = int(holder.line())
    holder.process.kill()
    holder.process.wait()
    assert gone(pid)


def test_an_accelerator_that_hangs_is_given_up_and_the_machine_emulated(qemu, monkeypatch, tmp_path):
    """As on a machine with a KVM device on which guests hang."""
    qemu('case "$*" in *"-accel kvm"*) exec sleep 600 ;; esac')
    small.files()
    kept = {}
    monkeypatch.delenv("LABKIT_ACCELERATOR", raising=False)
    monkeypatch.setattr(accel, "candidates", lambda: ["kvm"])
    monkeypatch.setattr(accel, "recall", lambda name, found: kept.get(name))
    monkeypatch.setattr(accel, "_remember", lambda name, found, worked: kept.update({name: worked}))
    with SmallVM() as machine:
        assert machine.emulated and machine.run("echo here") == "here"
    assert kept == {"kvm": False}


def test_a_small_machine_serves_as_its_own_probe(qemu, monkeypatch):
    """The sign by which an accelerator is judged is one that this machine prints."""
    qemu("")
    assert accel.works("tcg", small.find_qemu(), *small.files(), limit=60)


def test_a_machine_that_hangs_is_ended_with_a_sentence(qemu, monkeypatch, tmp_path):
    qemu(f"echo $$ > {tmp_path}/pid; exec sleep 600")
    monkeypatch.setenv("LABKIT_ACCELERATOR", "kvm")
    monkeypatch.setattr(small, "PATIENCE", 1.0)
    with pytest.raises(EngineGone) as caught:
        SmallVM()
    assert "did not answer within 1 s" in caught.value.what and "LABKIT_ACCELERATOR=tcg" in caught.value.next_step
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_machine_that_ends_early_says_its_last_words(qemu):
    qemu("echo 'no memory left'; exit 1")
    with pytest.raises(EngineGone) as caught:
        SmallVM()
    assert "no memory left" in caught.value.cause


def test_a_borrowed_machine_is_kept_for_the_next_and_then_ends(monkeypatch):
    monkeypatch.setattr(small, "KEPT", 2.0)
    with small.borrowed() as machine:
        first = machine.pid
    with small.borrowed() as machine:
        assert machine.pid == first and "eth0" in machine.run("cat /proc/net/dev")
    assert gone(first)


def test_a_borrowed_machine_that_died_meanwhile_is_not_lent():
    with small.borrowed() as machine:
        first = machine
    os.kill(first.pid, signal.SIGKILL)
    assert gone(first.pid)
    for _ in "twice":
        with pytest.raises(EngineGone, match="ended early"):
            first.run("echo lost")
    with small.borrowed() as machine:
        assert machine.run("echo well") == "well"


def test_a_borrowed_machine_that_is_in_use_is_not_lent_twice(monkeypatch):
    monkeypatch.setattr(small, "KEPT", 0.1)
    with small.borrowed() as left, small.borrowed() as right:
        assert left.pid != right.pid


def test_a_borrowed_machine_is_not_kept_after_a_fault():
    with pytest.raises(KeyboardInterrupt), small.borrowed() as machine:
        raise KeyboardInterrupt
    assert gone(machine.pid) and small._idle == []


def test_a_borrowed_machine_that_was_interrupted_is_not_kept(monkeypatch):
    with small.borrowed() as machine:
        monkeypatch.setattr(machine, "_until", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            machine.run("sleep 100")
    assert gone(machine.pid) and small._idle == []
