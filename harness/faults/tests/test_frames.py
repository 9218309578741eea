"""What faults see of a frame, and what they do to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp6 import DHCP6_Solicit
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from harness.documents import load
from harness.faults.dialects.frame import FROM_MACHINE, TO_MACHINE, frame_facts
from harness.faults.frames import FrameTampering
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader

MAC = "52:54:00:12:34:56"
LAB = "02:68:6f:6f:6b:01"
ETHER = Ether(src=LAB, dst=MAC)
FOUR = ETHER / IP(src="192.168.77.1", dst="192.168.77.10")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (
            FOUR / UDP(sport=49152, dport=2070) / Raw(b"x" * 516),
            {
                "ethertype": "ipv4",
                "protocol": "udp",
                "source": "192.168.77.1",
                "destination": "192.168.77.10",
                "source port": 49152,
                "destination port": 2070,
                "port": (49152, 2070),
                "payload": 516,
                "packet": 544,
                "length": 558,
                "fragment": False,
                "group": False,
                "source mac": LAB,
                "destination mac": MAC,
            },
        ),
        (FOUR / TCP(flags="SA"), {"protocol": "tcp", "flags": ("SYN", "ACK"), "payload": 0}),
        (FOUR / ICMP(), {"protocol": "icmp", "port": None}),
        (
            Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.0.0.1", pdst="10.0.0.2"),
            {"ethertype": "arp", "source": "10.0.0.1", "destination": "10.0.0.2", "group": True},
        ),
        (
            ETHER / Dot1Q(vlan=7) / IP() / UDP(sport=1, dport=2),
            {"vlan": 7, "protocol": "udp", "source port": 1},
        ),
        (
            ETHER / IPv6(src="fe80::1", dst="ff02::2") / IPv6ExtHdrHopByHop()
            / UDP(sport=546, dport=547) / DHCP6_Solicit(),
            {"ethertype": "ipv6", "protocol": "udp", "source": "fe80::1", "port": (546, 547)},
        ),
        (Ether(type=0x8809) / Raw(b"lacp"), {"ethertype": "0x8809", "protocol": None}),
    ],
)  # fmt: skip
def test_the_facts_of_a_frame(packet: Packet, expected: dict[str, Any]) -> None:
    facts = frame_facts(bytes(packet), TO_MACHINE)
    assert facts["direction"] == TO_MACHINE
    assert {name: facts.get(name) for name in expected} == expected


def test_later_fragments_have_no_ports() -> None:
    whole = FOUR / UDP(sport=1, dport=2) / Raw(b"x" * 3000)
    first, *_, last = fragment(whole, fragsize=1400)  # type: ignore[no-untyped-call]
    assert frame_facts(bytes(first), TO_MACHINE)["source port"] == 1
    facts = frame_facts(bytes(last), TO_MACHINE)
    assert facts["fragment"]
    assert "source port" not in facts


@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x86DD, 0x0806, 0x8100]))
def test_any_octets_have_facts(octets: bytes, kind: int) -> None:
    frame = bytes(12) + kind.to_bytes(2, "big") + octets
    assert frame_facts(frame, FROM_MACHINE)["length"] == len(frame)
    assert frame_facts(octets, FROM_MACHINE)["length"] == len(octets)


class Bench:
    """A cable's faults, a clock that is set by hand, and what arrives at both ends."""

    def __init__(self, *texts: str, **gate: Any) -> None:
        faults = [FaultReader(load(text).data).read() for text in texts]
        self.plan = FaultPlan(
            [fault for fault in faults if fault],
            record=lambda name, **fields: None,
            now=lambda: self.now,
        )
        self.now = 100.0
        self.tampering = FrameTampering(self.plan.at("wire"), mac=MAC, **gate)

    def send(self, *numbers: int, to_machine: bool = True) -> list[int]:
        """Send frames, a millisecond apart; return those that go at once."""
        out = []
        for number in numbers:
            going = self.tampering.frame(numbered(number), to_machine=to_machine, now=self.now)
            out += [frame[-1] for frame in going]
            self.now += 0.001
        return out

    def wait(self, seconds: float) -> list[int]:
        """Return what comes in the meantime."""
        end, out = self.now + seconds, []
        while (at := self.tampering.next_due_s) is not None and at <= end:
            out += [frame[-1] for frame, _ in self.tampering.due(at)]
        self.now = end
        return out


