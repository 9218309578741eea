"""What a ProxyDHCP server tells a machine, and to whom it says nothing."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.events import EVENTS
from harness.wire import dhcp4
from harness.wire.commands import Note, Send
from harness.wire.dhcp4 import Code, Message, MessageType
from harness.wire.dhcp_server import DhcpServer
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.proxy_dhcp import Mode
from harness.wire.tests.test_netboot import MAC, request

MACHINE = Reservation(mac=MAC, address="192.168.77.10", hostname="machine", allow_pxe=True)
CONFIG = NetbootConfig(server="192.168.77.1", syslog="192.168.77.1")
HTTP = b"HTTPClient:Arch:00016:UNDI:003001"


def ask(
    message: Message,
    *known: Reservation,
    mode: Mode = Mode.PROXY,
    config: NetbootConfig = CONFIG,
    peer: tuple[str, int] = ("0.0.0.0", 68),
) -> Message | str:
    """Return the reply, or why there is none."""
    server = DhcpServer(config=config, reservations=Reservations(known), mode=mode)
    commands = server.receive(dhcp4.encode(message), peer, 0.0)
    notes = [command for command in commands if isinstance(command, Note)]
    for note in notes:
        assert set(note.fields) <= set(EVENTS[note.name].fields)
    sends = [command for command in commands if isinstance(command, Send)]
    if not sends:
        return str(notes[-1].fields["reason"])
    assert notes[-1].fields["address"] is None
    assert sends[0].destination == ("255.255.255.255", 68)
    return dhcp4.decode(sends[0].data)


def answer(message: Message, *known: Reservation, mode: Mode = Mode.PROXY) -> Message:
    reply = ask(message, *known, mode=mode)
    assert isinstance(reply, Message), reply
    return reply


def test_an_offer_has_boot_data_and_no_address() -> None:
    guid = bytes(17)
    reply = answer(request(guid=guid), MACHINE)
    assert (reply.yiaddr, reply.siaddr) == ("0.0.0.0", "192.168.77.1")
    assert (reply.sname, reply.boot_file) == (b"192.168.77.1", "ipxe.efi")
    assert {option.code: option.data for option in reply.options} == {
        43: b"\x06\x01\x08",
        53: b"\x02",
        54: bytes((192, 168, 77, 1)),
        60: b"PXEClient",
        97: guid,
    }


def test_an_identifier_that_was_not_sent_is_returned_empty() -> None:
    assert answer(request(guid=None), MACHINE).option(Code.MACHINE_IDENTIFIER) == b""


def test_an_http_client_is_told_a_url() -> None:
    reply = answer(request(vendor=HTTP, arch=b"\0\x10", kind=MessageType.REQUEST), MACHINE)
    assert reply.type == MessageType.ACK
    assert reply.option(Code.VENDOR_CLASS) == b"HTTPClient"
    assert reply.boot_file == f"http://192.168.77.1:7080/ipxe/binary/{MAC}/ipxe.efi"


def test_the_script_is_never_the_hardwares_own_url() -> None:
    own = replace(MACHINE, ipxe_script_url="http://elsewhere/own.ipxe")
    reply = answer(request(user=b"Tinkerbell"), own)
    assert reply.boot_file == f"http://192.168.77.1:7080/ipxe/script/{MAC}/auto.ipxe"


def test_a_binary_of_the_hardwares_own_wins() -> None:
    assert answer(request(), replace(MACHINE, ipxe_binary="own.efi")).boot_file == "own.efi"


@pytest.mark.parametrize("mode", [Mode.PROXY, Mode.AUTO_PROXY])
def test_who_may_not_netboot_is_told_so(mode: Mode) -> None:
    reply = answer(request(), replace(MACHINE, allow_pxe=False), mode=mode)
    assert reply.boot_file == f"/{MAC}/netboot-not-allowed"
    assert (reply.siaddr, reply.sname) == ("192.168.77.1", b"192.168.77.1")


def test_only_auto_proxy_answers_machines_without_hardware() -> None:
    assert ask(request()) == "no Hardware has this MAC"
    assert answer(request(), mode=Mode.AUTO_PROXY).boot_file == "ipxe.efi"


def test_hardware_that_disables_dhcp_is_answered_nevertheless() -> None:
    assert answer(request(), replace(MACHINE, disabled=True)).boot_file == "ipxe.efi"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request(vendor=b"udhcp 1.35"), "no netboot client*"),
        (request(arch=b"\0\x63"), "there is no iPXE for this architecture"),
        (request(arch=None), "no netboot client: no option 93"),
        (replace(request(), op=2), "no BOOTREQUEST"),
    ],
)
@pytest.mark.parametrize("mode", [Mode.PROXY, Mode.AUTO_PROXY])
def test_who_hears_nothing(message: Message, reason: str, mode: Mode) -> None:
    found = ask(message, MACHINE, mode=mode)
    assert isinstance(found, str)
    assert found.startswith(reason.rstrip("*"))


def test_netboot_that_is_off_is_silent() -> None:
    assert ask(request(), MACHINE, config=replace(CONFIG, enabled=False)) == "netboot is off"


def test_a_pi_gets_its_menu() -> None:
    mac = "dc:a6:32:00:00:01"
    pi = replace(request(), chaddr=bytes.fromhex(mac.replace(":", "")))
    reply = answer(pi, mode=Mode.AUTO_PROXY)
    assert reply.boot_file == "snp-arm64.efi"
    options = dhcp4.decode_suboptions(reply.option(Code.VENDOR_SPECIFIC) or b"")
    assert [option.code for option in options] == [6, 9, 10]


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_crash_it(data: bytes) -> None:
    server = DhcpServer(config=CONFIG, reservations=Reservations([]), mode=Mode.AUTO_PROXY)
    with contextlib.suppress(DecodeError):
        server.receive(data, ("0.0.0.0", 68), 0.0)
