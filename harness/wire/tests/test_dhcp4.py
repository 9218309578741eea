"""The DHCPv4 codec against itself, against scapy and against tshark."""

from __future__ import annotations

import contextlib
import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.tests.programs import needs
from harness.wire import dhcp4
from harness.wire.dhcp4 import Code, Message, MessageType, Option

ADDRESSES = st.ip_addresses(v=4).map(str)
CODES = st.integers(1, 254).filter(lambda code: code != Code.OVERLOAD)
OPTIONS = st.lists(st.builds(Option, CODES, st.binary(max_size=600)), max_size=12).filter(
    lambda options: not _ambiguous(options)
)
MESSAGES = st.builds(
    Message,
    op=st.integers(0, 255),
    htype=st.integers(0, 255),
    hops=st.integers(0, 255),
    xid=st.binary(min_size=4, max_size=4),
    secs=st.integers(0, 0xFFFF),
    flags=st.integers(0, 0xFFFF),
    ciaddr=ADDRESSES,
    yiaddr=ADDRESSES,
    siaddr=ADDRESSES,
    giaddr=ADDRESSES,
    chaddr=st.binary(max_size=16),
    sname=st.binary(max_size=64).map(lambda name: name.rstrip(b"\0")),
    file=st.binary(max_size=128).map(lambda name: name.rstrip(b"\0")),
    options=OPTIONS.map(tuple),
)


def _ambiguous(options: list[Option]) -> bool:
    """A full piece followed by its own code can't be told from one long option (RFC 3396)."""
    return any(
        first.code == second.code and first.data and len(first.data) % 255 == 0
        for first, second in pairwise(options)
    )


@given(MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    datagram = dhcp4.encode(message)
    assert len(datagram) >= 300
    assert dhcp4.decode(datagram) == message


@given(MESSAGES)
def test_overload_moves_options_without_a_trace(message: Message) -> None:
    try:
        datagram = dhcp4.encode(message, max_bytes=576)
    except ValueError:
        return  # it does not fit at all
    assert len(datagram) <= 576
    assert dhcp4.decode(datagram) == message


def test_overload_uses_file_and_sname_in_the_order_of_rfc_3396() -> None:
    options = tuple(Option(128 + n, bytes([n]) * 60) for n in range(5))
    datagram = dhcp4.encode(Message(options=options), max_bytes=480)
    assert datagram[240:243] == bytes((Code.OVERLOAD, 1, 1))
    assert datagram[108] == 128 + 3
    assert dhcp4.decode(datagram).options == options


def test_what_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="overload"):
        dhcp4.encode(Message(options=(Option(43, bytes(500)),)), max_bytes=576)


@given(st.binary(max_size=700))
def test_arbitrary_octets_are_a_message_or_a_decode_error(datagram: bytes) -> None:
    with contextlib.suppress(DecodeError):
        dhcp4.decode(datagram)


@given(MESSAGES, st.binary(max_size=200))
def test_damaged_options_are_a_message_or_a_decode_error(message: Message, damage: bytes) -> None:
    datagram = dhcp4.encode(message)[:240] + damage
    with contextlib.suppress(DecodeError):
        dhcp4.decode(datagram)


