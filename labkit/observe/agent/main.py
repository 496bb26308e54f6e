"""The helpers' program: runs in a helper container, on the engine's machine.

It reads one JSON request a line and writes JSON answers, each with its request's id:
``{"id": 1, "more": …}`` any number of times, then ``{"id": 1, "done": …}`` or
``{"id": 1, "error": …}``; ``{"id": 0, "done": …}`` says that it listens. Requests run in threads of their own.
Its arguments are the modules whose operations it has. It ends with its input.
It is copied into the container as it stands and imports nothing of labkit.
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_write_lock = threading.Lock()


def send(message: dict[str, Any]) -> None:
    with _write_lock:
        sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
        sys.stdout.flush()


class Request:
    """One running request: operations send through it and look whether to stop."""

    def __init__(self, number: int, operation: str):
        self.number, self.operation = number, operation
        self.stopped = threading.Event()
        self.count = 0
        self._rows: list[Any] = []
        self._sent = time.monotonic()

    def more(self, value: Any) -> None:
        send({"id": self.number, "more": value})

    def rows(self, *rows: Any, gather: float = 0.05) -> None:
        """Stream rows; those of some time (s) go together, for a message each costs more than a sample."""
        self.count += len(rows)
        self._rows += rows
        now = time.monotonic()
        if self._rows and now - self._sent >= gather:
            self.more({"rows": self._rows})
            self._rows, self._sent = [], now


def clocks(_request: Request) -> dict[str, float]:
    """Both clocks of this machine at one moment, in seconds."""
    return {"monotonic": time.monotonic(), "wall": time.time()}


def under_way(_request: Request) -> list[str]:
    """The operations that run now, this one among them."""
    return [request.operation for request in list(running.values())]


OPERATIONS: dict[str, Callable[..., Any]] = {"clocks": clocks, "running": under_way}


def serve(request: Request, arguments: dict[str, Any]) -> None:
    try:
        done = OPERATIONS[request.operation](request, **arguments)
        request.rows(gather=0)
        send({"id": request.number, "done": done})
    except Exception as fault:  # noqa: BLE001 - whatever went wrong is the answer
        send({"id": request.number, "error": f"{type(fault).__name__}: {fault}"})
    finally:
        running.pop(request.number, None)


running: dict[int, Request] = {}


def main() -> None:
    modules = [importlib.import_module(name) for name in sys.argv[1:]]
    for module in modules:
        OPERATIONS.update(module.OPERATIONS)
    send({"id": 0, "done": sorted(OPERATIONS)})
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "stop":
            target = running.get(message["target"])
            if target:
                target.stopped.set()
            continue
        request = running[message["id"]] = Request(message["id"], message["op"])
        threading.Thread(target=serve, args=(request, message["args"]), daemon=True).start()
    for module in modules:
        if hasattr(module, "at_end"):
            module.at_end()


if __name__ == "__main__":
    main()