def numbered(number: int) -> bytes:
    return bytes(FOUR / UDP(sport=3000, dport=4000) / Raw(bytes(100) + bytes([number])))


def test_what_no_fault_names_goes_on() -> None:
    bench = Bench("{at: wire, when: {protocol: tcp}, do: drop}")
    assert bench.send(1, 2, 3) == [1, 2, 3]
    assert Bench().send(1, 2) == [1, 2]


def test_frames_are_lost() -> None:
    bench = Bench("{at: wire, when: {source port: '> 1023', nth: [2, 3]}, do: drop}")
    assert bench.send(1, 2, 3, 4) == [1, 4]
    assert bench.plan.unfired() == []


def test_only_one_way() -> None:
    bench = Bench("{at: wire, when: {direction: from machine}, do: drop}")
    assert bench.send(1) == [1]
    assert bench.send(1, to_machine=False) == []


def test_chance_loses_about_as_many_as_it_should_and_the_same_each_time() -> None:
    def lost() -> list[int]:
        return Bench("{at: wire, when: {probability: 0.05}, do: drop}").send(*range(200))

    assert 180 <= len(lost()) < 200
    assert lost() == lost()


def test_a_long_line_keeps_the_order() -> None:
    bench = Bench("{at: wire, do: {delay: 50 ms}}")
    assert bench.send(1, 2, 3) == []
    assert bench.wait(0.046) == []
    assert bench.wait(0.01) == [1, 2, 3]
    assert bench.tampering.next_due_s is None


def test_some_come_twice_and_some_late() -> None:
    bench = Bench(
        "{at: wire, when: {nth: 1}, do: duplicate}",
        "{at: wire, when: {nth: 3}, do: {reorder: {behind: 2, seconds: 1 s}}}",
        "{at: wire, when: {nth: 7}, do: {reorder: {behind: 9, seconds: 1 s}}}",
    )
    assert bench.send(1, 2, 3, 4, 5, 6, 7, 8) == [1, 1, 2, 4, 5, 3, 6, 8]
    assert bench.wait(0.9) == []
    assert bench.wait(0.2) == [7]


def test_frames_are_bent() -> None:
    bench = Bench(
        "{at: wire, when: {nth: 1}, do: {truncate: 3}}",
        "{at: wire, when: {nth: 2}, do: {corrupt: {at: 60}}}",
    )
    (cut,) = bench.tampering.frame(numbered(1), to_machine=True, now=0)
    assert cut == numbered(1)[:14]
    (bad,) = bench.tampering.frame(numbered(1), to_machine=True, now=0)
    assert [n for n, (a, b) in enumerate(zip(bad, numbered(1), strict=True)) if a != b] == [60]


def test_a_slow_line_queues_and_then_loses() -> None:
    size = len(numbered(0))
    bench = Bench(f"{{at: wire, do: {{trickle: {{octets_per_s: {size * 10}, at: {size}}}}}}}")
    assert bench.send(*range(20)) == [0]  # the first are free
    arrived = bench.wait(0.5)
    assert arrived == [1, 2, 3, 4, 5]
    assert [*arrived, *bench.wait(10)] == list(range(1, 12))


def test_a_port_that_is_blocked_forwards_nothing_not_even_what_was_held() -> None:
    is_open = True
    bench = Bench("{at: wire, when: {nth: 2}, do: {delay: 1 s}}", is_open=lambda: is_open)
    assert bench.send(1, 2) == [1]
    is_open = False
    assert bench.send(3) == []
    assert bench.wait(2) == []
    is_open = True
    assert bench.send(4) == [4]
