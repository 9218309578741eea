"""Each frame has a line, and scapy's idea of it is ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from harness.wire.frame_line import frame_line

A, B = "192.168.77.10", "192.168.77.1"


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (IP(src=A, dst=B) / UDP(sport=68, dport=67) / (b"x" * 9), f"{A}:68 → {B}:67 UDP 9"),
        (IP(src=A, dst=B) / TCP(sport=1, dport=2, flags="S"), f"{A}:1 → {B}:2 TCP S 0"),
        (IP(src=A, dst=B) / TCP(sport=1, dport=2, flags="PA") / b"abc", f"{A}:1 → {B}:2 TCP .P 3"),
        (IP(src=A, dst=B) / ICMP(type=3, code=1), f"{A} → {B} ICMP type 3 code 1"),
        (IP(src=A, dst=B, frag=5) / b"12345678", f"{A} → {B} fragment 8"),
        (Dot1Q(vlan=7) / IP(src=A, dst=B) / UDP(sport=1, dport=2), f"{A}:1 → {B}:2 UDP 0 VLAN 7"),
        (ARP(op=1, psrc=A, pdst=B), f"{A} → ARP who has {B}?"),
        (
            ARP(op=2, psrc=A, pdst=B, hwsrc="52:54:00:00:00:01"),
            f"{A} → ARP {A} is at 52:54:00:00:00:01",
        ),
        (
            IPv6(src="fe80::1", dst="ff02::2") / ICMPv6ND_RS(),
            "[fe80::1] → [ff02::2] ICMPv6 router solicitation",
        ),
        (
            IPv6(src="fe80::1", dst="fe80::2") / UDP(sport=5, dport=53) / (b"x" * 12),
            "[fe80::1]:5 → [fe80::2]:53 UDP 12",
        ),
    ],
)
def test_a_line_says_what_scapy_wrote(packet: Packet, line: str) -> None:
    assert frame_line(bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / packet)) == line


MAC = "52:54:00:12:34:56"


@given(st.binary(max_size=80))
def test_any_octets_have_a_line(frame: bytes) -> None:
    assert frame_line(frame)
