"""Packets of a capture: the ones that matter, in words; tshark reads the same frames the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.net.captured import CapturedFrames
from harness.report.decoding import (
    decode_dhcp,
    decode_dns,
    decode_http,
    decode_http2,
    decode_tftp,
    decode_tls,
)
from harness.report.packets import Packets, read_packets
from harness.report.tests.captures import (
    BEGAN,
    CLIENT,
    MACHINE_MAC,
    SERVER,
    Frame,
    icmp,
    tcp,
    udp,
    write_capture,
)
from harness.scenario.tests.samples import Tape
from harness.tests.programs import needs
from harness.wire import dhcp4, tftp
from harness.wire.dhcp4 import Code, Message, Option

XID = bytes.fromhex("7a7f1c88")
DISCOVER = dhcp4.encode(
    Message(
        xid=XID,
        chaddr=MACHINE_MAC,
        options=(
            Option(Code.MESSAGE_TYPE, b"\x01"),
            Option(Code.VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003000"),
            Option(Code.ARCHITECTURE, b"\x00\x07"),
        ),
    )
)
OFFER = dhcp4.encode(
    Message(
        op=2,
        xid=XID,
        chaddr=MACHINE_MAC,
        yiaddr="192.168.77.10",
        file=b"ipxe.efi",
        options=(
            Option(Code.MESSAGE_TYPE, b"\x02"),
            Option(Code.LEASE_TIME, b"\x00\x09\x3a\x80"),
            Option(Code.NAME_SERVER, bytes([192, 168, 77, 1, 192, 168, 77, 2])),
        ),
    )
)
# ClientHello with SNI registry.lab and ALPN h2, TLS 1.3 offered
_EXTENSIONS = (
    b"\x00\x00\x00\x11\x00\x0f\x00\x00\x0cregistry.lab"
    b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03"
    b"\x00\x10\x00\x05\x00\x03\x02h2"
)
_HELLO = (
    b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    + len(_EXTENSIONS).to_bytes(2, "big") + _EXTENSIONS
)  # fmt: skip
_SHAKE = b"\x01" + len(_HELLO).to_bytes(3, "big") + _HELLO
CLIENT_HELLO = b"\x16\x03\x01" + len(_SHAKE).to_bytes(2, "big") + _SHAKE
ALERT = b"\x15\x03\x03\x00\x02\x02\x2a"
GOAWAY = b"\x00\x00\x15\x07\x00" + bytes(4) + bytes(4) + b"\x00\x00\x00\x0b" + b"too_many_ping"

REGISTRY, TINK, WEB = (SERVER, 5000), (SERVER, 42113), (SERVER, 7080)
TFTP = ("192.168.77.10", 1063)


def frames() -> list[Frame]:
    """Return a little of everything."""
    ask, tell = ("0.0.0.0", 68), ("255.255.255.255", 67)
    rrq = tftp.Request(
        opcode=tftp.Opcode.RRQ, file="ipxe.efi", mode="octet", options={"blksize": "1468"}
    )
    blocks = [tftp.encode(tftp.Data(block=n, payload=bytes(512))) for n in range(1, 40)]
    last = tftp.encode(tftp.Data(block=40, payload=b"end"))
    return [
        (1.0, udp(ask, tell, DISCOVER)),
        (1.1, udp((SERVER, 67), ("255.255.255.255", 68), OFFER)),
        (2.0, udp(TFTP, (SERVER, 69), tftp.encode(rrq))),
        *((2.1 + n / 100, udp((SERVER, 69), TFTP, one)) for n, one in enumerate([*blocks, last])),
        (3.0, udp(TFTP, (SERVER, 69), tftp.encode(tftp.Error(code=1, text="gone")))),
        (4.0, tcp(CLIENT, WEB, flags=2, sequence=9)),
        (5.0, tcp(CLIENT, WEB, flags=2, sequence=9)),
        (5.1, tcp(CLIENT, WEB, b"GET /hook/vmlinuz HTTP/1.1\r\nHost: x\r\n\r\n")),
        (5.2, tcp(WEB, CLIENT, b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")),
        (5.3, tcp(WEB, CLIENT, bytes(1400))),
        (6.0, tcp(CLIENT, REGISTRY, CLIENT_HELLO)),
        (6.1, tcp(CLIENT, REGISTRY, ALERT, sequence=1 + len(CLIENT_HELLO))),
        (7.0, tcp(TINK, CLIENT, GOAWAY)),
        (8.0, tcp(REGISTRY, CLIENT, flags=4)),
        (9.0, icmp((SERVER, 0), CLIENT, 3)),
    ]


def tape() -> Tape:
    """Return a timeline whose services listen where the frames go."""
    made = Tape()
    made.add(0.0, "run", "run.started", wall=BEGAN.isoformat())
    for name, port in (("http", 7080), ("registry", 5000), ("tink", 42113)):
        made.add(0.1, name, "service.started", service=name, port=port)
    return made


def read(tmp_path: Path, wanted: list[Frame] | None = None) -> Packets:
    """Return the packets of a capture with these frames."""
    given = frames() if wanted is None else wanted
    return read_packets(write_capture(tmp_path / "capture.pcapng", given), tape().events)


def summaries(packets: Packets, kind: str) -> list[str]:
    """Return a kind's lines."""
    return [packet.summary for packet in packets.kinds[kind].packets]


