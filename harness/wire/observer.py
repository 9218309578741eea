"""What machines ask and are told, seen from beside: frames in, the lab's own events out.

For servers that are not the lab's: they say nothing of themselves, so the wire has to. Nothing is
ever answered. Octets that are none of DHCP, TFTP, HTTP or syslog are passed over.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from harness.errors import DecodeError
from harness.wire import dhcp4, frames, tftp
from harness.wire.commands import Address, Note
from harness.wire.dhcp4 import Code, MessageType
from harness.wire.dhcp_reply import told
from harness.wire.netboot import classify
from harness.wire.syslog import SyslogServer
from harness.wire.turns import Turn
from harness.wire.watched_http import WatchedConnection

_PROGRESS_EVERY_S: Final = 0.5
_WRAP: Final = 0x10000
_ASKED: Final = {MessageType.DISCOVER: "discover", MessageType.REQUEST: "request"}
_TOLD: Final = {MessageType.OFFER: "offer", MessageType.ACK: "ack", MessageType.NAK: "nak"}
_SAID: Final = {MessageType.RELEASE: "release", MessageType.DECLINE: "decline"}

Seen = tuple[str, Note]
"""The source of an event (``dhcp``, ``tftp``, ``http``, ``syslog``), and the event."""


@dataclass(slots=True, kw_only=True)
class _Transfer:
    id: str
    mac: str
    file: str
    began_s: float
    told_s: float
    blksize: int = tftp.DEFAULT_BLOCK_BYTES
    length: int | None = None
    block: int = 0
    """The last block sent, counted without wrapping."""
    last: int | None = None
    """The number of the short block, once it was sent."""
    bytes: int = 0
    options: dict[str, str] = field(default_factory=dict)
    turn: Turn = field(default_factory=Turn)


class Observer:
    """Follows every exchange with a server on the segment."""

    def __init__(self, *, http_ports: Collection[int]) -> None:
        self._http_ports = frozenset(http_ports)
        self._clients: dict[str, dict[str, Any]] = {}
        self._transfers: dict[Address, _Transfer] = {}
        self._connections: dict[Address, WatchedConnection] = {}
        self.numbered = 0
        """How many transfers and connections have a number; the next one's is one more."""
        self._syslog = SyslogServer()

    def frame(self, frame: bytes, now: float) -> list[Seen]:
        """Return what ``frame`` tells."""
        packet = frames.decode(frame)
        if isinstance(packet, frames.Segment):
            return [("http", note) for note in self._tcp(packet, now)]
        if packet is None:
            return []
        ports = (packet.source[1], packet.destination[1])
        if dhcp4.SERVER_PORT in ports:
            return [("dhcp", note) for note in self._dhcp(packet)]
        if packet.destination[1] == 514:
            commands = self._syslog.receive(packet.data, packet.source, now)
            notes = [command for command in commands if isinstance(command, Note)]
            return [("syslog", _with_mac(note, packet.mac)) for note in notes]
        return [("tftp", note) for note in self._tftp(packet, now)]

    # -- DHCP

    def _dhcp(self, packet: frames.Datagram) -> list[Note]:
        try:
            message = dhcp4.decode(packet.data)
        except DecodeError as error:
            peer = f"{packet.source[0]}:{packet.source[1]}"
            fields = {"peer": peer, "reason": str(error), "bytes": len(packet.data)}
            return [Note(name="dhcp.malformed", fields=fields)]
        kind = MessageType(message.type) if message.type in list(MessageType) else None
        client = classify(message)
        who: dict[str, Any] = {
            "mac": client.mac, "xid": message.transaction, "stage": client.stage.value,
        }  # fmt: skip
        if kind in _ASKED:
            self._clients[message.transaction] = who
            fields = {
                **who, "vendor_class": client.vendor_class, "user_class": client.user_class,
                "arch": client.reported_arch,
                "giaddr": message.giaddr if message.giaddr != "0.0.0.0" else None,
            }  # fmt: skip
            if kind is MessageType.REQUEST:
                fields["requested"] = message.address(Code.REQUESTED_ADDRESS) or _set(
                    message.ciaddr
                )
                fields["server"] = message.address(Code.SERVER_IDENTIFIER)
            return [Note(name=f"dhcp.{_ASKED[kind]}.received", fields=fields)]
        if kind in _TOLD:
            fields = {
                **self._clients.get(message.transaction, who),
                **told(message),
                "destination": f"{packet.destination[0]}:{packet.destination[1]}",
            }  # fmt: skip
            return [Note(name=f"dhcp.{_TOLD[kind]}.sent", fields=fields)]
        if kind in _SAID:
            address = message.address(Code.REQUESTED_ADDRESS) or _set(message.ciaddr)
            return [Note(name=f"dhcp.{_SAID[kind]}.received", fields={**who, "address": address})]
        return []

    # -- TFTP

    def _tftp(self, packet: frames.Datagram, now: float) -> list[Note]:
        to_server = packet.destination[1] == tftp.SERVER_PORT
        running = self._transfers.get(packet.source) or self._transfers.get(packet.destination)
        if running is None and not to_server:
            return []
        try:
            said = tftp.decode(packet.data)
        except DecodeError:
            return []
        if isinstance(said, tftp.Request):
            return self._requested(packet, said, now) if to_server else []
        if running is None:
            return []
        from_client = packet.source in self._transfers
        client = packet.source if from_client else packet.destination
        (running.turn.asked if from_client else running.turn.answered)(now)
        match said:
            case tftp.Error():
                del self._transfers[client]
                told = {
                    "id": running.id,
                    "file": running.file,
                    "code": said.code,
                    "text": said.text,
                }
                if from_client:
                    fields = {**told, "bytes": running.bytes}
                    return [Note(name="tftp.transfer.aborted", fields=fields)]
                peer = f"{client[0]}:{client[1]}"
                fields = {**told, "mac": running.mac, "peer": peer}
                return [Note(name="tftp.error.sent", fields=fields)]
            case tftp.Oack() if not from_client:
                return _agreed(running, said)
            case tftp.Data() if not from_client:
                return _sent(running, said, now)
            case tftp.Ack() if from_client:
                if running.last is None or said.block != running.last % _WRAP:
                    return []
                del self._transfers[client]
                fields = {
                    "id": running.id, "mac": running.mac, "file": running.file,
                    "bytes": running.bytes, "duration_s": round(now - running.began_s, 6),
                }  # fmt: skip
                return [Note(name="tftp.transfer.finished", fields=fields)]
        return []

    def _requested(self, packet: frames.Datagram, said: tftp.Request, now: float) -> list[Note]:
        running = self._transfers.get(packet.source)
        if running and running.file == said.file and running.options == dict(said.options):
            return []  # sent again
        self.numbered += 1
        id = f"w{self.numbered}"
        self._transfers[packet.source] = _Transfer(
            id=id, mac=packet.mac, file=said.file, began_s=now, told_s=now,
            options=dict(said.options),
        )  # fmt: skip
        fields = {
            "id": id, "mac": packet.mac, "peer": f"{packet.source[0]}:{packet.source[1]}",
            "file": said.file, "opcode": said.opcode.name, "options": dict(said.options),
        }  # fmt: skip
        return [Note(name="tftp.request.received", fields=fields)]

    # -- HTTP

    def _tcp(self, segment: frames.Segment, now: float) -> list[Note]:
        if segment.destination[1] in self._http_ports:
            client = segment.source
            connection = self._connections.get(client)
            if connection is None or segment.flags & frames.SYN:
                self.numbered += 1
                connection = self._connections[client] = WatchedConnection(
                    number=self.numbered, mac=segment.mac, peer=f"{client[0]}:{client[1]}"
                )
            notes = connection.from_client(segment, now)
        elif segment.source[1] in self._http_ports:
            client = segment.destination
            connection = self._connections.get(client)
            if connection is None:
                return []
            notes = connection.from_server(segment, now)
        else:
            return []
        if connection.over:
            del self._connections[client]
        return notes


