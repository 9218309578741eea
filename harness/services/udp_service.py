"""A service that is nothing but one sans-IO core on one UDP port."""

from __future__ import annotations

from harness.services.udp import Core, UdpShell, udp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline


class UdpService:
    """Starts and stops ``core`` on a port; what differs between services is in the core."""

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
    ) -> None:
        self.name = name
        self._core = core
        self._timeline = timeline
        self._tasks = tasks
        self._bind = bind
        self._port = port
        self._interface = interface
        self._broadcast = broadcast
        self._shared = shared
        self._shell: UdpShell | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._shell.port if self._shell else self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        sock = udp_socket(
            service=self.name,
            bind=self._bind,
            port=self._port,
            interface=self._interface,
            broadcast=self._broadcast,
            shared=self._shared,
        )
        self._shell = UdpShell(
            service=self.name,
            core=self._core,
            sock=sock,
            timeline=self._timeline,
            tasks=self._tasks,
        )
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self._shell.port,
            transport="udp",
        )

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._shell:
            self._shell.close()
            self._shell = None
            self._timeline.record(self.name, "service.stopped", service=self.name)
