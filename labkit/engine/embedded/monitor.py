"""Short conversations with QEMU's monitor (QMP)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from ...errors import EngineGone


def ask(socket: Path, *commands: tuple[str, dict] | str, timeout: float = 10.0) -> list[Any]:
    """Send commands one after the other; returns their answers.

    Each is a name, or a name with its arguments. Runs in a thread of its own, because a notebook's
    own event loop is running already.

    Raises:
        EngineGone: QEMU isn't there or does not answer in ``timeout`` seconds.
    """
    # Imported here: most starts of an engine need no monitor.
    from qemu.qmp import QMPClient
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
        if isinstance(failure[0], (OSError, EOFError, QMPError, asyncio.TimeoutError)):
            raise EngineGone(
                "The embedded engine's machine does not answer its monitor.",
                cause=f"QEMU ended or hangs ({type(failure[0]).__name__}).",
                next_step="Start a fresh one: labkit engine up, or open the lab again.",
            ) from failure[0]
        raise failure[0]
    return answers
