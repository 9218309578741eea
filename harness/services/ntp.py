"""NTP: the host's time, or a time that is wrong by a set offset."""

from __future__ import annotations

from harness.faults.dialects.ntp import NtpDialect
from harness.faults.plan import Strike
from harness.faults.tampering import nobody, tampered
from harness.services import Identify
from harness.services.udp_service import UdpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.ntp import SERVER_PORT, NtpPolicy, NtpServer


class NtpService(UdpService):
    """Tells the time of the run's clock plus ``policy.offset_s``."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        bind: str = "0.0.0.0",
        port: int = SERVER_PORT,
        policy: NtpPolicy | None = None,
        identify: Identify | None = None,
        strike: Strike | None = None,
    ) -> None:
        clock = timeline.clock
        core = NtpServer(
            unix_at=lambda now: clock.wall(now).timestamp(), policy=policy, identify=identify
        )
        super().__init__(
            name="ntp",
            core=tampered(core, strike, NtpDialect(identify or nobody)),
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
        )
