"""The observer's program: runs in the helper container, on the engine's machine.

It reads one JSON request a line and writes JSON answers, each with its request's id:
``{"id": 1, "more": …}`` any number of times, then ``{"id": 1, "done": …}`` or
``{"id": 1, "error": …}``. Requests run in threads of their own. It ends with its input.
It is copied into the container as it stands and imports nothing of labkit.
"""

import json
import sys
import threading
import time
import trace

import cgroups
import commands
import kernel
import processes

_write_lock = threading.Lock()


def send(message):
    with _write_lock:
        sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
        sys.stdout.flush()


class Request:
    """One running request: operations send through it and look whether to stop."""

    def __init__(self, number):
        self.number = number
        self.stopped = threading.Event()

    def more(self, value):
        send({"id": self.number, "more": value})


def clocks(_request):
    """Both clocks of this machine at one moment, in seconds."""
    return {"monotonic": time.monotonic(), "wall": time.time()}


OPERATIONS = {
    "clocks": clocks,
    **cgroups.OPERATIONS,
    **commands.OPERATIONS,
    **kernel.OPERATIONS,
    **processes.OPERATIONS,
    **trace.OPERATIONS,
}


def serve(request, operation, arguments):
    try:
        send({"id": request.number, "done": OPERATIONS[operation](request, **arguments)})
    except Exception as fault:  # noqa: BLE001 - whatever went wrong is the answer
        send({"id": request.number, "error": f"{type(fault).__name__}: {fault}"})
    finally:
        running.pop(request.number, None)


running = {}


def main():
    # The collector's pauses show up as gaps between samples; nothing here makes cycles.
    import gc

    gc.disable()
    send({"id": 0, "done": "ready"})
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "stop":
            target = running.get(message["target"])
            if target:
                target.stopped.set()
            continue
        request = running[message["id"]] = Request(message["id"])
        arguments = message.get("args", {})
        threading.Thread(target=serve, args=(request, message["op"], arguments), daemon=True).start()
    cgroups.remove_below()


if __name__ == "__main__":
    main()
