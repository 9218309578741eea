"""DHCP on the lab's interface, answered as smee answers, and the address server beside a proxy."""

from __future__ import annotations

from harness.faults.dialects.dhcp import DhcpDialect
from harness.faults.plan import Strike
from harness.faults.tampering import tampered
from harness.services.udp import UdpShell
from harness.services.udp_service import UdpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.dhcp4 import SERVER_PORT
from harness.wire.dhcp_server import DhcpServer
from harness.wire.netboot import NetbootConfig, Reservations
from harness.wire.proxy_dhcp import Mode


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
        strike: Strike | None = None,
        mode: Mode = Mode.RESERVATION,
    ) -> None:
        # Bound to 0.0.0.0 even though the lab has one address: a socket that is bound to an
        # address never hears a broadcast.
        super().__init__(
            name="dhcp",
            core=tampered(
                DhcpServer(config=config, reservations=reservations, mode=mode),
                strike,
                DhcpDialect(config),
            ),
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
            interface=interface,
            broadcast=True,
            shared=mode is not Mode.RESERVATION,
        )


class AddressService(UdpService):
    """The DHCP server beside a proxy: hands out addresses, knows nothing of netboot.

    It shares port 67 with the proxy on the same interface. What is sent to its own ``address``
    (which the interface must have) reaches it alone, broadcasts reach both.
    """

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        reservations: Reservations,
        address: str,
        interface: str | None,
        port: int = SERVER_PORT,
    ) -> None:
        super().__init__(
            name="addresses",
            core=DhcpServer(
                config=NetbootConfig(server=address, enabled=False), reservations=reservations
            ),
            timeline=timeline,
            tasks=tasks,
            bind=address,
            port=port,
            interface=interface,
            broadcast=True,
            shared=True,
            source="dhcp",
        )

    def _listen(self) -> list[UdpShell]:
        own = self._socket(self._bind, self._port)
        # A socket that is bound to 255.255.255.255 hears broadcasts and takes no unicast from
        # anybody. It would send from the interface's first address: its answers leave by ``own``.
        try:
            everybody = self._socket("255.255.255.255", self._port)
        except BaseException:
            own.close()
            raise
        return [self._shell(own), self._shell(everybody, answers=own)]
