"""Short conversations with QEMU's monitor (QMP)."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from ...errors import EngineGone

#: A command's name, or its name with its arguments.
Command = str | tuple[str, dict[str, Any]]


class Silent(EngineGone):
    """QEMU isn't there, or not yet, or does not answer in time."""


class Refused(EngineGone):
    """QEMU is there and refuses a command: to ask again changes nothing."""


def ask(socket: Path, *commands: Command, timeout: float = 10.0) -> list[Any]:
    """Send commands one after the other; returns their answers.

    Runs in a thread of its own, because a notebook's own event loop is running already.

    Raises:
        Silent: QEMU isn't there or does not answer in ``timeout`` seconds.
        Refused: it refuses one of them; those before it are done.
    """
    # Imported here: most starts of an engine need no monitor.
    from qemu.qmp import ExecuteError, QMPClient
    from qemu.qmp.error import QMPError

    answers: list[Any] = []
    failure: list[BaseException] = []

    async def talk() -> None:
        client = QMPClient("labkit")
        await client.connect(str(socket))
        try:
            for each in commands:
                name, arguments = (each, None) if isinstance(each, str) else each
                answers.append(await client.execute(name, arguments))
        finally:
            try:
                await client.disconnect()
            except (EOFError, OSError, QMPError):
                pass  # QEMU ended in the meantime, as after "quit"

    def run() -> None:
        try:
            asyncio.run(asyncio.wait_for(talk(), timeout))
        except BaseException as reason:  # noqa: BLE001 - handed to the caller's thread
            failure.append(reason)

    thread = threading.Thread(target=run, name="labkit-qmp")
    thread.start()
    thread.join()
    if failure:
        if isinstance(failure[0], ExecuteError):
            raise Refused(
                f"The embedded engine's machine refused a command of labkit's: {failure[0]}.",
                cause="This QEMU is not the one that the engine's files were made with, or they are damaged.",
                next_step="Build it anew: labkit engine build --force",
            ) from failure[0]
        if isinstance(failure[0], (OSError, EOFError, QMPError, asyncio.TimeoutError)):
            raise Silent(
                "The embedded engine's machine does not answer its monitor.",
                cause=f"QEMU ended or hangs ({type(failure[0]).__name__}).",
                next_step="Start a fresh one: labkit engine up, or open the lab again.",
            ) from failure[0]
        raise failure[0]
    return answers
