"""The monitor: QMP over a socket that QEMU inherits, never silent when QEMU dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import MonitorLost

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

EventHandler = Callable[[str, Mapping[str, Any]], None]


class Monitor:
    """A QMP session with one QEMU.

    qemu.qmp's listeners wait for ever and its ``disconnect`` raises ``EOFError`` when QEMU was
    killed; here a command that can't be answered any more raises ``MonitorLost`` instead.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._client: QMPClient | None = None

    async def connect(self, connected: socket.socket) -> None:
        """Shake hands. Takes over ``connected``. Raises ``MonitorLost``."""
        from qemu.qmp import QMPClient, QMPError

        # A QEMU that dies is told about by its exit; the library's traceback adds nothing.
        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
        client = QMPClient(self._name)
        try:
            await client.connect(connected)
        except (QMPError, OSError, EOFError) as error:
            connected.close()
            raise MonitorLost(f"{self._name}: no greeting from QEMU's monitor: {error}") from error
        self._client = client

    async def run(self, on_event: EventHandler) -> None:
        """Hand every event to ``on_event``; return when the session ends."""
        client = self._client
        assert client is not None, "connect() comes first"
        # Asked for once: the library forgets a change that nobody waits for.
        ended = asyncio.ensure_future(client.runstate_changed())  # noqa: TID251 - awaited here
        try:
            with client.listener() as listener:
                while not ended.done():
                    getting = asyncio.ensure_future(listener.get())  # noqa: TID251 - awaited here
                    try:
                        await asyncio.wait({getting, ended}, return_when=asyncio.FIRST_COMPLETED)
                        if getting.done():
                            event = getting.result()
                            on_event(str(event["event"]), _data(event))
                    finally:
                        getting.cancel()
                        await asyncio.gather(getting, return_exceptions=True)
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a monitor command and return what it answers.

        Raises ``MonitorLost`` when the session ends first, or when QEMU refuses the command.
        """
        from qemu.qmp import ExecuteError, QMPError

        if self._client is None:
            raise MonitorLost(f"{self._name}: QEMU's monitor is not connected")
        try:
            return await self._client.execute(command, arguments or None)
        except ExecuteError as error:
            raise MonitorLost(f"{self._name}: QEMU refused {command}: {error}") from error
        except (QMPError, OSError, EOFError) as error:
            raise MonitorLost(f"{self._name}: QEMU's monitor went away: {error}") from error

    async def said(self, command: str) -> str:
        """Return what the monitor for people (HMP) says to ``command``. Raises ``MonitorLost``."""
        return str(await self.execute("human-monitor-command", **{"command-line": command}))

    async def send_descriptor(self, name: str, descriptor: int) -> None:
        """Give QEMU a copy of an open file, which monitor commands call ``fd:name``.

        Raises ``MonitorLost``.
        """
        from qemu.qmp import QMPError

        if self._client is None:
            raise MonitorLost(f"{self._name}: QEMU's monitor is not connected")
        try:
            self._client.send_fd_scm(descriptor)
        except (QMPError, OSError) as error:
            raise MonitorLost(f"{self._name}: QEMU's monitor went away: {error}") from error
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """End the session; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # whatever it died of was told by QEMU's exit
                await client.disconnect()


def _data(event: Mapping[str, Any]) -> Mapping[str, Any]:
    data = event.get("data", {})
    return data if isinstance(data, dict) else {}