def _agreed(running: _Transfer, said: tftp.Oack) -> list[Note]:
    options = dict(said.options)
    if options.get("blksize", "").isdigit():
        running.blksize = max(1, int(options["blksize"]))
    if options.get("tsize", "").isdigit():
        running.length = int(options["tsize"])
    return [Note(name="tftp.oack.sent", fields={"id": running.id, "options": options})]


def _sent(running: _Transfer, said: tftp.Data, now: float) -> list[Note]:
    ahead = (said.block - running.block) % _WRAP
    if not 0 < ahead < _WRAP // 2:
        return []  # sent again
    running.block += ahead
    running.bytes = (running.block - 1) * running.blksize + len(said.payload)
    if len(said.payload) < running.blksize:
        running.last = running.block
    if now - running.told_s < _PROGRESS_EVERY_S:
        return []
    running.told_s = now
    fields = {
        "id": running.id, "file": running.file, "bytes": running.bytes, "length": running.length,
        "server_s": round(running.turn.waited_s(now), 3),
    }  # fmt: skip
    return [Note(name="tftp.transfer.progressed", fields=fields)]


def _set(address: str) -> str | None:
    return None if address == "0.0.0.0" else address


def _with_mac(note: Note, mac: str) -> Note:
    return Note(name=note.name, fields={**note.fields, "mac": mac})