def test_what_matters_is_decoded(tmp_path: Path) -> None:
    packets = read(tmp_path)
    assert packets.frames == len(frames())
    assert summaries(packets, "DHCP") == [
        "DISCOVER · 52:54:00:12:34:56 · PXEClient:Arch:00007:UNDI:003000",
        "OFFER · 52:54:00:12:34:56 · gives 192.168.77.10 · file ipxe.efi",
    ]
    assert summaries(packets, "TFTP") == [
        "RRQ ipxe.efi · blksize=1468",
        "DATA block 1, 512 octets",
        "DATA block 40, 3 octets",
        "ERROR 1 gone",
    ]
    assert summaries(packets, "HTTP") == [
        "GET /hook/vmlinuz HTTP/1.1",
        "HTTP/1.1 404 Not Found",
    ]
    assert summaries(packets, "TLS") == [
        "ClientHello TLS 1.3 for registry.lab",
        "alert fatal: bad_certificate",
    ]
    assert summaries(packets, "gRPC") == ["GOAWAY ENHANCE_YOUR_CALM “too_many_ping”"]
    assert summaries(packets, "refused") == [
        "SYN for the second time, http",
        "TCP RST, registry",
        "ICMP: port unreachable",
    ]
    marked = {p.summary for kept in packets.kinds.values() for p in kept.packets if p.mark}
    assert marked == {
        "ERROR 1 gone",
        "HTTP/1.1 404 Not Found",
        "alert fatal: bad_certificate",
        "GOAWAY ENHANCE_YOUR_CALM “too_many_ping”",
        *summaries(packets, "refused"),
    }


def test_numbers_times_and_ends_are_the_frames_own(tmp_path: Path) -> None:
    [_, offer] = read(tmp_path).kinds["DHCP"].packets
    assert offer.number == 2
    assert offer.t == pytest.approx(1.1)
    assert (offer.source, offer.destination) == ("192.168.77.1:67", "255.255.255.255:68")


def test_fields_are_in_words(tmp_path: Path) -> None:
    [discover, offer] = read(tmp_path).kinds["DHCP"].packets
    assert ("93 architecture", "7 (x86-64 UEFI)") in discover.fields
    assert ("51 lease time", "604800 s") in offer.fields
    assert ("6 name server", "192.168.77.1, 192.168.77.2") in offer.fields
    hello = read(tmp_path).kinds["TLS"].packets[0]
    assert ("server name", "registry.lab") in hello.fields
    assert ("versions", "TLS 1.3, TLS 1.2") in hello.fields


def test_credentials_are_not_shown() -> None:
    said = decode_http(b"GET /v2/ HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n")
    assert said.fields == (("Authorization", "Basic …"),)


def test_a_kind_is_bounded_in_the_middle(tmp_path: Path) -> None:
    many = [(t / 10, udp(("0.0.0.0", 68), ("255.255.255.255", 67), DISCOVER)) for t in range(1000)]
    kept = read(tmp_path, many).kinds["DHCP"]
    assert (kept.count, len(kept.packets), kept.left_out) == (1000, 150, 850)
    numbers = [packet.number for packet in kept.packets]
    assert numbers == [*range(1, 91), *range(941, 1001)]


def test_a_capture_that_was_cut_off_is_read_so_far(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture.pcapng", frames())
    path.write_bytes(path.read_bytes()[:-30])
    with CapturedFrames(path) as capture:
        assert [frame.number for frame in capture] == list(range(1, len(frames())))


def test_what_is_no_capture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    assert not read_packets(path, ()).error
    path.write_bytes(b"\xd4\xc3\xb2\xa1" * 10)
    assert "no little-endian pcapng" in read_packets(path, ()).error


@given(st.binary(max_size=400))
def test_whatever_the_octets_are_there_is_a_line(data: bytes) -> None:
    for decode in (decode_dhcp, decode_tftp, decode_dns, decode_http, decode_tls):
        said = decode(data)
        assert said.summary.isprintable() or not said.summary
    decode_http2(data)


@given(st.binary(max_size=100))
def test_any_hello_is_survived(data: bytes) -> None:
    body = b"\x01\x00\x00\x00" + data
    assert decode_tls(b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body).summary


@needs("tshark")
def test_tshark_reads_the_same(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture.pcapng", frames())
    asked = ("frame.number", "dhcp.option.dhcp", "tls.handshake.extensions_server_name",
             "tls.alert_message.desc", "tftp.opcode", "http.response.code")  # fmt: skip
    argv = ["tshark", "-r", str(path), "-T", "json", *(w for f in asked for w in ("-e", f))]
    argv += ["-d", "tcp.port==5000,tls", "-d", "tcp.port==7080,http"]
    told = subprocess.run(argv, capture_output=True, check=True)
    layers: list[dict[str, Any]] = [one["_source"]["layers"] for one in json.loads(told.stdout)]
    by_number = {int(layer["frame.number"][0]): layer for layer in layers}
    packets = read_packets(path, tape().events)
    for name, field, expected in (
        ("DHCP", "dhcp.option.dhcp", ["1", "2"]),
        ("TLS", "tls.handshake.extensions_server_name", ["registry.lab", None]),
        ("TLS", "tls.alert_message.desc", [None, "42"]),
        ("TFTP", "tftp.opcode", ["1", "3", "3", "5"]),
        ("HTTP", "http.response.code", [None, "404"]),
    ):
        found = [by_number[p.number].get(field, [None])[0] for p in packets.kinds[name].packets]
        assert found == expected, name
