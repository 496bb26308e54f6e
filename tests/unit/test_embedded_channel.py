"""The way into the machine: requests and answers, with a shell on this side instead of the agent."""

import base64
import os
import subprocess
import threading
import time

import pytest

from labkit.engine.embedded import channel, qemu
from labkit.errors import EngineGone, LabError


class Agent(threading.Thread):
    """Answers as guest/agent.sh does, from the other ends of the pipes."""

    def __init__(self, folder, before=b""):
        super().__init__(daemon=True)
        self.folder, self.before, self.seen = folder, before, []
        self.clocks = 0
        self.slow_clock = False

    def run(self):
        threads = [
            threading.Thread(target=self.serve, args=(label,), daemon=True)
            for label in (qemu.CLOCK_PORT, *qemu.SHELL_PORTS)
        ]
        for thread in threads:
            thread.start()

    def serve(self, label):
        # For both directions, as QEMU does: the pipe doesn't end when a client closes its end.
        ours = os.open(self.folder / f"{label}.in", os.O_RDWR)
        with open(ours, "rb", buffering=0) as requests:
            out = os.open(self.folder / f"{label}.out", os.O_RDWR)
            while line := requests.readline().decode().split():
                self.seen.append(line[0])
                if line[0] == "clock":
                    self.clocks += 1
                    if self.slow_clock and self.clocks == 1:
                        time.sleep(0.3)
                    os.write(out, b"clock 0 0\n")
                elif line[0] == "run":
                    done = subprocess.run(
                        ["timeout", "-k", "1", line[2], "sh", "-c", base64.b64decode(line[3])],
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                    )
                    status = done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a shell counts
                    data = self.before + f"{line[1]} {status} {len(done.stdout)}\n".encode() + done.stdout
                    while data:
                        data = data[os.write(out, data[:60000]) :]


@pytest.fixture
def folder(tmp_path):
    channel.make_pipes(tmp_path)
    return tmp_path


def test_output_errors_and_status(folder):
    Agent(folder).start()
    assert channel.run(folder, "echo out; echo err >&2; exit 3", timeout=20) == (3, "out\nerr\n")
    assert channel.run(folder, "true", timeout=20) == (0, "")


def test_quotes_newlines_and_other_letters_arrive(folder):
    Agent(folder).start()
    command = "printf '%s|' \"it's\" 'zwei\nZeilen' \"ü\""
    assert channel.run(folder, command, timeout=20) == (0, "it's|zwei\nZeilen|ü|")


def test_output_larger_than_a_pipe(folder):
    Agent(folder).start()
    status, output = channel.run(folder, "head -c 1000000 /dev/zero | tr '\\0' x", timeout=20)
    assert status == 0 and len(output) == 1000000


def test_late_answers_to_others_are_left_out(folder):
    Agent(folder, before=b"deadbeef 0 5\nold\n\n").start()
    assert channel.run(folder, "echo mine", timeout=20) == (0, "mine\n")


def test_commands_at_the_same_time(folder):
    Agent(folder).start()
    results = {}

    def one(number):
        results[number] = channel.run(folder, f"echo {number}", timeout=20)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: (0, f"{number}\n") for number in range(8)}


@pytest.mark.parametrize("command", ["sleep 30", "trap '' TERM; sleep 30"])
def test_command_stopped_at_its_time_limit(folder, command):
    Agent(folder).start()
    with pytest.raises(LabError, match="stopped after 1 s"):
        channel.run(folder, command, timeout=1)


def test_command_killed_by_somebody_else(folder):
    Agent(folder).start()
    assert channel.run(folder, "kill -KILL $$", timeout=20) == (137, "")


def test_machine_that_ends_meanwhile(folder):
    # Nobody answers, and QEMU is reported dead.
    with pytest.raises(EngineGone, match="machine is gone"):
        channel.run(folder, "true", timeout=20, alive=lambda: False)


def test_no_machine_at_all(tmp_path):
    with pytest.raises(EngineGone, match="machine is gone"):
        channel.run(tmp_path, "true", timeout=20)


def test_interrupt_stops_the_command_there_too(folder, monkeypatch):
    agent = Agent(folder)
    agent.start()
    channel.run(folder, "true", timeout=20)  # the pipes are held at both ends from here on

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(channel._Port, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        channel.run(folder, "true", timeout=20)
    deadline = time.monotonic() + 20
    while "cancel" not in agent.seen and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "cancel" in agent.seen


def test_clock_is_sent_again_when_the_answer_was_slow(folder):
    agent = Agent(folder)
    agent.slow_clock = True
    agent.start()
    channel.set_clock(folder, deadline=time.monotonic() + 20)
    assert agent.clocks >= 2


def test_machine_that_does_not_resume(folder):
    with pytest.raises(EngineGone, match="did not resume"):
        channel.set_clock(folder, deadline=time.monotonic() + 0.3)
