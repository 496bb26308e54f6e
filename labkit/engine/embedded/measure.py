"""What the embedded engine costs, measured in one session so that its figures can be compared."""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from ...errors import LabError
from ...saying import say
from ..dockercli import program
from . import builder, engine, host, prepare, qemu, snapshot, store
from .builder import Images


def measure(*, runs: int = 10, idle: float = 60.0, images: Images = None) -> dict[str, Any]:
    """Measure cold boot, resume, a container run, memory and idle processor use.

    Args:
        runs: how often each short thing is done.
        idle: seconds to watch the idle engine for.
        images: as for :func:`labkit.engine.embedded.build`.

    Returns:
        Seconds in ``cold_boot``, ``resume`` and ``docker_run`` (lists, with medians beside them),
        ``build_seconds`` and ``snapshot_seconds`` from when they were made; bytes in ``resident``
        (idle after a resume, and after the container runs), ``build_bytes`` and ``snapshot_bytes``;
        ``idle_percent`` of one processor; ``qemu``, ``accelerator``, ``memory`` and ``cpus``.
    """
    found = host.find_qemu()
    folder, shape, saved = prepare(images=images)
    say("Booting from the disk")
    boots = [_cold_boot(folder, found, shape) for _ in range(3)]
    say(f"Resuming {runs} times")
    resumes = []
    for number in range(runs):
        begun = time.perf_counter()
        running = engine.EmbeddedEngine(snapshot.resume(folder, found, shape, saved), shape, folder)
        resumes.append(time.perf_counter() - begun)
        if number < runs - 1:
            running.close()
    with running:
        process = psutil.Process(running.pid())
        time.sleep(5)  # what follows a resume is not idle yet
        say(f"Watching it idle for {idle:.0f} s")
        resident, before = process.memory_info().rss, process.cpu_times()
        time.sleep(idle)
        spent = sum(process.cpu_times()[:2]) - sum(before[:2])  # for itself, and in the kernel
        say(f"Running {runs} containers")
        _run(running)  # the first one warms up
        containers = [_run(running) for _ in range(runs)]
        busy = process.memory_info().rss
    return {
        "qemu": found.version,
        "accelerator": shape.accelerator,
        "memory": shape.memory,
        "cpus": shape.cpus,
        "cold_boot": boots,
        "cold_boot_median": statistics.median(boots),
        "resume": resumes,
        "resume_median": statistics.median(resumes),
        "resume_speedup": statistics.median(boots) / statistics.median(resumes),
        "docker_run": containers,
        "docker_run_median": statistics.median(containers),
        "idle_percent": 100 * spent / idle,
        "resident": {"idle": resident, "after_runs": busy},
        "build_seconds": (store.manifest(folder) or {}).get("seconds"),
        "snapshot_seconds": (store.manifest(saved) or {}).get("seconds"),
        "build_bytes": _size(folder) - _size(folder / "snapshots"),
        "snapshot_bytes": _size(saved),
    }


def _cold_boot(folder: Path, found: host.Qemu, shape: qemu.Shape) -> float:
    work = Path(tempfile.mkdtemp(dir=builder.scratch()))
    try:
        begun = time.perf_counter()
        booted = builder.cold_boot(
            folder, found, shape, work, disk=f"{qemu.escape(folder)}/base.qcow2,format=qcow2", private=True
        )
        took = time.perf_counter() - begun
        booted.close()
        return took
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(running: engine.EmbeddedEngine) -> float:
    command = [program(running), "run", "--rm", "labkit/busybox:1", "true"]
    begun = time.perf_counter()
    done = subprocess.run(command, env=running.process_environment(), capture_output=True, text=True)
    took = time.perf_counter() - begun
    if done.returncode:
        raise LabError(f"docker run failed: {done.stderr.strip()}.", engine=running.endpoint)
    return took


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
