"""A service that is a sans-IO core on a UDP port, or on a few sockets."""

from __future__ import annotations

import socket

from harness.services.udp import UdpShell, udp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import Core


class UdpService:
    """Starts and stops ``core`` on a port; what differs between services is in the core.

    A service with more sockets than one opens them in its own ``_listen``.
    """

    def __init__(
        self,
        *,
        name: str,
        core: Core,
        timeline: Timeline,
        tasks: TaskKeeper,
        bind: str,
        port: int,
        interface: str | None = None,
        broadcast: bool = False,
        shared: bool = False,
        source: str | None = None,
    ) -> None:
        """``source``: who records what the core notes, when it is not ``name``."""
        self.name = name
        self._core = core
        self._timeline = timeline
        self._tasks = tasks
        self._bind = bind
        self._port = port
        self._interface = interface
        self._broadcast = broadcast
        self._shared = shared
        self._source = source or name
        self._shells: list[UdpShell] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._shells[0].port if self._shells else self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        self._shells = self._listen()
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self.port,
            transport="udp",
        )

    async def stop(self) -> None:
        """Stop listening and drop what was going on; may be called twice."""
        if self._shells:
            for shell in reversed(self._shells):
                shell.close()
            self._shells = []
            self._timeline.record(self.name, "service.stopped", service=self.name)

    def _listen(self) -> list[UdpShell]:
        """Open the sockets, first the one whose port is the service's. Raises ``SetupFailed``."""
        return [self._shell(self._socket(self._bind, self._port))]

    def _socket(self, bind: str, port: int) -> socket.socket:
        return udp_socket(
            service=self.name,
            bind=bind,
            port=port,
            interface=self._interface,
            broadcast=self._broadcast,
            shared=self._shared,
        )

    def _shell(
        self,
        sock: socket.socket,
        *,
        core: Core | None = None,
        answers: socket.socket | None = None,
    ) -> UdpShell:
        """Return a shell around ``core`` (None: the service's) that owns ``sock``."""
        return UdpShell(
            service=self._source,
            core=core or self._core,
            sock=sock,
            timeline=self._timeline,
            tasks=self._tasks,
            answers=answers,
        )
