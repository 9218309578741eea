"""DHCP on the lab's interface, answered as smee answers."""

from __future__ import annotations

from harness.services.udp import Rewrite, UdpShell, udp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.dhcp4 import SERVER_PORT
from harness.wire.dhcp_server import DhcpServer
from harness.wire.netboot import NetbootConfig, Reservations


class DhcpService:
    """Serves the reservations of a lab; ``interface`` is the bridge the machines are on."""

    name = "dhcp"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        reservations: Reservations,
        config: NetbootConfig,
        interface: str | None,
        bind: str = "0.0.0.0",
        port: int = SERVER_PORT,
        rewrite: Rewrite | None = None,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._core = DhcpServer(config=config, reservations=reservations)
        self._interface = interface
        self._bind = bind
        self._port = port
        self._rewrite = rewrite
        self._shell: UdpShell | None = None

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        # Bound to 0.0.0.0 even though the lab has one address: a socket bound to an address
        # never hears a broadcast.
        sock = udp_socket(
            service=self.name,
            bind=self._bind,
            port=self._port,
            interface=self._interface,
            broadcast=True,
        )
        self._shell = UdpShell(
            service=self.name,
            core=self._core,
            sock=sock,
            timeline=self._timeline,
            tasks=self._tasks,
            rewrite=self._rewrite,
        )
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self._shell.port,
            transport="udp",
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._shell.port if self._shell else self._port

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._shell:
            self._shell.close()
            self._shell = None
            self._timeline.record(self.name, "service.stopped", service=self.name)
