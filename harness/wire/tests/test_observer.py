"""What an observer makes of frames: the same events as a server of the lab's own."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from harness.events import EVENTS
from harness.wire import dhcp4, frames, tftp
from harness.wire.dhcp4 import Code, Message, MessageType, Option
from harness.wire.observer import Observer, Seen

SERVER, CLIENT = "192.168.77.1", "192.168.77.10"
MAC = "52:54:00:00:00:01"


def frame(source: tuple[str, int], to: tuple[str, int], data: bytes, *, tcp: bytes = b"") -> bytes:
    if tcp:
        carried = struct.pack("!HH", source[1], to[1]) + tcp + data
    else:
        carried = struct.pack("!HHHH", source[1], to[1], 8 + len(data), 0) + data
    head = struct.pack(
        "!BBHIBBH4s4s", 0x45, 0, 20 + len(carried), 0, 64, 6 if tcp else 17, 0,
        IPv4Address(source[0]).packed, IPv4Address(to[0]).packed,
    )  # fmt: skip
    link = bytes(6) + bytes.fromhex(MAC.replace(":", "")) + b"\x08\x00"
    return link + head + carried


class Wire:
    """An observer, and frames of one client and one server."""

    def __init__(self) -> None:
        self.observer = Observer(http_ports={7080})
        self.now = 0.0
        self.client, self.port = 49152, 7080
        self._up, self._down = 100, 2**32 - 20  # wraps within the first answer

    def see(self, data: bytes) -> list[tuple[str, dict[str, object]]]:
        return [self._plain(seen) for seen in self.observer.frame(data, self.now)]

    def _plain(self, seen: Seen) -> tuple[str, dict[str, object]]:
        _, note = seen
        fields = {name: value for name, value in note.fields.items() if value is not None}
        assert fields.keys() <= set(EVENTS[note.name].fields)
        return note.name, fields

    def up(self, data: bytes, flags: int = 16) -> list[tuple[str, dict[str, object]]]:
        tcp = struct.pack("!IIBBHHH", self._up % 2**32, 0, 0x50, flags, 0, 0, 0)
        self._up += len(data) + (1 if flags & 2 else 0)
        return self.see(frame((CLIENT, self.client), (SERVER, self.port), data, tcp=tcp))

    def down(
        self, data: bytes, flags: int = 16, again: int = 0
    ) -> list[tuple[str, dict[str, object]]]:
        tcp = struct.pack("!IIBBHHH", (self._down - again) % 2**32, 0, 0x50, flags, 0, 0, 0)
        self._down += len(data) - again + (1 if flags & 2 else 0)
        return self.see(frame((SERVER, self.port), (CLIENT, self.client), data, tcp=tcp))


def test_dhcp() -> None:
    wire = Wire()
    options = [Option(Code.MESSAGE_TYPE, b"\1"), Option(Code.VENDOR_CLASS, b"PXEClient:Arch:00007")]
    message = Message(xid=b"\0\0\0\1", chaddr=bytes.fromhex("525400000001"), options=tuple(options))
    [(name, fields)] = wire.see(
        frame(("0.0.0.0", 68), ("255.255.255.255", 67), dhcp4.encode(message))
    )
    assert name == "dhcp.discover.received"
    assert fields["mac"] == MAC
    assert fields["stage"] == "firmware"
    offer = Message(
        op=2, xid=message.xid, yiaddr=CLIENT, siaddr=SERVER, file=b"ipxe.efi",
        chaddr=message.chaddr,
        options=(Option(Code.MESSAGE_TYPE, bytes((MessageType.OFFER,))),),
    )  # fmt: skip
    [(name, fields)] = wire.see(frame((SERVER, 67), ("255.255.255.255", 68), dhcp4.encode(offer)))
    assert name == "dhcp.offer.sent"
    assert fields == {
        "mac": MAC, "xid": "0x00000001", "stage": "firmware", "address": CLIENT,
        "file": "ipxe.efi", "next_server": SERVER, "destination": "255.255.255.255:68",
    }  # fmt: skip
    [(name, _)] = wire.see(frame(("0.0.0.0", 68), ("255.255.255.255", 67), b"nonsense"))
    assert name == "dhcp.malformed"


def test_a_tftp_transfer_with_a_lost_frame_and_a_repeated_one() -> None:
    wire = Wire()
    client, server = (CLIENT, 1024), (SERVER, 69)
    request = tftp.Request(
        opcode=tftp.Opcode.RRQ, file="ipxe.efi", mode="octet", options={"tsize": "0"}
    )
    [(name, fields)] = wire.see(frame(client, server, tftp.encode(request)))
    assert (name, fields["file"]) == ("tftp.request.received", "ipxe.efi")
    assert wire.see(frame(client, server, tftp.encode(request))) == []
    oack = tftp.encode(tftp.Oack(options={"tsize": "1300"}))
    assert wire.see(frame(server, client, oack))[0][0] == "tftp.oack.sent"
    wire.now = 0.6
    two = tftp.encode(tftp.Data(block=2, payload=bytes(512)))  # the capture missed block 1
    [(name, fields)] = wire.see(frame(server, client, two))
    assert (name, fields["bytes"], fields["length"]) == ("tftp.transfer.progressed", 1024, 1300)
    assert wire.see(frame(server, client, two)) == []
    wire.see(frame(server, client, tftp.encode(tftp.Data(block=3, payload=bytes(276)))))
    [(name, fields)] = wire.see(frame(client, server, tftp.encode(tftp.Ack(block=3))))
    assert (name, fields["bytes"], fields["mac"]) == ("tftp.transfer.finished", 1300, MAC)


def test_a_tftp_error() -> None:
    wire = Wire()
    client, server = (CLIENT, 1024), (SERVER, 69)
    request = tftp.Request(opcode=tftp.Opcode.RRQ, file="x", mode="octet")
    wire.see(frame(client, server, tftp.encode(request)))
    error = tftp.encode(tftp.Error(code=1, text="file [x] unknown"))
    [(name, fields)] = wire.see(frame((SERVER, 40000), client, error))  # multi-port
    assert (name, fields["text"]) == ("tftp.error.sent", "file [x] unknown")


def test_http_with_content_length_in_pieces() -> None:
    wire = Wire()
    wire.up(b"", flags=2)
    wire.down(b"", flags=18)
    assert wire.up(b"GET /ipxe/binary/ipxe.efi?x HTTP/1.1\r\nUser-Agent: iP") == []
    [(name, fields)] = wire.up(b"XE\r\n\r\n")
    assert name == "http.request.received"
    assert (fields["path"], fields["agent"]) == ("/ipxe/binary/ipxe.efi", "iPXE")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"
    [(name, fields)] = wire.down(head + b"0123456789")
    assert (name, fields["length"]) == ("http.response.started", 30)
    assert wire.down(b"0123456789" + b"x" * 10, again=10) == []
    [(name, fields)] = wire.down(b"y" * 10)
    assert (name, fields["bytes"], fields["status"]) == ("http.response.finished", 30, 200)


def test_a_script_in_chunks_and_a_second_request_on_the_same_connection() -> None:
    wire = Wire()
    path = f"/ipxe/script/{MAC}/auto.ipxe"
    wire.up(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    wire.down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n#!ipxe\n\r\n")
    (served, finished) = wire.down(b"6\r\nshell\n\r\n0\r\n\r\n")
    assert served[1]["script"] == "#!ipxe\nshell\n"
    assert finished[1]["bytes"] == 13
    wire.up(b"GET /nothing HTTP/1.1\r\n\r\n")
    names = [name for name, _ in wire.down(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
    assert names == ["http.response.started", "http.response.finished"]


def test_a_client_that_leaves() -> None:
    wire = Wire()
    wire.up(b"GET /a HTTP/1.1\r\n\r\n")
    wire.down(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n0123456789")
    [(name, fields)] = wire.up(b"", flags=4)
    assert (name, fields["bytes"], fields["length"]) == ("http.response.aborted", 10, 30)


@given(st.binary(max_size=120), st.sampled_from([67, 68, 69, 514, 7080, 5000]), st.booleans())
def test_any_octets_are_borne(data: bytes, port: int, tcp: bool) -> None:
    observer = Observer(http_ports={7080})
    head = struct.pack("!IIBBHHH", 1, 0, 0x50, 16, 0, 0, 0) if tcp else b""
    observer.frame(frame((CLIENT, 7080), (SERVER, port), data, tcp=head), 0.0)
    observer.frame(frame((CLIENT, port), (SERVER, 7080), data, tcp=head), 0.0)
    observer.frame(data, 0.0)
    frames.decode(frame((CLIENT, 1), (SERVER, 2), data)[: len(data)])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_answer_is_borne(pieces: list[bytes]) -> None:
    wire = Wire()
    wire.up(b"GET /a/auto.ipxe HTTP/1.1\r\n\r\n")
    wire.down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in pieces:
        wire.down(piece)
