"""Syslog over UDP: what iPXE, Hook and its docker engine say, as events."""

from __future__ import annotations

from harness.faults.dialects.syslog import SyslogDialect
from harness.faults.plan import Strike
from harness.faults.tampering import nobody, tampered
from harness.services import Identify
from harness.services.udp_service import UdpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.syslog import SERVER_PORT, SyslogServer


class SyslogService(UdpService):
    """Records every message; smee's own receiver cuts at 32 kB, this one at UDP's 64."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        bind: str = "0.0.0.0",
        port: int = SERVER_PORT,
        identify: Identify | None = None,
        strike: Strike | None = None,
    ) -> None:
        super().__init__(
            name="syslog",
            core=tampered(
                SyslogServer(identify=identify), strike, SyslogDialect(identify or nobody)
            ),
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
        )
