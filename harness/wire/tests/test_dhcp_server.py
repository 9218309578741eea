"""The DHCP server's answers, message by message."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.events import EVENTS
from harness.wire import dhcp4
from harness.wire.commands import Note, Send
from harness.wire.dhcp4 import Code, Message, MessageType, Option
from harness.wire.dhcp_server import DhcpServer
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.tests.test_netboot import MAC, request

MACHINE = Reservation(
    mac=MAC,
    address="192.168.77.10",
    gateway="192.168.77.1",
    name_servers=("192.168.77.1", "192.168.77.2"),
    time_servers=("192.168.77.1",),
    hostname="machine",
    domain="tinkerbell.lab",
    lease_s=3600,
    routes=(("10.0.0.0/8", "192.168.77.1"),),
    allow_pxe=True,
)
CONFIG = NetbootConfig(server="192.168.77.1", syslog="192.168.77.1")
NOBODY = ("0.0.0.0", 68)


def serve(
    message: Message,
    *,
    reservation: Reservation = MACHINE,
    config: NetbootConfig = CONFIG,
    peer: tuple[str, int] = NOBODY,
) -> tuple[Message | None, list[Note], tuple[str, int] | None]:
    server = DhcpServer(config=config, reservations=Reservations([reservation]))
    commands = server.receive(dhcp4.encode(message), peer, 0.0)
    notes = [command for command in commands if isinstance(command, Note)]
    for note in notes:
        assert set(note.fields) <= set(EVENTS[note.name].fields)
    sends = [command for command in commands if isinstance(command, Send)]
    assert len(sends) <= 1
    if not sends:
        return None, notes, None
    return dhcp4.decode(sends[0].data), notes, sends[0].destination


def answer(message: Message, **kwargs: Any) -> Message:
    reply, _, _ = serve(message, **kwargs)
    assert reply
    return reply


def test_an_offer_carries_all_that_the_hardware_says() -> None:
    asked = replace(request(), xid=b"\1\2\3\4", flags=0x8000)
    reply, notes, destination = serve(asked)
    assert reply
    assert (reply.op, reply.xid, reply.flags, reply.chaddr) == (2, asked.xid, 0x8000, asked.chaddr)
    assert (reply.yiaddr, reply.siaddr, reply.ciaddr) == (MACHINE.address, CONFIG.server, "0.0.0.0")
    assert reply.boot_file == "ipxe.efi"
    assert {option.code: option.data for option in reply.options} == {
        1: bytes((255, 255, 255, 0)),
        3: bytes((192, 168, 77, 1)),
        6: bytes((192, 168, 77, 1, 192, 168, 77, 2)),
        7: bytes((192, 168, 77, 1)),
        12: b"machine",
        15: b"tinkerbell.lab",
        28: bytes((192, 168, 77, 255)),
        42: bytes((192, 168, 77, 1)),
        43: b"\x06\x01\x08\x45\x1a" + bytes(26),
        51: (3600).to_bytes(4, "big"),
        53: b"\x02",
        54: bytes((192, 168, 77, 1)),
        119: b"\x0atinkerbell\x03lab\0",
        121: bytes((8, 10, 192, 168, 77, 1)),
    }
    codes = [option.code for option in reply.options]
    assert codes == sorted(codes)
    assert destination == ("255.255.255.255", 68)
    assert [note.name for note in notes] == ["dhcp.discover.received", "dhcp.offer.sent"]
    assert notes[0].fields["stage"] == "firmware"
    assert notes[0].fields["arch"] == 7
    assert notes[1].fields["file"] == "ipxe.efi"


def test_a_request_is_always_acknowledged_with_the_reserved_address() -> None:
    asked = request(kind=MessageType.REQUEST, vendor=None, arch=None)
    asked = asked.with_option(Code.REQUESTED_ADDRESS, dhcp4.packed("10.9.9.9"))
    asked = asked.with_option(Code.SERVER_IDENTIFIER, dhcp4.packed("10.9.9.1"))
    reply, notes, _ = serve(asked)
    assert reply
    assert (reply.type, reply.yiaddr) == (MessageType.ACK, MACHINE.address)
    assert notes[0].name == "dhcp.request.received"
    assert notes[0].fields["requested"] == "10.9.9.9"


def test_a_guest_gets_no_netboot_data() -> None:
    reply = answer(request(vendor=b"udhcp 1.35"))
    assert (reply.file, reply.siaddr) == (b"", CONFIG.server)
    assert reply.option(Code.VENDOR_SPECIFIC) is None


def test_option_60_is_returned_to_http_clients_only() -> None:
    assert answer(request()).option(Code.VENDOR_CLASS) is None
    reply = answer(request(vendor=b"HTTPClient:Arch:00016:UNDI:003001"))
    assert reply.option(Code.VENDOR_CLASS) == b"HTTPClient"
    assert reply.boot_file.startswith("http://192.168.77.1:7080/ipxe/binary/")


def test_who_may_not_netboot_still_gets_an_address() -> None:
    reply = answer(request(), reservation=replace(MACHINE, allow_pxe=False))
    assert (reply.boot_file, reply.siaddr) == ("/netboot-not-allowed", "0.0.0.0")
    assert reply.yiaddr == MACHINE.address
    assert reply.option(Code.VENDOR_SPECIFIC) is None


def test_own_options_66_and_67_switch_the_netboot_part_off() -> None:
    own = replace(MACHINE, tftp_server_name="10.0.0.9", boot_file_name="mine.efi")
    reply = answer(request(), reservation=own)
    assert (reply.boot_file, reply.text(66), reply.text(67)) == ("mine.efi", "10.0.0.9", "mine.efi")
    assert reply.siaddr == CONFIG.server
    assert reply.option(Code.VENDOR_SPECIFIC) is None


def test_what_the_client_and_the_relay_sent_comes_back() -> None:
    asked = request()
    asked = asked.with_option(Code.RELAY_AGENT, dhcp4.encode_options([Option(1, b"eth0")]))
    asked = asked.with_option(Code.CLIENT_IDENTIFIER, b"\1" + asked.chaddr)
    asked = replace(asked, giaddr="192.168.77.254")
    reply, notes, destination = serve(asked, peer=("192.168.77.254", 67))
    assert reply
    assert reply.options[-1] == Option(82, b"\1\4eth0")  # RFC 3046 §2.1: last
    assert reply.option(Code.CLIENT_IDENTIFIER) == b"\1" + asked.chaddr
    assert (reply.giaddr, destination) == ("192.168.77.254", ("192.168.77.254", 67))
    assert notes[0].fields["giaddr"] == "192.168.77.254"


def test_a_renewal_is_answered_to_the_sender() -> None:
    asked = replace(request(kind=MessageType.REQUEST), ciaddr=MACHINE.address)
    _, notes, destination = serve(asked, peer=(MACHINE.address, 68))
    assert destination == (MACHINE.address, 68)
    assert notes[0].fields["requested"] == MACHINE.address


@pytest.mark.parametrize(
    ("reservation", "reason"),
    [
        (replace(MACHINE, mac="52:54:00:00:00:99"), "no Hardware has this MAC"),
        (replace(MACHINE, disabled=True), "DHCP is disabled"),
    ],
)
def test_silence_is_noted_with_its_reason(reservation: Reservation, reason: str) -> None:
    reply, notes, _ = serve(request(), reservation=reservation)
    assert reply is None
    assert [note.name for note in notes] == ["dhcp.discover.received", "dhcp.ignored"]
    assert notes[1].fields["reason"] == reason


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (MessageType.RELEASE, "dhcp.release.received"),
        (MessageType.DECLINE, "dhcp.decline.received"),
        (MessageType.INFORM, "dhcp.inform.received"),
        (MessageType.NAK, "dhcp.ignored"),
        (99, "dhcp.ignored"),
    ],
)
def test_other_messages_are_noted_and_not_answered(kind: int, event: str) -> None:
    asked = request(kind=kind).with_option(Code.MESSAGE, b"address in use")
    reply, notes, _ = serve(asked)
    assert reply is None
    assert [note.name for note in notes] == [event]
    if kind == MessageType.DECLINE:
        assert notes[0].fields["message"] == "address in use"


def test_plain_bootp_is_ignored() -> None:
    reply, notes, _ = serve(Message(chaddr=request().chaddr))
    assert reply is None
    assert notes[0].fields["message"] == "none"


def test_no_pxedhcp_is_sent_only_when_asked_for() -> None:
    assert answer(request(user=b"iPXE")).option(Code.IPXE) is None
    fast = answer(request(user=b"iPXE"), config=replace(CONFIG, no_pxedhcp=True))
    assert fast.option(Code.IPXE) == b"\xb0\x01\x01"


def test_a_long_boot_file_is_cut_as_smees_library_does() -> None:
    long = replace(MACHINE, ipxe_script_url="http://h/" + "x" * 200)
    assert len(answer(request(user=b"Tinkerbell"), reservation=long).file) == 127


@given(st.binary(max_size=600))
def test_arbitrary_octets_never_break_the_server(datagram: bytes) -> None:
    server = DhcpServer(config=CONFIG, reservations=Reservations([MACHINE]))
    for octets in (datagram, dhcp4.encode(request())[:240] + datagram):
        with contextlib.suppress(DecodeError):
            server.receive(octets, NOBODY, 0.0)
