"""Router Solicitations and Advertisements against scapy."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.wire import radv

MAC = bytes.fromhex("525400000001")


def solicitation(*, source: str = "fe80::5054:ff:fe00:1", **ip: Any) -> bytes:
    from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
    from scapy.layers.l2 import Ether

    packet = (
        Ether(src=MAC.hex(":"), dst="33:33:00:00:00:02")
        / IPv6(src=source, dst="ff02::2", **{"hlim": 255, **ip})
        / ICMPv6ND_RS()
        / ICMPv6NDOptSrcLLAddr(lladdr=MAC.hex(":"))
    )
    return bytes(packet)


@pytest.mark.parametrize("source", ["fe80::5054:ff:fe00:1", "::"])
def test_a_solicitation_of_scapy_is_read(source: str) -> None:
    found = radv.decode_solicitation(solicitation(source=source))
    assert found == radv.Solicitation(mac=MAC.hex(":"), source=source)


def test_trailing_ethernet_padding_does_not_matter() -> None:
    assert radv.decode_solicitation(solicitation() + bytes(20))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (solicitation(hlim=64), "hop limit 64"),
        (solicitation()[:-1], "cut off"),
        (solicitation()[:-1] + b"\xee", "checksum"),
    ],
)
def test_what_breaks_the_rules_is_said(frame: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        radv.decode_solicitation(frame)


def test_other_frames_are_none() -> None:
    assert radv.decode_solicitation(radv.encode_advertisement(mac=MAC)) is None
    assert radv.decode_solicitation(b"") is None


@given(st.binary(max_size=200), st.integers(0, 78))
def test_arbitrary_frames_never_break_it(noise: bytes, cut: int) -> None:
    for frame in (noise, solicitation()[:cut] + noise):
        with contextlib.suppress(DecodeError):
            radv.decode_solicitation(frame)


@given(st.binary(min_size=6, max_size=6))
def test_scapy_reads_the_advertisement_and_agrees_on_its_checksum(mac: bytes) -> None:
    from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptSrcLLAddr
    from scapy.layers.l2 import Ether

    frame = radv.encode_advertisement(mac=mac)
    theirs: Any = Ether(frame)
    assert (theirs.dst, theirs.src) == ("33:33:00:00:00:01", mac.hex(":"))
    ip, advertisement = theirs["IPv6"], theirs[ICMPv6ND_RA]
    assert (ip.dst, ip.hlim, ip.src) == ("ff02::1", 255, str(radv.link_local(mac)))
    assert advertisement.routerlifetime == 0
    assert (advertisement.M, advertisement.O) == (0, 0)
    assert theirs[ICMPv6NDOptSrcLLAddr].lladdr == mac.hex(":")
    del advertisement.cksum
    assert bytes(theirs) == frame


def test_a_link_local_address_is_made_of_the_mac() -> None:
    assert str(radv.link_local(MAC)) == "fe80::5054:ff:fe00:1"
