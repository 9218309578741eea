"""MAC addresses come out of the kernel's table as it prints it."""

from __future__ import annotations

from pathlib import Path

from harness.net.neighbours import identify

TABLE = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.77.10    0x1         0x2         52:54:00:AA:bb:01     *        hook0
192.168.77.11    0x1         0x0         00:00:00:00:00:00     *        hook0
192.168.77.12    0x1         0x6         52:54:00:aa:bb:02     *        hook0
"""


def test_only_complete_entries_count(tmp_path: Path) -> None:
    table = tmp_path / "arp"
    table.write_text(TABLE)
    assert identify("192.168.77.10", table=table) == "52:54:00:aa:bb:01"
    assert identify("192.168.77.11", table=table) is None
    assert identify("192.168.77.12", table=table) == "52:54:00:aa:bb:02"
    assert identify("192.168.77.1", table=table) is None


def test_the_real_table_can_be_read() -> None:
    assert identify("0.0.0.0") is None
