"""Syslog over UDP: what iPXE, Hook and its docker engine say, as events."""

from __future__ import annotations

from harness.services import Identify
from harness.services.udp import Rewrite
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
        rewrite: Rewrite | None = None,
    ) -> None:
        super().__init__(
            name="syslog",
            core=SyslogServer(identify=identify),
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
            rewrite=rewrite,
        )
