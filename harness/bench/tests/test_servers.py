"""Our clients meet our servers and their peers."""

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


@pytest.mark.timeout(300, func_only=True)
async def test_all_of_tftp_comes_from_each_server(tmp_path: Path) -> None:
    """Also from those that grant no window; the client says so when an octet is missing."""
    rows = await measure_servers(
        times=1, scratch=tmp_path, progress=PlainProgress(), only=["tftp", "window"]
    )
    who = [row.what.rpartition(": ")[2] for row in rows if row.unit == "s"]
    assert who == [
        "the lab", "dnsmasq", "tftpd-hpa", "the lab", "dnsmasq, which grants no window"
    ]  # fmt: skip
    assert all(min(row.samples) > 0 for row in rows)
    [hpa] = [row for row in rows if row.what.endswith(": tftpd-hpa")]
    assert hpa.cpu == ()  # its children's time is gone with them