@pytest.mark.parametrize(
    ("datagram", "said"),
    [
        (b"", "too short"),
        (bytes(300), "magic cookie"),
        (bytes(236) + dhcp4.COOKIE + bytes(60), "END"),
        (bytes(236) + dhcp4.COOKIE + b"\x35\x02\x01", "option 53 runs over"),
        (bytes(236) + dhcp4.COOKIE + b"\x35", "option 53 runs over"),
    ],
)
def test_what_is_wrong_is_named(datagram: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        dhcp4.decode(datagram)


def test_a_hardware_address_has_at_most_the_room_there_is() -> None:
    datagram = b"\x01\x01\xff" + bytes(25) + bytes(range(16)) + bytes(192) + dhcp4.COOKIE + b"\xff"
    assert dhcp4.decode(datagram).chaddr == bytes(range(16))


def test_a_long_option_is_split_and_a_duplicate_is_not_merged() -> None:
    long = Option(43, bytes(range(256)) * 2)
    twice = (Option(6, b"\1\2\3\4"), Option(6, b"\5\6\7\10"))
    message = Message(options=(long, *twice))
    datagram = dhcp4.encode(message)
    assert datagram[240:242] == b"\x2b\xff"
    decoded = dhcp4.decode(datagram)
    assert decoded.options == (long, *twice)
    assert decoded.option(6) == b"\1\2\3\4\5\6\7\10"


def test_option_82_has_neither_pad_nor_end() -> None:
    data = dhcp4.encode_options([Option(0, b"a"), Option(255, b"b"), Option(1, b"eth0")])
    assert dhcp4.decode_suboptions(data, padded=False) == [
        Option(0, b"a"),
        Option(255, b"b"),
        Option(1, b"eth0"),
    ]


def test_lists_are_encoded_as_their_rfcs_show() -> None:
    assert dhcp4.domain_search(["eng.apple.com"]) == b"\3eng\5apple\3com\0"
    routes = [("10.0.0.0/8", "10.0.0.1"), ("0.0.0.0/0", "10.0.0.2"), ("10.229.0.128/25", "1.1.1.1")]
    assert dhcp4.classless_routes(routes) == bytes.fromhex(
        "080a0a000001000a000002190ae5008001010101"
    )
    assert dhcp4.unpack_addresses(dhcp4.addresses(["1.2.3.4", "5.6.7.8"])) == ["1.2.3.4", "5.6.7.8"]


def test_types_known_and_unknown() -> None:
    assert Message(options=(Option(53, b"\1"),)).type is MessageType.DISCOVER
    assert Message(options=(Option(53, b"\x63"),)).type == 99
    assert Message(options=(Option(53, b""),)).type is None
    assert Message().type is None


# -- scapy, both directions ---------------------------------------------------------------------

SHORT = st.lists(
    st.builds(Option, st.sampled_from([224, 225, 230, 254]), st.binary(min_size=1, max_size=255)),
    max_size=5,
    unique_by=lambda option: option.code,
)


def _scapy(datagram: bytes) -> Any:
    from scapy.layers.dhcp import BOOTP

    return BOOTP(datagram)


@given(MESSAGES, SHORT)
def test_scapy_reads_what_we_write(message: Message, options: list[Option]) -> None:
    from dataclasses import replace

    ours = replace(message, options=(Option(53, b"\2"), *options))
    theirs = _scapy(dhcp4.encode(ours))
    header = (theirs.op, theirs.htype, theirs.hops, theirs.secs, theirs.giaddr, theirs.yiaddr)
    assert header == (ours.op, ours.htype, ours.hops, ours.secs, ours.giaddr, ours.yiaddr)
    assert theirs.xid == int.from_bytes(ours.xid, "big")
    assert theirs.file.rstrip(b"\0") == ours.file
    read = [option for option in theirs["DHCP options"].options if option not in ("pad", "end")]
    assert read == [("message-type", 2), *(tuple(option) for option in options)]


@given(SHORT, st.binary(min_size=6, max_size=6), st.integers(0, 0xFFFFFFFF), ADDRESSES)
def test_we_read_what_scapy_writes(
    options: list[Option], mac: bytes, xid: int, giaddr: str
) -> None:
    from scapy.layers.dhcp import BOOTP, DHCP

    theirs = BOOTP(op=1, chaddr=mac, xid=xid, giaddr=giaddr, flags="B") / DHCP(
        options=[
            ("message-type", "discover"),
            ("vendor_class_id", b"PXEClient"),
            ("requested_addr", "10.1.2.3"),
            *(tuple(option) for option in options),
            "end",
        ]
    )
    ours = dhcp4.decode(bytes(theirs))
    assert ours.type is MessageType.DISCOVER
    assert ours.mac == mac.hex(":")
    assert (int.from_bytes(ours.xid, "big"), ours.giaddr) == (xid, giaddr)
    assert ours.flags == dhcp4.BROADCAST_FLAG
    assert ours.text(Code.VENDOR_CLASS) == "PXEClient"
    assert ours.address(Code.REQUESTED_ADDRESS) == "10.1.2.3"
    assert list(ours.options[3:]) == options


# -- tshark ---------------------------------------------------------------------------------------


@needs("tshark")
def test_tshark_decodes_every_part_of_a_netboot_offer(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    offer = Message(
        op=2,
        xid=b"\xde\xad\xbe\xef",
        yiaddr="192.168.77.10",
        siaddr="192.168.77.1",
        chaddr=bytes.fromhex("525400000001"),
        file=b"ipxe.efi",
        options=(
            Option(Code.MESSAGE_TYPE, bytes((MessageType.OFFER,))),
            Option(Code.SERVER_IDENTIFIER, dhcp4.packed("192.168.77.1")),
            Option(Code.DOMAIN_SEARCH, dhcp4.domain_search(["tinkerbell.lab"])),
            Option(Code.CLASSLESS_ROUTES, dhcp4.classless_routes([("10.0.0.0/8", "192.168.77.1")])),
            Option(Code.VENDOR_SPECIFIC, dhcp4.encode_options([Option(6, b"\x08")])),
        ),
    )
    frame = (
        Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
        / IP(src="192.168.77.1", dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / dhcp4.encode(offer)
    )
    pcap = tmp_path / "offer.pcap"
    wrpcap(str(pcap), [frame])
    seen = _tshark(pcap)
    assert seen["dhcp.type"] == "2"
    assert seen["dhcp.id"] == "0xdeadbeef"
    assert seen["dhcp.ip.your"] == "192.168.77.10"
    assert seen["dhcp.ip.server"] == "192.168.77.1"
    assert seen["dhcp.hw.mac_addr"] == "52:54:00:00:00:01"
    assert seen["dhcp.file"] == "ipxe.efi"
    tree = json.dumps(seen)
    assert "tinkerbell.lab" in tree
    assert "08:0a:c0:a8:4d:01" in tree
    assert "malformed" not in tree.lower()


def _tshark(pcap: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["tshark", "-r", str(pcap), "-T", "json", "--no-duplicate-keys", "-J", "dhcp"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    layers: dict[str, Any] = json.loads(done.stdout)[0]["_source"]["layers"]
    dhcp: dict[str, Any] = layers["dhcp"]
    return dhcp
