"""DHCP on the lab's interface, answered as smee answers."""

from __future__ import annotations

from harness.services.udp import Rewrite
from harness.services.udp_service import UdpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.dhcp4 import SERVER_PORT
from harness.wire.dhcp_server import DhcpServer
from harness.wire.netboot import NetbootConfig, Reservations


class DhcpService(UdpService):
    """Serves the reservations of a lab; ``interface`` is the bridge the machines are on."""

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
        # Bound to 0.0.0.0 even though the lab has one address: a socket that is bound to an
        # address never hears a broadcast.
        super().__init__(
            name="dhcp",
            core=DhcpServer(config=config, reservations=reservations),
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
            interface=interface,
            broadcast=True,
            rewrite=rewrite,
        )
