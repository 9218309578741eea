"""TFTP, as faults see and bend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.faults.deeds import Deed, Remove, Replace, Status
from harness.wire import tftp
from harness.wire.commands import Address, Note
from harness.wire.tftp import Ack, Data, Error, ErrorCode, Oack, Packet, Request

_OPTIONS: Final = ("blksize", "windowsize", "tsize", "timeout")


@dataclass(slots=True)
class _Transfer:
    file: str
    block: int = 0
    """The last block sent, counted without wrapping."""


class TftpDialect:
    """Remembers by peer which file is being sent, and how far it is."""

    def __init__(self, identify: Callable[[str], str | None]) -> None:
        self._identify = identify
        self._transfers: dict[Address, _Transfer] = {}

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of what a client sent."""
        packet = tftp.decode(datagram)
        if isinstance(packet, Request):
            self._transfers[peer] = _Transfer(packet.file)
        return self._facts(packet, peer)

    def reply(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of what the server sends."""
        return self._facts(tftp.decode(datagram), peer)

    def _facts(self, packet: Packet, peer: Address) -> dict[str, Any]:
        transfer = self._transfers.get(peer)
        facts: dict[str, Any] = {
            "mac": self._identify(peer[0]),
            "file": transfer.file if transfer else None,
        }
        match packet:
            case Request(opcode=opcode, options=options):
                return {**facts, "opcode": opcode.name, "options": list(options)}
            case Data(block=block):
                return {**facts, "opcode": "DATA", "block": _unwrapped(transfer, block)}
            case Ack(block=block):
                return {**facts, "opcode": "ACK", "block": _unwrapped(transfer, block)}
            case Error(code=code):
                return {**facts, "opcode": "ERROR", "code": code}
            case Oack(options=options):
                return {**facts, "opcode": "OACK", "options": list(options)}

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return the packet with other fields, or an ERROR instead of it."""
        del occasion
        packet = tftp.decode(datagram)
        match deed:
            case Status(code=code, message=message):
                return tftp.encode(Error(code=error_code(code), text=message or "a fault"))
            case Replace(fields=changed):
                for name, value in changed.items():
                    packet = _with(packet, name, value)
            case Remove(fields=names):
                for name in names:
                    packet = _with(packet, name, None)
        return tftp.encode(packet)

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return the note with the options or the error that are on the wire."""
        match tftp.decode(datagram):
            case Oack(options=options) if note.name == "tftp.oack.sent":
                return replace(note, fields={**note.fields, "options": dict(options)})
            case Error(code=code, text=text) if note.name == "tftp.error.sent":
                return replace(note, fields={**note.fields, "code": code, "text": text})
            case Error(code=code, text=text):
                fields = {"id": note.fields.get("id"), "code": code, "text": text}
                return Note(name="tftp.error.sent", fields=fields)
            case _:
                return note


def error_code(code: str | int) -> int:
    """Return the number of an error code that is named or numbered."""
    if isinstance(code, int) or code.isdecimal():
        return int(code)
    return ErrorCode[code.upper().replace(" ", "_")]


def _unwrapped(transfer: _Transfer | None, block: int) -> int:
    """Return a block number as a person counts: it does not wrap at 65535."""
    if transfer is None:
        return block
    step = (block - transfer.block + 0x8000) % 0x10000 - 0x8000
    if transfer.block + step > transfer.block:
        transfer.block += step
        return transfer.block
    return max(0, transfer.block + step)


def _with(packet: Packet, name: str, value: Any) -> Packet:
    """Return ``packet`` with one field changed; None takes an option away."""
    if name in _OPTIONS:
        if not isinstance(packet, Request | Oack):
            return packet
        options = {key: each for key, each in packet.options.items() if key != name}
        if value is not None:
            options[name] = str(value)
        return replace(packet, options=options)
    match packet:
        case Data() | Ack() if name == "block":
            return replace(packet, block=int(value or 0) & 0xFFFF)
        case Request() if name == "file":
            return replace(packet, file=str(value or ""))
        case Error() if name == "code":
            return replace(packet, code=int(value or 0))
        case Error() if name == "text":
            return replace(packet, text=str(value or ""))
        case _:
            return packet
