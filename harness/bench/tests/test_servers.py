"""Our DHCP client meets our server and dnsmasq, a thousand times each."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.servers import measure_servers
from harness.progress import PlainProgress

pytestmark = pytest.mark.service


@pytest.mark.timeout(300, func_only=True)
async def test_dnsmasq_gives_our_client_addresses(tmp_path: Path) -> None:
    """Every exchange ends in an ACK, or the client says what the server answered instead."""
    rows = await measure_servers(times=1, scratch=tmp_path, progress=PlainProgress(), only=["dhcp"])
    assert [row.what for row in rows] == [
        "1,000 DHCP exchanges: the lab",
        "1,000 DHCP exchanges: dnsmasq",
        "  the lab / dnsmasq",
    ]
    assert all(min(row.samples) > 0 for row in rows)
